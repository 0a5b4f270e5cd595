"""Pareto evolution (NSGA-II): looks for high scores and low costs at once, for the whole trade-off.

Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE
Transactions on Evolutionary Computation 6 (2), 2002; section III: non-dominated sorting, crowding
distance, binary tournaments, parents and children compete for survival.

Deviations: architectures are crossed at one point of their decision sequences, with the paper's
probability for binary strings, 0.9, and one decision of every child is changed, where the paper
changes each with the probability of one in their number. Children are asked for one at a time; a
generation ends when as many have been told as the population holds. Candidates that failed do not
survive; a cost that is not known counts as infinite; an architecture survives once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._base import StrictParams
from searchers._pareto import survivors
from searchers._population import Evolution, Member, mutated

CostName = Literal["parameters", "multiply_adds", "peak_memory", "latency"]


class ParetoEvolution(Evolution):
    """NSGA-II over the score and any costs; the members of its population are a Pareto front."""

    class Params(StrictParams):
        """The paper's numbers are the defaults; they are for thousands of candidates.

        With a budget of a hundred, a population of 10 leaves time to evolve.
        """

        population: int = pydantic.Field(100, ge=2, description="N, parents and children each")
        costs: Annotated[tuple[CostName, ...], pydantic.Field(max_length=4)] = (
            "parameters",
            "multiply_adds",
        )
        crossover: float = pydantic.Field(0.9, ge=0, le=1, description="probability")

    smoke: ClassVar[dict[str, Any]] = {"population": 10}

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed, initial=params.population)
        self.children: list[Member] = []

    @property
    def weighs(self) -> tuple[str, ...]:
        return tuple(self.params.costs)

    def child(self) -> Genotype:
        genotype = self._parent()
        if self.rng.random() < self.params.crossover:
            genotype = self._cross(genotype, self._parent())
        return mutated(self.space, genotype, self.rng)

    def admit(self, member: Member) -> None:
        """Let a generation compete with its parents once all of it has been told."""
        self.children.append(member)
        if len(self.children) < self.params.population:
            return
        # Each architecture once: in a small space, copies of one would crowd the others out.
        both = list({m.genotype: m for m in [*self.population, *self.children]}.values())
        kept = survivors(self._points(both), self.params.population)
        self.population, self.children = [both[i] for i in kept], []

    def _parent(self) -> Genotype:
        """Return the better of two; the population is in order, the best first."""
        count = len(self.population)
        return self.population[min(self.rng.randrange(count), self.rng.randrange(count))].genotype

    def _cross(self, first: Genotype, second: Genotype) -> Genotype:
        """Take the first decisions of one and the later ones of another, where still possible."""
        head, tail = self.space.encode(first), self.space.encode(second)
        decisions = list(head[: self.rng.randrange(len(head) + 1)])
        while (count := self.space.options(decisions)) > 0:
            place = len(decisions)
            fits = place < len(tail) and tail[place] < count
            decisions.append(tail[place] if fits else self.rng.randrange(count))
        return self.space.decode(decisions)

    def _points(self, members: Sequence[Member]) -> np.ndarray:
        return np.array(
            [[-m.score, *(m.costs.get(c, np.inf) for c in self.params.costs)] for m in members]
        )

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "children": [m.to_data() for m in self.children]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.children = [Member.from_data(data) for data in state["children"]]
