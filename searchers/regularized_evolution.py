"""Regularized evolution: the best of a sample has a child, and the oldest of the population dies.

Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture Search, AAAI
2019 (AmoebaNet), algorithm 1.

Deviations: a mutation changes one decision of the space, whatever it means there; the paper's
changes an input or an operation, and one in twenty changes nothing. Candidates that failed do not
join the population.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._base import StrictParams
from searchers._population import Evolution, Member, mutated


class RegularizedEvolution(Evolution):
    """Tournament selection in a population that candidates leave by age, good ones too."""

    class Params(StrictParams):
        """The paper's numbers are the defaults; they are for thousands of candidates.

        With a budget of a hundred, a population of 10 and a sample of 3 leave time to evolve.
        """

        population: int = pydantic.Field(100, ge=1, description="P, how many live")
        sample: int = pydantic.Field(
            25, ge=1, description="S, how many compete to be the parent, drawn with replacement"
        )

    smoke: ClassVar[dict[str, Any]] = {"population": 10, "sample": 3}

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed, initial=params.population)

    def child(self) -> Genotype:
        sample = self.rng.choices(self.population, k=self.params.sample)
        parent = max(sample, key=lambda member: member.score)
        return mutated(self.space, parent.genotype, self.rng)

    def admit(self, member: Member) -> None:
        self.population.append(member)
        del self.population[: -self.params.population]
