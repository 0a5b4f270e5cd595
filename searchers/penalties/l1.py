"""L1: pulls every architecture parameter to 0 with the same force, whatever its size.

The lasso's norm (Tibshirani 1996) where DARTS has the square of the L2 norm, as weight decay.

It is taken of alpha, not of the weights, whose sum on an edge is one with most relaxations: their
L1 norm is a constant. At alpha 0 no operation is preferred: to stand out, an operation has to
improve the validation loss by more than the pull. It does not make the weights sparse, as
``entropy`` and ``zero_one`` do. No paper gives a strength: on the 28 edges of DARTS's two cells the
default pulls as hard as the weight decay of 1e-3 does where alpha is 1.
"""

from __future__ import annotations

from torch import Tensor

from searchers.penalties._base import Penalty, Schedule, Strength


class L1(Penalty):
    """The mean over edges of the sum of absolute alphas."""

    class Params(Penalty.Params):
        """The strength is ours; see the file's head."""

        strength: Strength = 0.03
        schedule: Schedule = "constant"

    def value(self, alpha: Tensor, weights: Tensor) -> Tensor:
        return alpha.abs().sum(dim=-1).mean()
