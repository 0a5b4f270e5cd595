"""Entropy: pushes each edge to a single operation, so that little is lost by keeping only one.

Tian, Liu, Xie, Jiao, Ye: Discretization-Aware Architecture Search, Pattern Recognition 2021; its
term on operations.

Deviations from sunsmarterjie/DAAS: the mean over edges instead of their sum; linear from the
start, without the extra factor that waits eight epochs and grows with the logarithm; no reshaping
of alpha; no term on edges. Weights that don't sum to one are divided by their sum.
"""

from __future__ import annotations

from torch import Tensor

from searchers.penalties._base import Penalty, Schedule, Strength


class Entropy(Penalty):
    """The mean entropy of the edges, in nats: 0 where each has one operation left."""

    class Params(Penalty.Params):
        """The authors' 0.1 on the sum over 28 edges, 14 of each kind of cell, as a mean."""

        strength: Strength = 2.8
        schedule: Schedule = "linear"

    def value(self, alpha: Tensor, weights: Tensor) -> Tensor:
        shares = weights / weights.sum(dim=-1, keepdim=True)
        # Zeros, which sparsemax gives, add nothing; the logarithm's gradient there is infinite.
        logarithms = shares.where(shares > 0, 1.0).log()
        return -(shares * logarithms).sum(dim=-1).mean()
