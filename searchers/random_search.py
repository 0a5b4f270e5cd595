"""Random search: architectures drawn uniformly, each scored on its own, the best one kept.

Li, Talwalkar: Random Search and Reproducibility for Neural Architecture Search, UAI 2019.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._base import NO_COSTS, Sampler, StrictParams
from searchers._population import restore


class RandomSearch(Sampler):
    """Draws every decision uniformly; scores don't change what is drawn next."""

    class Params(StrictParams):
        """Random search has no parameters."""

    guided: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed)
        self.rng = random.Random(seed)

    def ask(self) -> Genotype:
        return self.space.sample(self.rng)

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        """Nothing is learned from a score."""

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self.rng.getstate()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        restore(self.rng, state["rng"])
