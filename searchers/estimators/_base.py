"""The contract of an estimator: one way to score a candidate architecture."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

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


@dataclass(frozen=True)
class Scored:
    """A candidate of the same search that was scored before.

    Args:
        genotype: of the space.
        score: the task's metric, finite.
        key: names what is kept of it.
    """

    genotype: Genotype
    score: float
    key: str


Legacy = dict[str, Tensor]
"""What a candidate leaves for those after it, such as the weights of its network; on the CPU."""


class RecallingEstimator(Estimator):
    """An estimator whose score hangs on the candidates of a search that were scored before.

    An estimator has no memory, and candidates run on different machines. So whoever runs a search
    asks :meth:`recall` when a candidate is chosen, makes the answer a part of the candidate's job,
    and hands it to :meth:`program`: a job's content still decides its result. Programs that are
    :class:`Bequeathing` leave tensors, which are kept by the candidate's key.
    """

    @abc.abstractmethod
    def recall(
        self,
        space: SearchSpace,
        genotype: Genotype,
        before: Sequence[Scored],
        *,
        higher_is_better: bool,
    ) -> dict[str, Any] | None:
        """Return, as plain JSON data, what a candidate takes from those ``before``, in order."""

    @abc.abstractmethod
    def program(
        self,
        space: SearchSpace,
        genotype: Genotype,
        task: Task,
        *,
        seed: int,
        device: torch.device,
        recalled: dict[str, Any] | None = None,
        legacies: Callable[[str], Legacy] | None = None,
    ) -> Program:
        """Return the program that scores ``genotype`` given what was ``recalled``.

        ``legacies`` returns what a candidate left, by its key; not needed if nothing was recalled.
        """


@runtime_checkable
class Bequeathing(Protocol):
    """A program that leaves something when it is done."""

    def legacy(self) -> Legacy:
        """Return what is left."""
