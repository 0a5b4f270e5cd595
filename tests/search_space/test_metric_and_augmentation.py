"""Metrics against scikit-learn; augmentations against what they say they do."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

from search_space.augmentation import First, Forget, Mirror, Shift
from search_space.metric import ACCURACY, MEAN_AUROC, R2, accuracy, mean_auroc, r2

SHAPES = [(2, 7), (1, 7), (3, 5, 6), (1, 4, 9)]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_is_scikit_learns(seed):
    outputs = torch.randn(500, 7, generator=_generator(seed))
    targets = torch.randint(0, 7, (500,), generator=_generator(seed + 9))
    expected = accuracy_score(targets.numpy(), outputs.argmax(dim=1).numpy())
    assert accuracy(outputs, targets) == pytest.approx(expected, abs=1e-12)


def test_of_tied_classes_accuracy_takes_the_first():
    outputs = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    assert accuracy(outputs, torch.tensor([0, 1])) == 1.0
    assert accuracy(outputs, torch.tensor([1, 2])) == 0.0


@pytest.mark.parametrize(("n", "columns", "offset"), [(300, 1, 0.0), (300, 4, 0.0), (50, 3, 1e3)])
def test_r2_is_scikit_learns_mean_over_columns(n, columns, offset):
    targets = torch.randn(n, columns, generator=_generator()) + offset
    outputs = targets + 0.5 * torch.randn(n, columns, generator=_generator(1))
    expected = r2_score(targets.double().numpy(), outputs.double().numpy())
    assert r2(outputs, targets) == pytest.approx(expected, rel=1e-9)


def test_r2_of_the_mean_is_0_and_of_the_truth_is_1():
    targets = torch.randn(100, 2, generator=_generator())
    assert r2(targets, targets) == 1.0
    assert r2(targets.mean(dim=0).expand(100, 2), targets) == pytest.approx(0.0, abs=1e-6)


def test_r2_counts_each_channel_of_dense_targets_as_a_column():
    targets = torch.randn(20, 2, 4, 5, generator=_generator())
    outputs = targets + torch.randn(20, 2, 4, 5, generator=_generator(1))
    columns = [t.transpose(0, 1).flatten(1).T.double().numpy() for t in (targets, outputs)]
    assert r2(outputs, targets) == pytest.approx(r2_score(*columns), rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6])
def test_r2_leaves_constant_columns_out(value):
    targets = torch.randn(999, 2, generator=_generator())
    outputs = targets + torch.randn(999, 2, generator=_generator(1))
    alone = r2(outputs[:, :1], targets[:, :1])
    targets[:, 1] = value
    assert r2(outputs, targets) == pytest.approx(alone, rel=1e-12)
    assert math.isnan(r2(outputs[:, 1:], targets[:, 1:]))


@pytest.mark.parametrize("levels", [None, 4, 1])
def test_mean_auroc_is_scikit_learns_with_and_without_ties(levels):
    outputs = torch.randn(400, 5, generator=_generator())
    targets = (outputs + torch.randn(400, 5, generator=_generator(1)) > 0.5).float()
    if levels is not None:
        outputs = (outputs.sigmoid() * levels).floor().clamp(max=levels - 1)
    each = [roc_auc_score(targets[:, i].numpy(), outputs[:, i].numpy()) for i in range(5)]
    assert mean_auroc(outputs, targets) == pytest.approx(sum(each) / 5, abs=1e-12)
    if levels == 1:
        assert mean_auroc(outputs, targets) == 0.5


def test_mean_auroc_leaves_labels_with_one_outcome_out():
    outputs = torch.randn(100, 3, generator=_generator())
    targets = (torch.rand(100, 3, generator=_generator(1)) < 0.4).float()
    targets[:, 0], targets[:, 2] = 0, 1
    alone = roc_auc_score(targets[:, 1].numpy(), outputs[:, 1].numpy())
    assert mean_auroc(outputs, targets) == pytest.approx(alone, abs=1e-12)
    assert math.isnan(mean_auroc(outputs[:, :1], targets[:, :1]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_outputs_of_a_diverged_network_have_no_r2_and_no_auroc(bad):
    targets = (torch.rand(50, 2, generator=_generator()) < 0.5).float()
    outputs = torch.zeros(50, 2)
    outputs[3, 0] = bad
    assert math.isnan(mean_auroc(outputs, targets))
    assert not r2(outputs, targets) > -1e30


@pytest.mark.parametrize("metric", [ACCURACY, R2, MEAN_AUROC])
def test_the_worst_value_loses_to_any_and_nan_never_wins(metric):
    assert metric.better(0.5, metric.worst)
    assert metric.better(0.6, 0.5) != metric.better(0.5, 0.6)
    assert not metric.better(float("nan"), metric.worst)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_mirror_flips_whole_examples_along_its_axis_and_leaves_the_others(shape, dtype):
    inputs = torch.randint(0, 256, (64, *shape), generator=_generator()).to(dtype)
    for axis in range(len(shape) - 1):
        moved = Mirror(axis)(inputs, _generator(1))
        flipped = inputs.flip(axis + 2)
        kinds = {
            (torch.equal(row, kept), torch.equal(row, turned))
            for row, kept, turned in zip(moved, inputs, flipped, strict=True)
        }
        assert kinds == {(True, False), (False, True)}
        assert moved.dtype == dtype


def test_mirror_flips_about_half_of_the_examples():
    inputs = torch.tensor([1.0, 2.0]).expand(10_000, 1, 2)
    flips = int((Mirror(0)(inputs, _generator())[:, 0, 0] == 2).sum())
    # Binomial(10,000, 1/2) has deviation 50; four of them are left in 6 of 100,000 seeds.
    assert abs(flips - 5_000) < 200


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_shift_moves_each_example_as_a_crop_of_the_padded_one(shape, dtype):
    pixels = 2
    inputs = torch.randint(1, 256, (40, *shape), generator=_generator()).to(dtype)
    moved = Shift(pixels)(inputs, _generator(1))
    assert moved.shape == inputs.shape
    assert moved.dtype == dtype
    padded = torch.nn.functional.pad(inputs, [pixels] * 2 * len(shape[1:]))
    for row, source in zip(moved, padded, strict=True):
        crops = source
        for axis, size in enumerate(shape[1:], start=1):
            crops = crops.unfold(axis, size, 1)
        places = crops.flatten(1, len(shape) - 1)  # [C, places, *spatial]
        assert sum(torch.equal(row, places[:, i]) for i in range(places.shape[1])) == 1


def test_shift_draws_every_move_equally_often_and_the_axes_independently():
    pixels, n = 1, 9_000
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3).expand(n, 1, 3, 3)
    centre = Shift(pixels)(image, _generator())[:, 0, 1, 1].long()
    counts = torch.bincount(centre, minlength=10)[1:]
    # Chi-squared with 8 degrees of freedom exceeds 26.1 in one of 1,000 seeds.
    assert float(((counts - n / 9) ** 2 / (n / 9)).sum()) < 26.1


def test_shift_by_0_leaves_the_batch_as_it_is():
    inputs = torch.randn(5, 2, 4, 4, generator=_generator())
    assert torch.equal(Shift(0)(inputs, _generator()), inputs)


@pytest.mark.parametrize("shape", SHAPES)
def test_first_moves_the_channels_before_its_number_and_leaves_the_others(shape):
    inputs = torch.randn(64, 3, *shape[1:], generator=_generator())
    moved = First(2, Shift(1))(inputs, _generator(1))
    assert torch.equal(moved[:, :2], Shift(1)(inputs[:, :2], _generator(1)))
    assert torch.equal(moved[:, 2], inputs[:, 2])
    assert not torch.equal(moved[:, :2], inputs[:, :2])


@pytest.mark.parametrize("spatial", [(50,), (5, 10)])
def test_forget_sets_a_value_and_its_mask_to_zero_together(spatial):
    inputs = torch.randn(400, 3, *spatial, generator=_generator())
    inputs = torch.cat([inputs, torch.ones_like(inputs)], dim=1)
    moved = Forget(0.2)(inputs, _generator(1))
    value, mask = moved[:, :3], moved[:, 3:]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(value, inputs[:, :3] * mask)
    # 60,000 draws: a share of 0.2 has deviation 0.0016.
    for channel in range(3):
        assert float(mask[:, channel].mean()) == pytest.approx(0.8, abs=0.01)
    both = float((mask[:, 0] * mask[:, 1]).mean())
    assert both == pytest.approx(0.64, abs=0.015)  # channels are forgotten independently


def test_forget_leaves_what_was_not_observed_as_it_is():
    inputs = torch.zeros(5, 4, 7)
    assert torch.equal(Forget(0.5)(inputs, _generator()), inputs)


@pytest.mark.parametrize("augmentation", [Mirror(0), Shift(2), First(1, Shift(2))])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_seed_draws_the_same_and_another_seed_does_not(augmentation, shape):
    inputs = torch.randn(64, *shape, generator=_generator())
    before = inputs.clone()
    first, second = (augmentation(inputs, _generator(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, augmentation(inputs, _generator(6)))
    assert torch.equal(inputs, before)
