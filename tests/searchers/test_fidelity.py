"""Low fidelity: shares of the data, resolution and size, and what they cost."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
import torch

from orchestrator.plan import EstimatorChoice
from search_space.augmentation import Shift
from search_space.spaces import SPACES
from search_space.task import Split
from searchers.estimators import ESTIMATORS
from searchers.estimators._fidelity import CoarseTask, FidelityParams, subset

CPU = torch.device("cpu")
SPACE = SPACES.load("darts")(nodes=2)
GENOTYPE = SPACE.sample(random.Random(4))
SMALL = {"epochs": 2, "channels": 2, "layers": 2, "batch_size": 4}


def draw(targets: torch.Tensor, count: int, seed: int = 0) -> torch.Tensor:
    return subset(targets, count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 7, 30, 99, 100])
def test_a_subset_has_the_shares_of_the_classes_to_within_one(count):
    targets = torch.arange(3).repeat_interleave(torch.tensor([70, 25, 5]))
    targets = targets[torch.randperm(100, generator=torch.Generator().manual_seed(1))]
    for seed in range(20):
        rows = draw(targets, count, seed)
        assert len(set(rows.tolist())) == count
        for number, size in enumerate((70, 25, 5)):
            found = int((targets[rows] == number).sum())
            assert abs(found - count * size / 100) < 1


def test_a_subset_of_one_real_target_is_spread_over_its_values():
    targets = torch.randn(200, 1, generator=torch.Generator().manual_seed(2))
    rank = targets.flatten().argsort().argsort()
    for seed in range(5):  # one from each tenth, to within the two ends of its interval
        tenths = (rank[draw(targets, 10, seed)] // 20).sort().values
        assert tenths.tolist() == list(range(10))


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 4), (50, 1, 3, 3)])
def test_a_subset_is_the_seed_s_and_every_row_can_be_in_it(shape):
    targets = torch.zeros(shape) if len(shape) > 1 else torch.zeros(shape, dtype=torch.long)
    assert torch.equal(draw(targets, 20, 1), draw(targets, 20, 1))
    assert not torch.equal(draw(targets, 20, 1), draw(targets, 20, 2))
    # A row is missed by 60 draws of 40 % once in 10^13.
    assert {row for seed in range(60) for row in draw(targets, 20, seed).tolist()} == set(range(50))


def test_half_the_resolution_is_the_mean_of_each_square_of_four(make_task):
    task = make_task((2, 6, 4))
    coarse = CoarseTask.made_from(task, 0.5)
    rows = torch.arange(5)
    inputs, targets = task.batch(task.train, rows)
    smaller, same = coarse.batch(coarse.train, rows)
    assert coarse.shape == (2, 3, 2)
    wanted = inputs.reshape(5, 2, 3, 2, 2, 2).mean((3, 5))
    assert torch.allclose(smaller, wanted, atol=1e-6)  # float32, sums of four
    assert torch.equal(targets, same)


def test_sides_are_rounded_and_hold_at_least_one_pixel(make_task):
    assert CoarseTask.made_from(make_task((1, 5, 1)), 0.3).spatial == (2, 1)
    assert CoarseTask.made_from(make_task((1, 9)), 0.5).spatial == (5,)


def test_augmentation_sees_the_original_pixels(make_task):
    task = dataclasses.replace(make_task((1, 4, 4)), augmentation=(Shift(1),))
    rows = torch.arange(8)
    whole, _ = task.batch(task.train, rows, torch.Generator().manual_seed(3))
    coarse = CoarseTask.made_from(task, 0.5)
    half, _ = coarse.batch(coarse.train, rows, torch.Generator().manual_seed(3))
    assert torch.allclose(half, whole.reshape(8, 1, 2, 2, 2, 2).mean((3, 5)), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8), (1, 8, 8)])
def test_a_dense_output_is_measured_against_the_original_targets(make_task, shape):
    task = make_task(shape, "dense")
    coarse = CoarseTask.made_from(task, 0.5)
    rows = torch.arange(len(task.valid))
    _, targets = coarse.batch(coarse.valid, rows)
    assert targets.shape[2:] == shape[1:]
    # Constant in space: interpolation does not change it, so the two tasks must agree.
    level = targets.flatten(2).mean(2).reshape(*targets.shape[:2], *[1] * len(shape[1:]))
    outputs = level.expand_as(targets)
    smaller = level.expand(*targets.shape[:2], *coarse.spatial)
    assert coarse.score(smaller, targets) == pytest.approx(task.score(outputs, targets))
    loss = float(task.loss(outputs, targets))
    assert float(coarse.loss(smaller, targets)) == pytest.approx(loss)


@pytest.mark.parametrize("kind", ["classes", "regression", "multilabel", "dense"])
@pytest.mark.parametrize(
    "fidelity",
    [
        {},
        {"examples": 0.5},
        {"resolution": 0.5},
        {"epochs": 1, "examples": 0.3, "resolution": 0.6, "channels": 4, "layers": 3},
    ],
    ids=str,
)
def test_the_planned_compute_is_what_is_spent(make_task, drive, kind, fidelity):
    task = make_task((1, 8, 8), kind, n=16).without_test()
    cls = ESTIMATORS.load("training")
    estimator = cls(cls.Params(**{**SMALL, **fidelity}))
    program = estimator.program(SPACE, GENOTYPE, task, seed=0, device=CPU)
    outcome = drive(program, seconds=math.inf).outcome
    assert outcome.compute == estimator.compute(SPACE, GENOTYPE, task)
    assert math.isfinite(outcome.score)


def test_compute_is_proportional_to_the_examples_and_to_the_pixels(make_task):
    # NAS-Bench-201 without a linear layer that counts: all else scales with the pixels.
    space, task = SPACES.load("nasbench201")(), make_task((1, 16, 16), n=16)
    genotype = space.sample(random.Random(1))

    def spent(**fidelity: float) -> float:
        return FidelityParams(**{**SMALL, **fidelity}).compute(space, genotype, task)

    # A training example costs three passes, one for validation one.
    assert spent(examples=0.5) / spent() == pytest.approx((3 * 8 + 16) / (3 * 16 + 16))
    linear = 8 * 3  # multiply-adds of the head, which has no pixels: 8 channels to 3 classes
    examples = 2 * (3 * 16 + 16)
    convolutions = spent() - linear * examples
    assert spent(resolution=0.5) == pytest.approx(convolutions / 4 + linear * examples)


def test_training_uses_the_examples_of_its_seed(make_task):
    task = make_task((1, 4, 4), n=16).without_test()
    cls = ESTIMATORS.load("training")
    estimator = cls(cls.Params(**SMALL, examples=0.25))
    program = estimator.program(SPACE, GENOTYPE, task, seed=3, device=CPU)
    wanted = FidelityParams(**SMALL, examples=0.25).reduced(task, 3).train
    assert len(wanted) == 4
    assert torch.equal(program.task.train.inputs, wanted.inputs)
    assert len(program.task.valid) == 16
    assert program.task.input_scale == task.input_scale


def test_jobs_that_do_not_ask_for_a_share_keep_their_keys():
    plain = EstimatorChoice.model_validate("training").entry().params
    assert "examples" not in plain
    assert "resolution" not in plain
    whole = {"name": "training", "examples": 1, "resolution": 1.0}
    assert EstimatorChoice.model_validate(whole).entry().params == plain
    part = {"name": "training", "examples": 0.25, "resolution": 0.5}
    assert EstimatorChoice.model_validate(part).entry().params == {
        **plain,
        "examples": 0.25,
        "resolution": 0.5,
    }


@pytest.mark.parametrize("name", ["examples", "resolution"])
@pytest.mark.parametrize("value", [0, -0.5, 1.5])
def test_a_share_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        FidelityParams(**{name: value})


def test_at_least_one_example_is_used(make_task):
    task = make_task((1, 4, 4))
    assert FidelityParams(examples=0.001).count(task) == 1
    one = Split(task.train.inputs[:1], task.train.targets[:1])
    assert FidelityParams(examples=0.5).count(dataclasses.replace(task, train=one)) == 1
