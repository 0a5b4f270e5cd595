"""Beta-decay: holds down alpha where softmax feels it, so that no operation runs away early.

Ye, Li, Li, Chen, Fan, Ouyang: beta-DARTS: Beta-Decay Regularization for Differentiable
Architecture Search, CVPR 2022; Sunshine-Ye/Beta-DARTS, architect.py: ``mlc_loss``.

Its gradient is softmax(alpha): each operation is pushed down by as much as it weighs. The authors'
factor grows by half an epoch: to 50 in their 100 epochs on NAS-Bench-201; a search of 50 epochs
that is to follow them has ``strength: 25``.
"""

from __future__ import annotations

from torch import Tensor

from searchers.penalties._base import Penalty, Schedule, Strength


class Beta(Penalty):
    """The mean over edges of log sum exp alpha."""

    class Params(Penalty.Params):
        """The authors' schedule over 100 epochs."""

        strength: Strength = 50.0
        schedule: Schedule = "linear"

    def value(self, alpha: Tensor, weights: Tensor) -> Tensor:
        return alpha.logsumexp(dim=-1).mean()
