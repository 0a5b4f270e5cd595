"""Populations: the candidates that an evolutionary method draws its parents from."""

from __future__ import annotations

import abc
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._base import NO_COSTS, Sampler


@dataclass(frozen=True)
class Member:
    """A candidate that has been scored, and what is known of its costs."""

    genotype: Genotype
    score: float
    costs: Mapping[str, float] = field(default_factory=dict)

    def to_data(self) -> list[Any]:
        """Return it as plain data."""
        return [self.genotype.to_json(), self.score, dict(self.costs)]

    @classmethod
    def from_data(cls, data: list[Any]) -> Member:
        """Read what :meth:`to_data` wrote."""
        genotype, score, costs = data
        return cls(Genotype.from_json(genotype), score, dict(costs))


class Evolution(Sampler):
    """Starts with random candidates, then asks for children of what was told.

    Candidates that failed have no children. Where none of the first has been told yet, or all of
    them failed, more are drawn at random. An entry of the shelf says who becomes a parent, and
    what becomes of the population.

    Args:
        initial: how many candidates are drawn at random to begin with.
    """

    def __init__(self, space: SearchSpace, params: Any, *, seed: int, initial: int):
        super().__init__(space, params, seed=seed)
        self.rng = random.Random(seed)
        self.initial, self.drawn = initial, 0
        self.population: list[Member] = []

    def ask(self) -> Genotype:
        if self.drawn < self.initial or not self.population:
            self.drawn += 1
            return self.space.sample(self.rng)
        return self.child()

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        if score > -math.inf:
            self.admit(Member(genotype, score, dict(costs)))

    @abc.abstractmethod
    def child(self) -> Genotype:
        """Return a candidate made of members of the population, which is not empty."""

    @abc.abstractmethod
    def admit(self, member: Member) -> None:
        """Take a scored candidate into the population."""

    def state_dict(self) -> dict[str, Any]:
        return {
            "rng": self.rng.getstate(),
            "drawn": self.drawn,
            "population": [member.to_data() for member in self.population],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        restore(self.rng, state["rng"])
        self.drawn = state["drawn"]
        self.population = [Member.from_data(data) for data in state["population"]]


def mutated(space: SearchSpace, genotype: Genotype, rng: random.Random) -> Genotype:
    """Return a genotype with one decision changed; itself where the space holds no other."""
    return genotype if space.size() == 1 else space.mutate(genotype, rng)


def restore(rng: random.Random, state: Any) -> None:
    """Set a generator to what its ``getstate`` returned, which JSON makes lists of."""
    version, numbers, gauss = state
    rng.setstate((version, tuple(numbers), gauss))
