"""Tournament evolution without removal: the best of a share of all candidates has a child.

Liu, Simonyan, Vinyals, Fernando, Kavukcuoglu: Hierarchical Representations for Efficient
Architecture Search, ICLR 2018, section 3.2. It is the search of that paper; its hierarchical space
is an entry of its own, and any space will do.

Deviations: the first candidates are drawn uniformly, not by 1,000 mutations of a trivial one; a
mutation changes one decision of the space; candidates that failed do not join the population.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._base import StrictParams
from searchers._population import Evolution, Member, mutated


class HierarchicalEvolution(Evolution):
    """Tournament selection in a population that only grows."""

    class Params(StrictParams):
        """The paper's numbers are the defaults; they are for thousands of candidates.

        With a budget of a hundred, 10 initial candidates leave time to evolve.
        """

        initial: int = pydantic.Field(200, ge=1, description="random candidates to begin with")
        share: float = pydantic.Field(
            0.05, gt=0, le=1, description="of the population that competes; at least two compete"
        )

    smoke: ClassVar[dict[str, Any]] = {"initial": 10, "share": 0.3}

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed, initial=params.initial)

    def child(self) -> Genotype:
        size = max(2, math.ceil(self.params.share * len(self.population)))
        sample = self.rng.sample(self.population, min(size, len(self.population)))
        parent = max(sample, key=lambda member: member.score)
        return mutated(self.space, parent.genotype, self.rng)

    def admit(self, member: Member) -> None:
        self.population.append(member)
