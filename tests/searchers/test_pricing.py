"""Costs of candidates and the limits on them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from samplers import SAMPLERS, make_sampler
from search_space.cost import cost
from search_space.genotype import Genotype
from search_space.measure import peak_memory
from search_space.spaces import SPACES
from search_space.task import Task
from searchers._pricing import REDRAWS, Admission, Blueprint, LimitError, Limits, Pricing
from toy_spaces import Sequences

SIZE = (4, 3)


@pytest.fixture
def blueprint(make_task: Callable[..., Task]) -> Blueprint:
    return Blueprint.of(SPACES.load("nasbench201")(), make_task((3, 8, 8)), SIZE)


def test_counted_costs_are_those_of_the_network(blueprint: Blueprint) -> None:
    pricing = Pricing(
        blueprint, ("parameters", "multiply_adds", "peak_memory"), never, lambda *_: None
    )
    for seed in range(5):
        genotype = blueprint.space.sample(random.Random(seed))
        network = blueprint.space.build(genotype, blueprint.task, channels=4, layers=3)
        counted = cost(network, blueprint.task)
        assert pricing(genotype) == {
            "parameters": counted.parameters,
            "multiply_adds": counted.multiply_adds,
            "peak_memory": peak_memory(network, blueprint.task),
        }


def never(key: str) -> None:
    return None


def test_only_what_is_asked_for_is_told(blueprint: Blueprint) -> None:
    genotype = blueprint.space.sample(random.Random(0))
    assert Pricing(blueprint, (), never, lambda *_: None)(genotype) == {}
    assert list(Pricing(blueprint, ("parameters",), never, lambda *_: None)(genotype)) == [
        "parameters"
    ]


def test_a_latency_is_measured_once(blueprint: Blueprint) -> None:
    known: dict[str, float] = {}
    pricing = Pricing(blueprint, ("latency",), known.get, known.__setitem__)
    genotype = blueprint.space.sample(random.Random(0))
    first = pricing(genotype)["latency"]
    assert known == {genotype.key: first}
    known[genotype.key] = 17.0
    assert pricing(genotype) == {"latency": 17.0}


def test_networks_of_another_size_or_task_have_costs_of_their_own(make_task) -> None:
    space = SPACES.load("nasbench201")()
    genotype = space.sample(random.Random(0))
    found = {
        Pricing(Blueprint.of(space, task, size), ("parameters",), never, lambda *_: None)(genotype)[
            "parameters"
        ]
        for task, size in (
            (make_task((3, 8, 8)), (4, 3)),
            (make_task((3, 8, 8)), (8, 3)),
            (make_task((3, 8, 8), size=5), (4, 3)),
        )
    }
    assert len(found) == 3


class Sum(Pricing):
    """One and the sum of the decisions, as parameters."""

    def __init__(self) -> None:
        super().__init__(None, ("parameters",), never, lambda *_: None)  # type: ignore[arg-type]

    def __call__(self, genotype: Genotype) -> dict[str, float]:
        return {"parameters": 1.0 + sum(genotype.data["decisions"])}


def admission(method: str, most: float, space: Sequences | None = None) -> Admission:
    sampler = make_sampler(method, space or Sequences(4, 4))
    return Admission(sampler, {"parameters": most}, [Sum()])


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sampler_gets_a_candidate_through_that_breaks_a_limit(name: str) -> None:
    """15 of the 256 keep it, and the score drives away from them."""
    gate = admission(name, 3.0)
    for _ in range(30):
        genotype = gate.ask()
        if genotype is None:  # grid has asked for all there are
            break
        assert Sum()(genotype)["parameters"] <= 3.0
        gate.sampler.tell(genotype, Sum()(genotype)["parameters"])


def test_a_sampler_is_told_of_candidates_that_break_a_limit_as_of_failures() -> None:
    gate = admission("local_search", 3.0)
    gate.ask()
    assert gate.sampler.scores
    assert set(gate.sampler.scores.values()) == {-math.inf}


def test_where_nothing_is_left_within_the_limits_there_is_no_candidate() -> None:
    gate = admission("grid", 1.0)
    assert gate.ask() == Genotype.of("sequences", {"decisions": [0, 0, 0, 0]})
    assert gate.ask() is None


def test_limits_that_nothing_keeps_end_in_an_error_that_says_how_near_it_was() -> None:
    gate = admission("random_search", 0.5, Sequences(4, 2))
    with pytest.raises(LimitError, match=rf"{REDRAWS} candidates.*parameters 1 of at most 0.5"):
        gate.ask()


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True])
def test_a_limit_is_a_number_above_0(value: float) -> None:
    with pytest.raises(ValueError, match="parameters"):
        Limits(parameters=value)


def test_limits_that_were_not_given_do_not_hold() -> None:
    assert Limits(latency=0.5).given() == {"latency": 0.5}
    assert Limits().given() == {}
