"""Random search with weight sharing: train shared weights by random paths, keep the best of many.

Li, Talwalkar: Random Search and Reproducibility for Neural Architecture Search, UAI 2019, section
3.2 and liamcli/randomNAS_release: every step trains one architecture drawn uniformly; then random
architectures are scored with the shared weights on one batch, the best of them on all that is held
out, and the best of these is the result.

Deviations: batch norms are fitted anew to each architecture that is scored (theirs have statistics
of all); 100 architectures instead of 1,000, and one run instead of the best of four. Paths are
drawn by decisions, each uniform given those before. What is left out adapts to the task: see
docs/one_shot.md; PAPER has the paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from search_space.genotype import Genotype
from searchers._one_shot import UniformPaths
from searchers._shared_recipe import SharedRecipe


class WeightSharingRandom(UniformPaths):
    """The best of many random architectures, scored with weights that all of them share."""

    class Params(SharedRecipe):
        """How the weights are trained, and how many architectures are scored."""

        candidates: int = pydantic.Field(100, ge=1, description="scored on one batch")
        finalists: int = pydantic.Field(10, ge=1, description="of these, scored on all examples")

    # CIFAR-10: the defaults of the released code, random_weight_share.py.
    PAPER: ClassVar[dict[str, Any]] = {
        "epochs": 100,
        "channels": 16,
        "layers": 8,
        "batch_size": 64,
        "learning_rate": 0.025,
        "weight_decay": 3e-4,
        "candidates": 1000,
        "finalists": 10,
        "loss_scale": 1.0,
    }

    smoke: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "channels": 2,
        "layers": 2,
        "batch_size": 16,
        "candidates": 3,
        "finalists": 2,
        "refit": 2,
    }

    @property
    def _glances(self) -> int:
        return self.params.candidates

    @property
    def _total(self) -> int:
        return self.params.candidates + min(self.params.finalists, self.params.candidates)

    def _next(self) -> Genotype:
        place = len(self.found) - self._glances
        if place < 0:
            return self.space.sample(self.rng)
        # Of equal ones the earlier; sorting is stable.
        ranked = sorted(self.found[: self._glances], key=lambda pair: -pair[1])
        return Genotype.from_json(ranked[place][0])
