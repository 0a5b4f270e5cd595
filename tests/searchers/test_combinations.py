"""The choices of the DARTS family together: any of them runs, resumes, and ends with a genotype."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.errors import PlanError
from orchestrator.plan import parse_plan
from search_space.augmentation import Mirror
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.task import Task
from searchers._prices import Prices, Shape, prices
from searchers.darts import Darts
from searchers.penalties import PENALTIES
from searchers.relaxations import RELAXATIONS
from searchers.selections import SELECTIONS
from searchers.stopping import STOPPING

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def small_evaluations() -> Iterator[None]:
    """As the fixture of that name, for all tests of the module: they share their runs.

    A search that is killed a hundred times is made a hundred times; its prices are counted once.
    """
    known: dict[Shape, Prices] = {}

    def remembered(task: Task, shape: Shape) -> Prices:
        if shape not in known:
            known[shape] = prices(task, shape)
        return known[shape]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("searchers._passes.EVALUATION_BATCH", 3)
        patch.setattr("searchers._stage.prices", remembered)
        yield


def small(shelf: Any, name: str) -> dict[str, Any]:
    """Return an entry as a plan writes it, with its smallest parameters."""
    return {"name": name, **getattr(shelf.load(name), "smoke", {})}


STAGES = [{"layers": 1}, {"layers": 2, "keep": 3}, {"layers": 3, "keep": 2}]
MIXED = [name for name in RELAXATIONS.names() if not RELAXATIONS.load(name).sampled]

# Every entry of every shelf, and what is likeliest to disturb each other.
COMBINATIONS: dict[str, dict[str, Any]] = {
    **{f"relaxation {name}": {"relaxation": name} for name in RELAXATIONS.names()},
    **{f"penalty {name}": {"penalty": name} for name in PENALTIES.names()},
    **{f"selection {n}": {"selection": small(SELECTIONS, n)} for n in SELECTIONS.names()},
    **{f"stopping {n}": {"stopping": small(STOPPING, n)} for n in STOPPING.names()},
    "partial": {"partial": 2, "warmup": 0.4},
    "partial and perturbation": {"partial": 2, "selection": small(SELECTIONS, "perturbation")},
    "stages": {"stages": STAGES, "warmup": 0.5},
    "stages and prune": {"stages": STAGES, "selection": "prune", "relaxation": "sigmoid"},
    "stages, partial and perturbation": {
        "stages": STAGES,
        "partial": 2,
        "selection": small(SELECTIONS, "perturbation"),
    },
    "stages and hessian": {"stages": STAGES, "stopping": small(STOPPING, "hessian")},
    "sampled stages of second order": {"stages": STAGES, "relaxation": "gumbel", "order": 2},
    "partial and sampled": {"partial": 2, "relaxation": "gumbel"},
    "dirichlet and prune": {"relaxation": "dirichlet", "selection": "prune"},
    "sparsemax and prune": {"relaxation": "sparsemax", "selection": "prune"},
    "skip count and prune": {"stopping": small(STOPPING, "skip_count"), "selection": "prune"},
    "skip count and perturbation": {
        "stopping": small(STOPPING, "skip_count"),
        "selection": small(SELECTIONS, "perturbation"),
    },
    "exact, penalised and hessian": {
        "order": 2,
        "second_order": "exact",
        "penalty": {"name": "entropy", "schedule": "linear"},
        "stopping": small(STOPPING, "hessian"),
    },
    "without the watchdog": {"watchdog": False},
}


def space() -> SearchSpace:
    return SPACES.load("darts")(
        nodes=2, operations=("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3")
    )


@pytest.fixture(scope="module")
def make(make_task):
    """Makes a search of a combination, on augmented images: ``make(params, seed)``."""
    task = make_task((2, 4, 5), n=18)
    valid = task.valid.rows(torch.arange(4))
    task = dataclasses.replace(task, valid=valid, augmentation=(Mirror(0),)).without_test()

    def search(params: dict[str, Any], seed: int = 1) -> Darts:
        least = {"epochs": 4, "channels": 2, "batch_size": 4, "learning_rate": 0.05}
        if "stages" not in params:
            least["layers"] = 2
        chosen = Darts.Params(**{**least, **params})
        return Darts(space(), task, chosen, seed=seed, device=CPU)

    return search


@pytest.fixture(scope="module")
def unbroken(make, drive):
    """The trace of a combination, one batch a step; run once."""
    known: dict[str, Any] = {}

    def run(name: str) -> Any:
        if name not in known:
            known[name] = drive(make(COMBINATIONS[name]))
        return known[name]

    return run


@pytest.mark.parametrize("name", COMBINATIONS)
class TestEveryCombination:
    def test_killed_after_every_step_it_ends_like_the_unbroken_run(
        self, make, unbroken, drive, differences, name: str
    ) -> None:
        params, whole = COMBINATIONS[name], unbroken(name)
        broken = drive(make(params), fresh=lambda: make(params))
        assert differences(whole.end, broken.end) == []
        assert broken.progress == whole.progress == sorted(whole.progress)
        assert whole.progress[0] == 0
        assert [share < 1 for share in whole.progress] == [True] * (len(whole.progress) - 1) + [
            False
        ]

    def test_how_long_steps_are_changes_nothing_and_what_it_finds_is_of_the_space(
        self, make, unbroken, drive, differences, name: str
    ) -> None:
        short, long = unbroken(name), drive(make(COMBINATIONS[name]), seconds=math.inf)
        assert differences(short.end, long.end) == []
        outcome = long.outcome
        assert not outcome.diverged
        space().check(outcome.genotype)
        last = long.measurements[-1]
        assert (last.split, last.name, last.value) == ("valid", "accuracy", outcome.score)

    def test_no_row_of_its_report_is_told_twice(self, unbroken, name: str) -> None:
        trace = unbroken(name)
        rows = [(m.step, m.split, m.name) for m in trace.measurements]
        assert len(rows) == len(set(rows))
        weights = [(w.epoch, w.cell, w.edge, w.operation) for w in trace.weights]
        assert len(weights) == len(set(weights))

    def test_it_survives_the_trip_through_a_job(self, name: str) -> None:
        params = Darts.Params(**COMBINATIONS[name])
        assert Darts.Params(**params.model_dump(mode="json")) == params


COUNTED = (
    "relaxation gumbel",
    "relaxation dirichlet",
    "partial",
    "partial and sampled",
    "selection prune",
    "selection perturbation",
    "skip count and prune",
)


@pytest.mark.usefixtures("textbook")
@pytest.mark.parametrize("name", COUNTED)
def test_compute_is_what_the_parts_cost_that_were_computed(make, drive, name: str) -> None:
    """Three forward passes where a backward one follows and one elsewhere, of what is active."""
    program = make(COMBINATIONS[name])
    spent, forward = {True: 0, False: 0}, program.network.forward

    def counted(*inputs: Any) -> Any:
        with FlopCounterMode(display=False) as counter:
            outputs = forward(*inputs)
        spent[torch.is_grad_enabled()] += counter.get_total_flops() // 2
        return outputs

    program.network.forward = counted
    outcome = drive(program, seconds=math.inf).outcome
    assert outcome.compute == 3 * spent[True] + spent[False]


class TestWhatHasNoMeaning:
    @pytest.mark.parametrize(
        ("params", "reason"),
        [
            (
                {"relaxation": "gumbel", "selection": "perturbation"},
                r"selection perturbation asks a supernet that was trained on mixtures, and gumbel "
                r"trains single operations; take one of dirichlet, sigmoid, softmax, sparsemax",
            ),
            ({"relaxation": "gumbel", "selection": "keep_continuous"}, "keep_continuous"),
            ({"relaxation": "gumbel", "selection": "prune"}, "prune"),
            ({"relaxation": "gumbel", "stopping": "hessian"}, "stopping rule hessian"),
            ({"partial": 4, "selection": "prune"}, "no channels that go round"),
            ({"partial": 3}, "partial is 3; it must divide the 8 channels"),
            ({"selection": "prune", "epochs": 1}, "two epochs at least"),
            ({"stages": [{"layers": 2, "keep": 3}]}, "first stage has nothing to choose by"),
            (
                {"stages": [{"layers": 2}, {"layers": 3, "keep": 2}, {"layers": 4, "keep": 3}]},
                r"cannot keep more operations than an earlier one: \[2, 3\]",
            ),
            ({"stages": [{"layers": 2}, {"layers": 3}], "epochs": 1}, "1 epochs are too few"),
        ],
    )
    def test_is_refused_with_the_reason(self, params: dict[str, Any], reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            Darts.Params(**params)

    def test_is_refused_when_a_plan_is_checked_at_the_arm_s_params(self) -> None:
        text = """
        name: wrong
        task: digits
        arms:
          a: {method: darts, params: {relaxation: gumbel, selection: perturbation}}
        """
        with pytest.raises(PlanError, match=r"arms\.a\.params.*single operations"):
            parse_plan(text)

    @pytest.mark.parametrize("name", MIXED)
    @pytest.mark.parametrize("selection", SELECTIONS.names())
    @pytest.mark.parametrize("stopping", STOPPING.names())
    def test_but_nothing_else_is(self, name: str, selection: str, stopping: str) -> None:
        Darts.Params(relaxation=name, selection=selection, stopping=stopping, penalty="beta")
