"""Sigmoid: each operation has a weight of its own, so operations don't compete.

Chu, Zhou, Zhang, Li: Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture
Search, ECCV 2020; its other half is the penalty ``zero_one``.

Deviation: alpha starts near 0 as everywhere here, in the authors' code at 0 itself
(xiaomi-automl/FairDARTS, model_search.py).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from searchers._base import StrictParams
from searchers.relaxations._base import Relaxation


class Sigmoid(Relaxation):
    """The collaborative mixture of Fair DARTS; the weights of an edge sum to anything."""

    class Params(StrictParams):
        """Sigmoid has no parameters."""

    normalised: ClassVar[bool] = False

    def expected(self, alpha: Tensor) -> Tensor:
        return alpha.sigmoid()
