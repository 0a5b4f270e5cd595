"""Softmax: the operations of an edge share a weight of one, none is ever out.

Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, ICLR 2019, equation 2.
"""

from __future__ import annotations

from torch import Tensor

from searchers._base import StrictParams
from searchers.relaxations._base import Relaxation


class Softmax(Relaxation):
    """The mixture of DARTS."""

    class Params(StrictParams):
        """Softmax has no parameters."""

    def expected(self, alpha: Tensor) -> Tensor:
        return alpha.softmax(dim=-1)
