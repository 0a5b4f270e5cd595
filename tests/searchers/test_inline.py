"""Searches within one trial: what they ask, score, tell and report, and how they go on."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch

from samplers import SAMPLERS, make_sampler
from search_space.genotype import Genotype
from search_space.metric import R2, Metric
from search_space.task import Output, Task
from searchers import METHODS, Outcome, Program, Report, Sampler
from searchers._base import NO_COSTS
from searchers._inline import DRAWS_WITHOUT_NEWS, InlineSearch
from searchers._lookup import Lookup
from searchers._pricing import LimitError
from searchers.estimators import Estimator
from toy_spaces import Sequences

CPU = torch.device("cpu")
LOWER = Metric("error", False, R2.compute)


def total(genotype: Genotype) -> float:
    return float(sum(genotype.data["decisions"]))


class Summing(Estimator):
    """Scores the sum of the decisions; each candidate costs ten multiply-adds."""

    inline = True
    scored: list[Genotype] = []  # noqa: RUF012
    kinds: Mapping[float, str] = {}

    def program(self, space: Any, genotype: Genotype, task: Task, **_: Any) -> Program:
        self.scored.append(genotype)
        kind = self.kinds.get(total(genotype))
        if kind == "memory":
            return Greedy()
        if kind == "nan":
            return Lookup(Outcome(math.nan, compute=10.0, diverged=True))
        return Lookup(
            Outcome(total(genotype), None, None, 5, 7, 10.0), {"beside": -total(genotype)}
        )

    def compute(self, space: Any, genotype: Genotype, task: Task) -> float:
        return 10.0


class Greedy(Lookup):
    """Wants more memory than there is."""

    def __init__(self) -> None:
        super().__init__(Outcome(0.0))

    def step(self) -> Report:
        raise MemoryError


@pytest.fixture
def make(make_task: Callable[..., Task]) -> Callable[..., InlineSearch]:
    """Factory of searches: ``make(method, space, seed=0, budget={...}, metric=...)``."""

    def make(
        method: str = "random_search",
        space: Sequences | None = None,
        seed: int = 0,
        metric: Metric = R2,
        kinds: Mapping[float, str] | None = None,
        **budget: float,
    ) -> InlineSearch:
        sampler = make_sampler(method, space or Sequences(), seed)
        estimator = Summing(Estimator.Params())
        estimator.scored, estimator.kinds = [], kinds or {}
        task = make_task((1, 4, 4), "regression").without_test()
        output = Output(3, False, task.output.loss, metric)
        task = Task(task.name, task.shape, output, task.train, task.valid, None)
        return InlineSearch(
            sampler,
            estimator,
            task,
            budget=budget or {"samples": 40.0},
            seed=seed,
            device=CPU,
        )

    return make


def plain(trace: Any) -> str:
    """Return the state of a search that has ended, whatever the order of its keys."""
    return json.dumps(trace.program.state_dict(), sort_keys=True)


def candidates(search: InlineSearch) -> Iterator[Any]:
    while not search.done:
        yield from search.step().candidates


@pytest.mark.parametrize("name", SAMPLERS)
class TestEverySampler:
    def test_asks_the_same_as_when_each_candidate_is_a_trial_of_its_own(self, name, make):
        search = make(name, seed=3)
        inline = [c.genotype for c in candidates(search)]
        alone = make(name, seed=3).sampler
        for genotype in inline:
            assert alone.ask() == genotype
            alone.tell(genotype, total(genotype), {"parameters": 5.0, "multiply_adds": 7.0})
        assert len(inline) == 40
        assert search.outcome().score == max(map(total, inline))
        assert total(search.outcome().genotype) == search.outcome().score

    def test_killed_after_every_step_it_ends_like_one_that_was_not(self, name, make, drive):
        unbroken = drive(make(name, seed=1))
        broken = drive(make(name, seed=1), fresh=lambda: make(name, seed=1))
        assert len(unbroken.progress) == 41  # one candidate a step where steps take no time
        assert broken.progress == unbroken.progress
        assert broken.outcome == unbroken.outcome
        assert plain(broken) == plain(unbroken)

    def test_how_long_a_step_takes_changes_nothing(self, name, make, drive):
        one = drive(make(name, seed=1), seconds=math.inf)
        assert len(one.progress) == 2
        assert one.outcome == drive(make(name, seed=1)).outcome


def test_a_candidate_that_is_drawn_twice_is_scored_and_paid_for_once_and_reported_twice(make):
    search = make(space=Sequences(2, 2), samples=40.0)
    reported = list(candidates(search))
    assert [c.step for c in reported] == list(range(1, 41))
    assert len(search.estimator.scored) == len({c.genotype for c in reported}) == 4
    assert search.outcome().compute == 40.0
    by_key = {c.genotype.key: c.score for c in reported}
    assert all(c.score == by_key[c.genotype.key] for c in reported)


def test_what_an_estimator_measures_is_reported_under_the_candidate_s_step(make):
    search, measured, asked = make(space=Sequences(2, 2), samples=40.0), {}, {}
    while not search.done:
        report = search.step()
        measured |= {(m.step, m.name): m.value for m in report.measurements}
        for one in report.candidates:
            asked.setdefault(one.genotype, one.step)
    assert measured == {(step, "beside"): -total(g) for g, step in asked.items()}
    assert len(measured) == 4


def test_a_budget_of_compute_is_spent_by_different_candidates_and_may_be_overrun_once(make):
    search = make(compute=95.0)
    list(candidates(search))
    assert search.outcome().compute == 100.0


def test_a_budget_of_compute_ends_where_the_space_is_exhausted(make):
    search = make(space=Sequences(1, 3), compute=1e9)
    reported = list(candidates(search))
    assert len({c.genotype for c in reported}) == 3
    assert len({c.genotype for c in reported[-DRAWS_WITHOUT_NEWS:]}) <= 3
    first = {c.genotype: c.step for c in reversed(reported)}
    assert len(reported) == max(first.values()) + DRAWS_WITHOUT_NEWS


def test_a_budget_of_seconds_ends_by_the_clock(make):
    search = make(space=Sequences(8, 8), seconds=0.05)
    assert len(list(candidates(search))) > 0
    assert search.seconds >= 0.05


def test_a_sampler_that_has_no_more_ends_the_search(make):
    search = make("grid", Sequences(2, 3), samples=40.0)
    assert len(list(candidates(search))) == 9
    assert search.outcome().score == 4.0


def test_where_lower_is_better_the_lowest_is_best_and_samplers_are_told_the_opposite(make):
    search = make("local_search", Sequences(3, 4), metric=LOWER, samples=60.0)
    list(candidates(search))
    assert search.outcome().score == 0.0
    assert max(search.sampler.scores.values()) == 0.0


def test_candidates_that_diverge_or_need_too_much_memory_are_told_as_failures(make):
    told = []

    class Listening(Sampler):
        """Remembers what it is told."""

        rng = random.Random(0)

        def ask(self) -> Genotype:
            return self.space.sample(self.rng)

        def tell(
            self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS
        ) -> None:
            told.append((total(genotype), score))

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            pass

    search = make(kinds={3.0: "memory", 4.0: "nan"})
    search.sampler = search.admission.sampler = Listening(Sequences(2, 4), None, seed=0)
    outcomes = {total(c.genotype): c.outcome for c in candidates(search)}
    assert {k: v for k, v in outcomes.items() if v != "done"} == {
        3.0: "out_of_memory",
        4.0: "diverged",
    }
    assert all(score == (-math.inf if level in (3.0, 4.0) else level) for level, score in told)
    assert search.outcome().score == 6.0


def test_a_search_of_which_every_candidate_fails_finds_nothing(make):
    search = make(space=Sequences(1, 2), kinds={0.0: "nan", 1.0: "nan"})
    list(candidates(search))
    assert math.isnan(search.outcome().score)
    assert search.outcome().genotype is None


def test_an_error_of_a_candidate_is_an_error_of_the_search(make):
    class Broken(Summing):
        """Cannot score anything."""

        def program(self, *arguments: Any, **more: Any) -> Program:
            raise ZeroDivisionError

    search = make()
    search.estimator = Broken(None)
    with pytest.raises(ZeroDivisionError):
        search.step()


def test_the_state_is_plain_values(make):
    search = make("pareto_evolution", samples=200.0)
    search.step()
    state = search.state_dict()
    assert json.loads(json.dumps(state)).keys() == state.keys()


def test_no_candidate_breaks_a_limit_and_an_impossible_one_is_told(make, make_task):
    from search_space.cost import cost
    from search_space.spaces import SPACES

    space = SPACES.load("nasbench201")(nodes=3)
    task = make_task((3, 8, 8)).without_test()
    cls = METHODS.load("random_search")

    def network_cost(genotype: Genotype, size: tuple[int, int]) -> int:
        with torch.device("meta"):
            network = space.build(genotype, task, channels=size[0], layers=size[1])
        return cost(network, task).parameters

    class Sized(Summing):
        """Scores networks of four channels and three cells."""

        size = (4, 3)  # type: ignore[assignment]

        def program(self, space: Any, genotype: Genotype, task: Task, **_: Any) -> Program:
            return Lookup(Outcome(0.0))

    def search(most: float) -> InlineSearch:
        return InlineSearch(
            cls(space, cls.Params(), seed=0),
            Sized(None),
            task,
            budget={"samples": 30.0},
            limits={"parameters": most},
            evaluated=(8, 3),
            seed=0,
            device=CPU,
        )

    counts = sorted(network_cost(space.sample(random.Random(i)), (8, 3)) for i in range(60))
    middle = counts[30]
    assert counts[0] < middle < counts[-1]
    for candidate in candidates(search(middle)):
        assert network_cost(candidate.genotype, (4, 3)) <= middle
        assert network_cost(candidate.genotype, (8, 3)) <= middle
    with pytest.raises(LimitError, match=r"break a limit.*parameters \d+ of at most 1"):
        list(candidates(search(1.0)))
