"""The contract of a selection: one way to choose an architecture from a trained supernet."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from search_space.genotype import Genotype
from search_space.mixture import Mixtures
from search_space.space import SearchSpace
from search_space.supernet import Supernet
from search_space.task import Task
from searchers._architecture import Architecture
from searchers._base import StrictParams


class Bench(Protocol):
    """What selections and stopping rules may use of a search."""

    seed: int
    device: torch.device
    task: Task
    architecture_rows: Tensor

    @property
    def network(self) -> Supernet:
        """The supernet."""

    @property
    def architecture(self) -> Architecture:
        """Its architecture."""

    def tune(self, share: float) -> None:
        """Train the weights on a batch of theirs, at a share of the search's learning rate."""

    def charge(self, mixtures: Mixtures, passes: int) -> None:
        """Count passes times examples through what ``mixtures`` compute, a backward pass as two."""


class Selection:
    """Chooses from a supernet that was trained, at the end or while the training goes on.

    What is written here is the paper's selection; an entry changes what it does otherwise.
    ``mixed``: it needs a supernet that was trained on mixtures, not on single paths. ``whole``: it
    needs one in which all channels go through the operations.
    """

    class Params(StrictParams):
        """Parameters of the selection; the paper's numbers are the defaults."""

    mixed: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    smoke: ClassVar[dict[str, Any]] = {}

    def __init__(self, params: Any):
        self.params = params

    def epochs(self, total: int) -> int:
        """Return how many of ``total`` epochs, the last ones, it has for itself."""
        return 0

    def settled(self, total: int) -> int:
        """Return how many of ``total`` epochs, the last ones, have nothing left to choose."""
        return 0

    def before_epoch(self, architecture: Architecture, share: float) -> None:
        """Do what is due before one of its own epochs, after which a ``share`` of them is done."""

    def begin(self, bench: Bench) -> None:
        """Start the work that is done after the last epoch."""

    @property
    def finished(self) -> bool:
        """Whether no work is left."""
        return True

    @property
    def share(self) -> float:
        """Share of the work after the last epoch that is done."""
        return 1.0

    @property
    def effort(self) -> float:
        """What its work after the last epoch takes, in epochs, about."""
        return 0.0

    def advance(self, bench: Bench) -> None:
        """Do one batch of the work after the last epoch."""

    def genotype(self, space: SearchSpace, architecture: Architecture) -> Genotype:
        """Return what was chosen: by default the paper's two best edges of each node."""
        return space.discretise(architecture.tables())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the work depends on."""
        return {}

    def load_state_dict(self, state: dict[str, Any], bench: Bench) -> None:
        """Go to what :meth:`state_dict` returned."""
