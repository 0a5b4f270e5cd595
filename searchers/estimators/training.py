"""Training: the candidate is built and trained by itself; its last validation metric is the score.

The standard estimator (Elsken, Metzen, Hutter 2019, section 4). Fewer epochs, examples, channels or
layers than in the evaluation, or a lower resolution, make it cheaper and less faithful.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Task
from searchers._base import Program
from searchers._training import Training
from searchers.estimators._base import Estimator
from searchers.estimators._fidelity import FidelityParams


class TrainFromScratch(Estimator):
    """Trains each candidate from its own initial weights."""

    class Params(FidelityParams):
        """How a candidate is trained, how large its network is, and on how much of the data."""

    smoke: ClassVar[dict[str, Any]] = {"epochs": 1, "channels": 2, "layers": 2, "batch_size": 16}

    def program(
        self,
        space: SearchSpace,
        genotype: Genotype,
        task: Task,
        *,
        seed: int,
        device: torch.device,
    ) -> Program:
        task = self.params.reduced(task, seed)
        return Training(
            lambda: space.build(
                genotype,
                task,
                channels=self.params.channels,
                layers=self.params.layers,
                auxiliary=self.params.auxiliary > 0,
            ),
            task,
            self.params,
            seed=seed,
            device=device,
        )

    def compute(self, space: SearchSpace, genotype: Genotype, task: Task) -> float:
        return self.params.compute(space, genotype, task)
