"""The contract of an estimator: one way to score a candidate architecture."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import torch

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Task
from searchers._base import Program, StrictParams


class Estimator(abc.ABC):
    """Turns a candidate into a program whose outcome's score estimates its quality."""

    class Params(StrictParams):
        """Parameters of the estimator; ``channels`` and ``layers`` size the networks it scores."""

    smoke: ClassVar[dict[str, Any]] = {}

    # Whether a score takes well under a second, so that starting a trial for each would cost more:
    # a search then asks, scores and tells in a loop within one trial.
    inline: ClassVar[bool] = False

    # Whether scores stand in the task's table. Such an estimator spends nothing, and is the only
    # kind for a task that is a table.
    looks_up: ClassVar[bool] = False

    def __init__(self, params: Any):
        self.params = params

    @property
    def size(self) -> tuple[int, int]:
        """Channels and layers of the networks that it scores."""
        return self.params.channels, self.params.layers

    @abc.abstractmethod
    def program(
        self,
        space: SearchSpace,
        genotype: Genotype,
        task: Task,
        *,
        seed: int,
        device: torch.device,
    ) -> Program:
        """Return the program that scores ``genotype`` on ``task``, which has no test split."""

    @abc.abstractmethod
    def compute(self, space: SearchSpace, genotype: Genotype, task: Task) -> float:
        """Return the multiply-adds that the program will spend, without running it."""
