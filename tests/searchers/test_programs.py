"""Every program: searches, estimators, trainings of baselines and fittings, over the shelves."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.jobs import Entry, Job
from orchestrator.programs import make_program
from search_space.augmentation import Mirror, Shift
from search_space.baselines import BASELINES
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.task import Scale, Task
from searchers import METHODS, Program, Search
from searchers import _base as base_module
from searchers._fitting import Fitting
from searchers._training import Training, TrainingParams
from searchers.estimators import ESTIMATORS

CPU = torch.device("cpu")

SEARCHES = [name for name in METHODS.names() if issubclass(METHODS.load(name), Search)]
NETWORKS = [name for name in BASELINES.names() if not isinstance(BASELINES.load(name), type)]
PREDICTORS = [name for name in BASELINES.names() if name not in NETWORKS]
SEARCHING = [
    *(f"search {name}" for name in SEARCHES),
    *(f"estimator {n}" for n in ESTIMATORS.names() if not ESTIMATORS.load(n).inline),
]
# Scores within a second, without training. What looks scores up runs nothing on examples at all.
UNTRAINED = [
    f"estimator {n}"
    for n in ESTIMATORS.names()
    if ESTIMATORS.load(n).inline and not ESTIMATORS.load(n).looks_up
]
PROGRAMS = [
    *SEARCHING,
    *UNTRAINED,
    *(f"network {name}" for name in NETWORKS),
    *(f"predictor {name}" for name in PREDICTORS),
]
KINDS = ("classes", "multilabel", "regression", "dense")
SHAPES = ((2, 11), (1, 5, 8))

pytestmark = pytest.mark.usefixtures("small_evaluations")


def small_space() -> SearchSpace:
    return SPACES.load("darts")(nodes=1, operations=("none", "skip_connect", "sep_conv_3x3"))


def cut(task: Task, train: int, others: int) -> Task:
    """Return ``task`` with fewer examples."""
    splits = {"train": train, "valid": others, "test": others}
    return dataclasses.replace(
        task, **{name: getattr(task, name).rows(torch.arange(n)) for name, n in splits.items()}
    )


def make_searching(
    kind: str, task: Task, seed: int, space: SearchSpace, **params: Any
) -> tuple[Program, float | None]:
    """Return a search or the scoring of a candidate, and the compute announced for it, if any.

    Made by its smoke parameters and ``params``, on the task without its test split.
    """
    group, _, name = kind.partition(" ")
    cls = METHODS.load(name) if group == "search" else ESTIMATORS.load(name)
    chosen = cls.Params(**{**cls.smoke, **params})
    task = task.without_test()
    if group == "search":
        return cls(space, task, chosen, seed=seed, device=CPU), None
    estimator, genotype = cls(chosen), space.sample(random.Random(0))
    program = estimator.program(space, genotype, task, seed=seed, device=CPU)
    return program, estimator.compute(space, genotype, task)


@pytest.fixture(scope="module")
def make(make_task: Callable[..., Task]) -> Callable[[str, int], Program]:
    """Makes one of PROGRAMS: ``make("network resnet18", seed)``."""
    symmetries = (Mirror(1), Shift(1))
    images = dataclasses.replace(make_task((2, 4, 5), n=70), augmentation=symmetries)
    numbers = make_task((2, 4, 5), "regression", n=12)

    def make(kind: str, seed: int) -> Program:
        group, _, name = kind.partition(" ")
        if group == "network":
            task = cut(images, 8, 3)
            params = TrainingParams(epochs=1, batch_size=4)
            build = BASELINES.load(name)
            return Training(lambda: build(task), task, params, seed=seed, device=CPU)
        if group == "predictor":
            predictor = BASELINES.load(name)
            return Fitting(lambda task: predictor(task, seed=seed, threads=1), numbers)
        space = SPACES.load("darts")(nodes=2)
        return make_searching(kind, cut(images, 66, 4), seed, space)[0]

    return make


@pytest.fixture(scope="module")
def unbroken(make, drive) -> Callable[[str], Any]:
    """The trace of one of PROGRAMS with seed 1, one batch a step; run once."""
    known: dict[str, Any] = {}

    def run(kind: str) -> Any:
        if kind not in known:
            known[kind] = drive(make(kind, 1), states=not kind.startswith("network"))
        return known[kind]

    return run


def has_chance(kind: str) -> bool:
    """Whether the seed matters: it does but for a predictor that has no use for one."""
    group, _, name = kind.partition(" ")
    return group != "predictor" or "seed" in inspect.getsource(
        inspect.getmodule(BASELINES.load(name))
    )


class Bystander:
    """Other code in the process: it draws from the global generators and sees if others did."""

    def __init__(self) -> None:
        self.left = self.states()

    def states(self) -> tuple[Any, ...]:
        name, keys, *rest = np.random.get_state()
        return torch.get_rng_state().tolist(), random.getstate(), (name, keys.tolist(), *rest)

    def __call__(self) -> None:
        assert self.states() == self.left
        torch.rand(3)
        random.random()
        np.random.rand()
        self.left = self.states()


@pytest.mark.parametrize("kind", PROGRAMS)
class TestEveryProgram:
    def test_same_seed_same_outcome_state_and_measurements_and_no_use_of_the_global_generators(
        self, make, unbroken, drive, differences, kind
    ):
        others = Bystander()
        program = make(kind, 1)
        others()
        again = drive(program, between=others)
        assert differences(unbroken(kind).end, again.end) == []

    def test_another_seed_gives_other_measurements_if_there_is_chance_in_it(
        self, make, unbroken, drive, differences, kind
    ):
        other = drive(make(kind, 2), seconds=math.inf)
        changed = differences(unbroken(kind).measurements, other.measurements)
        assert bool(changed) == has_chance(kind)

    def test_killed_after_every_step_it_ends_like_the_unbroken_run(
        self, make, unbroken, drive, differences, kind
    ):
        broken = drive(make(kind, 1), fresh=lambda: make(kind, 1))
        assert differences(unbroken(kind).end, broken.end) == []
        assert broken.progress == unbroken(kind).progress

    def test_how_long_steps_are_changes_nothing(self, make, unbroken, drive, differences, kind):
        long = drive(make(kind, 1), seconds=math.inf)
        assert differences(unbroken(kind).end, long.end) == []

    def test_progress_grows_from_zero_to_one_which_is_reached_by_the_last_step(
        self, unbroken, kind
    ):
        progress = unbroken(kind).progress
        assert progress[0] == 0
        assert progress == sorted(progress)
        assert [share < 1 for share in progress] == [True] * (len(progress) - 1) + [False]
        assert progress[-1] == 1

    def test_the_score_is_the_last_validation_metric(self, unbroken, kind):
        if kind in UNTRAINED:
            pytest.skip("its score is no metric")
        last = unbroken(kind).measurements[-1]
        assert (last.split, last.value) == ("valid", unbroken(kind).outcome.score)
        assert math.isfinite(last.value)


@pytest.mark.parametrize("kind", SEARCHING)
class TestEverySearchAndEstimator:
    def test_a_step_ends_after_the_batch_in_which_the_time_is_up(
        self, make, unbroken, drive, differences, monkeypatch, kind
    ):
        clock = itertools.count()
        monkeypatch.setattr(base_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        single, triple = unbroken(kind), drive(make(kind, 1), seconds=3)
        assert differences(single.end, triple.end) == []
        assert len(single.progress) > len(triple.progress) > 2
        assert set(triple.progress) <= set(single.progress)
        assert triple.progress[1] == single.progress[3]

    @pytest.mark.parametrize("output", KINDS)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_takes_every_kind_of_output_on_signals_and_images(
        self, make_task, drive, kind, output, shape
    ):
        space, task = small_space(), make_task(shape, output, n=9)
        program, _ = make_searching(kind, task, 0, space)
        outcome = drive(program, seconds=math.inf).outcome
        assert not outcome.diverged
        assert math.isfinite(outcome.score)
        assert min(outcome.parameters, outcome.multiply_adds, outcome.compute) > 0
        if kind.startswith("search"):
            space.check(outcome.genotype)

    @pytest.mark.parametrize("train", [4, 15, 33, 63])
    def test_takes_training_splits_of_any_size_smaller_than_a_batch_too(
        self, make_task, drive, kind, train
    ):
        task = cut(make_task((1, 4, 5), n=64), train, 5)
        program, _ = make_searching(kind, task, 0, small_space())
        assert math.isfinite(drive(program, seconds=math.inf).outcome.score)

    @pytest.mark.usefixtures("textbook")
    @pytest.mark.parametrize("train", [32, 63])
    def test_compute_is_three_forward_passes_where_a_backward_one_follows_and_one_elsewhere(
        self, make_task, drive, kind, train
    ):
        task = cut(make_task((1, 4, 5), n=64), train, 5)
        program, announced = make_searching(kind, task, 0, small_space())
        spent = count_multiply_adds(program.network)
        outcome = drive(program).outcome
        assert spent["other"] > 0
        assert outcome.compute == 3 * spent["train"] + spent["other"]
        assert announced in (None, outcome.compute)

    def test_all_examples_that_are_trained_on_are_augmented_and_no_others(
        self, make_task, drive, kind
    ):
        def shift_far_away(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            return inputs + 1e6 + torch.rand(1, generator=generator)

        task = dataclasses.replace(make_task((1, 4, 5), n=34), augmentation=(shift_far_away,))
        program, _ = make_searching(kind, task, 0, small_space())
        seen, forward = [], program.network.forward

        def watched(inputs: torch.Tensor, *mixtures: Any) -> Any:
            far = inputs > 1e4
            assert far.all() or not far.any()
            seen.append((program.network.training, bool(far.all())))
            return forward(inputs, *mixtures)

        program.network.forward = watched
        drive(program, seconds=math.inf)
        assert set(seen) == {(True, True), (False, False)}

    @pytest.mark.parametrize("seconds", [0.0, math.inf])
    def test_targets_too_large_for_a_loss_are_a_divergence_and_no_error(
        self, make_task, drive, kind, seconds
    ):
        task = overflowing(make_task((1, 4, 5), "regression", n=64))
        program, _ = make_searching(kind, task, 0, small_space())
        trace = drive(program, seconds=seconds)
        assert trace.outcome.diverged
        assert math.isnan(trace.outcome.score)
        assert trace.outcome.genotype is None
        assert trace.progress[-1] == 1

    def test_a_divergence_is_the_same_however_long_steps_are(
        self, make_task, drive, differences, kind
    ):
        task = overflowing(make_task((1, 4, 5), "regression", n=64))
        programs = [make_searching(kind, task, 0, small_space())[0] for _ in range(2)]
        short, long = (
            drive(program, seconds=s) for program, s in zip(programs, (0, math.inf), strict=True)
        )
        assert differences(short.outcome, long.outcome) == []
        assert differences(short.measurements, long.measurements) == []

    def test_a_divergence_outlives_a_restart(self, make_task, drive, differences, kind):
        task = overflowing(make_task((1, 4, 5), "regression", n=64))

        def make() -> Program:
            return make_searching(kind, task, 0, small_space())[0]

        assert differences(drive(make()).end, drive(make(), fresh=make).end) == []

    def test_is_handed_no_test_split(self, make_task, kind):
        program = make_program(job(kind), make_task((1, 4, 5)), device=CPU, threads=1)
        tasks = [value for value in vars(program).values() if isinstance(value, Task)]
        assert [task.test for task in tasks] == [None]

    def test_another_test_split_changes_nothing(self, make_task, drive, differences, kind):
        task, other = (make_task((1, 4, 5), seed=seed) for seed in (0, 1))
        ends = []
        for test in (task.test, other.test):
            given = dataclasses.replace(task, test=test)
            program = make_program(job(kind), given, device=CPU, threads=1)
            ends.append(drive(program, seconds=math.inf).end)
        assert differences(*ends) == []
        assert ends[0]["outcome"].test is None


def overflowing(task: Task) -> Task:
    """Return a regression whose squared errors are beyond float32 from the first batch on."""
    train = dataclasses.replace(task.train, targets=task.train.targets * 1e30)
    return dataclasses.replace(task, train=train, target_scale=Scale())


def count_multiply_adds(network: torch.nn.Module) -> dict[str, int]:
    """Count from now on what forward passes really cost: those with a backward pass, and others."""
    spent, forward = {"train": 0, "other": 0}, network.forward

    def counted(*inputs: Any) -> Any:
        with FlopCounterMode(display=False) as counter:
            outputs = forward(*inputs)
        spent["train" if torch.is_grad_enabled() else "other"] += counter.get_total_flops() // 2
        return outputs

    network.forward = counted
    return spent


def job(kind: str) -> Job:
    """Return the job of a search or a candidate, in the smallest space that there is."""
    group, _, name = kind.partition(" ")
    cls = METHODS.load(name) if group == "search" else ESTIMATORS.load(name)
    entry = Entry(name, cls.Params(**cls.smoke).model_dump())
    space = small_space()
    named = Entry("darts", {"nodes": space.nodes, "operations": list(space.operations)})
    if group == "search":
        return Job("search", Entry("made"), "", seed=0, space=named, method=entry)
    genotype = space.sample(random.Random(0)).to_json()
    return Job("candidate", Entry("made"), "", 0, space=named, estimator=entry, genotype=genotype)
