"""Training: the candidate is built and trained by itself; its last validation metric is the score.

The standard estimator (Elsken, Metzen, Hutter 2019, section 4). Fewer epochs, channels or layers
than in the evaluation make it cheaper and less faithful.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic
import torch

from search_space.cost import cost
from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Task
from searchers._base import Program
from searchers._training import Training, TrainingParams, planned_compute
from searchers.estimators._base import Estimator


class TrainFromScratch(Estimator):
    """Trains each candidate from its own initial weights."""

    class Params(TrainingParams):
        """How a candidate is trained, and how large its network is."""

        epochs: int = pydantic.Field(10, ge=1)
        channels: int = pydantic.Field(16, ge=2, multiple_of=2)
        layers: int = pydantic.Field(8, ge=1)

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
        with torch.device("meta"):
            network = space.build(
                genotype, task, channels=self.params.channels, layers=self.params.layers
            )
        return planned_compute(cost(network, task).multiply_adds, task, self.params)
