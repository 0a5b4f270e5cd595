"""Sparsemax: the nearest point of the simplex, which gives weak operations a weight of zero.

Martins, Astudillo: From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label
Classification, ICML 2016: definition in equation 2, algorithm 1.

An operation whose alpha is one or more below the strongest of its edge has weight 0 and gets no
gradient; it comes back only when the alphas of the others fall.
"""

from __future__ import annotations

import torch
from torch import Tensor

from searchers._base import StrictParams
from searchers.relaxations._base import Relaxation


class Sparsemax(Relaxation):
    """The Euclidean projection of each row of alpha onto the simplex."""

    class Params(StrictParams):
        """Sparsemax has no parameters."""

    def expected(self, alpha: Tensor) -> Tensor:
        # The projection doesn't change when a row is shifted; so large alphas lose no digits.
        shifted = alpha - alpha.detach().amax(dim=-1, keepdim=True)
        ordered = shifted.sort(dim=-1, descending=True).values
        ranks = torch.arange(1, alpha.shape[-1] + 1, dtype=alpha.dtype, device=alpha.device)
        inside = 1 + ranks * ordered > ordered.cumsum(dim=-1)
        size = inside.sum(dim=-1, keepdim=True)
        threshold = ((ordered * inside).sum(dim=-1, keepdim=True) - 1) / size
        return (shifted - threshold).relu()
