"""Evolutionary samplers: who becomes a parent, what a child is, and who dies."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from search_space.genotype import Genotype
from searchers import METHODS, Sampler
from toy_spaces import Sequences

parents: list[Genotype] = []


@dataclass(frozen=True)
class Watched(Sequences):
    """Remembers whose mutations were asked for."""

    def mutate(self, genotype: Genotype, rng: random.Random) -> Genotype:
        parents.append(genotype)
        return super().mutate(genotype, rng)


def make(name: str, **params: object) -> Sampler:
    cls = METHODS.load(name)
    parents.clear()
    return cls(Watched(4, 6), cls.Params(**params), seed=3)


def populate(sampler: Sampler, count: int) -> list[Genotype]:
    """Ask for and tell ``count`` candidates, the later ones being the better ones."""
    asked = []
    for score in range(count):
        asked.append(sampler.ask())
        sampler.tell(asked[-1], score)
    return asked


def check_share(hits: int, draws: int, probability: float) -> None:
    """Check a binomial count at five standard deviations: wrong once in two million times."""
    deviation = math.sqrt(draws * probability * (1 - probability))
    assert abs(hits - draws * probability) <= 5 * deviation + 1e-9


DRAWS = 2000


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("regularized_evolution", {"population": 12, "sample": 3}),
        ("hierarchical_evolution", {"initial": 12}),
        ("pareto_evolution", {"population": 12}),
    ],
)
def test_begins_with_random_candidates_and_then_asks_for_children(name, params):
    sampler = make(name, **params)
    population = populate(sampler, 12)
    assert parents == []
    for _ in range(20):
        sampler.ask()
    assert len(parents) == 20
    if name != "pareto_evolution":  # which crosses its parents first
        assert set(parents) <= set(population)


@pytest.mark.parametrize("name", ["regularized_evolution", "hierarchical_evolution"])
def test_a_child_differs_from_its_parent_in_one_decision(name):
    cls = METHODS.load(name)
    sampler = make(name, **cls.smoke)
    populate(sampler, 10)
    for _ in range(50):
        child = sampler.ask()
        pairs = zip(sampler.space.encode(child), sampler.space.encode(parents[-1]), strict=True)
        assert sum(a != b for a, b in pairs) == 1


@pytest.mark.parametrize("sample", [1, 3, 25])
def test_regularized_evolution_samples_with_replacement_and_takes_the_best(sample):
    """The best of P is among S draws with replacement with probability 1 - (1 - 1/P)^S."""
    sampler = make("regularized_evolution", population=10, sample=sample)
    best = populate(sampler, 10)[-1]
    for _ in range(DRAWS):
        sampler.ask()
    check_share(parents.count(best), DRAWS, 1 - (1 - 1 / 10) ** sample)


def test_regularized_evolution_kills_the_oldest_even_if_it_is_the_best():
    sampler = make("regularized_evolution", population=5, sample=50)
    best = sampler.ask()
    sampler.tell(best, 1e9)
    rest = [sampler.ask() for _ in range(4)]
    for genotype in rest:
        sampler.tell(genotype, 0.0)
    sampler.ask()
    assert parents[-1] == best
    sampler.tell(sampler.space.sample(random.Random(1)), 0.0)  # the sixth: the first has to go
    for _ in range(20):
        sampler.ask()
    assert best not in parents[-20:]


def test_hierarchical_evolution_samples_a_share_of_a_population_that_only_grows():
    """The best of n is among k of them with probability k / n."""
    sampler = make("hierarchical_evolution", initial=10, share=0.1)
    best = populate(sampler, 40)[-1]
    assert len(sampler.population) == 40
    parents.clear()
    for _ in range(DRAWS):
        sampler.ask()
    check_share(parents.count(best), DRAWS, 4 / 40)


def test_failed_candidates_have_no_children():
    for name in ("regularized_evolution", "hierarchical_evolution", "pareto_evolution"):
        sampler = make(name, **METHODS.load(name).smoke)
        good = []
        for turn in range(25):
            genotype = sampler.ask()
            if turn % 2:
                good.append(genotype)
            sampler.tell(genotype, 0.0 if turn % 2 else -math.inf)
        alive = {member.genotype for member in sampler.population}
        assert alive
        assert alive <= set(good)


def cost(genotype: Genotype) -> float:
    """Return a cost that is at odds with the score: the sum of the decisions."""
    return float(sum(genotype.data["decisions"]))


def test_pareto_evolution_finds_a_front_that_is_known():
    """Score and cost are the same sum: every sum from 0 to 15 has its place on the front."""
    cls = METHODS.load("pareto_evolution")
    space = Sequences(5, 4)
    sampler = cls(space, cls.Params(population=40, costs=("latency",)), seed=0)
    for _ in range(1500):
        genotype = sampler.ask()
        sampler.tell(genotype, cost(genotype), {"latency": cost(genotype), "parameters": 5.0})
    sums = Counter(cost(member.genotype) for member in sampler.population)
    assert set(sums) >= set(range(1, 15))


def test_pareto_evolution_minds_each_cost_that_it_is_given_and_no_other():
    """Of candidates with equal scores only those of the lowest cost survive."""
    cls = METHODS.load("pareto_evolution")
    for costs, floor in ((("parameters",), 0.0), ((), None)):
        sampler = cls(Sequences(5, 4), cls.Params(population=8, costs=costs), seed=0)
        assert sampler.weighs == costs
        for _ in range(800):
            genotype = sampler.ask()
            sampler.tell(genotype, 1.0, {"parameters": cost(genotype)})
        lowest = min(cost(member.genotype) for member in sampler.population)
        if floor is not None:
            assert lowest == floor
        else:
            mean = sum(cost(m.genotype) for m in sampler.population) / len(sampler.population)
            assert mean > 3
