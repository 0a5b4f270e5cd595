"""The contract of a relaxation: one way to turn architecture parameters into mixture weights."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import torch
from torch import Tensor

from searchers._base import StrictParams

# Scale of the initial architecture parameters (quark0/darts, model_search.py).
INITIAL_SCALE = 1e-3


class Relaxation(abc.ABC):
    """Maps alpha ``[edges, operations]``, any real numbers, to weights in [0, 1] of that shape.

    The weights keep alpha's device and dtype. Those expected never decrease where alpha increases
    within a row: the strongest operation of an edge is the one with the largest alpha.

    ``sampled``: a draw is one-hot, so that a training step computes only the operation with the
    largest weight of each edge. ``normalised``: the weights of an edge sum to one, drawn or not.
    """

    class Params(StrictParams):
        """Parameters of the relaxation; the paper's numbers are the defaults."""

    sampled: ClassVar[bool] = False
    normalised: ClassVar[bool] = True

    def __init__(self, params: Any):
        self.params = params

    def initial(self, edges: int, operations: int, generator: torch.Generator) -> Tensor:
        """Return the alpha a search starts from: near 0, where no operation is preferred."""
        return INITIAL_SCALE * torch.randn(edges, operations, generator=generator)

    @abc.abstractmethod
    def expected(self, alpha: Tensor) -> Tensor:
        """Return the weights to evaluate, report and choose by: no chance, differentiable."""

    def draw(self, alpha: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Return the weights a training step mixes by, differentiable in ``alpha``.

        Args:
            alpha: architecture parameters of one kind of cell.
            progress: share of the search that is done, from 0 to 1.
            generator: of all chance in the draw; on the CPU, wherever ``alpha`` is.
        """
        return self.expected(alpha)
