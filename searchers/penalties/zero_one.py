"""Zero-one: pushes every weight away from one half, to 0 or to 1.

Chu, Zhou, Zhang, Li: Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture
Search, ECCV 2020: the zero-one loss L_0-1, with its weight of 10 (xiaomi-automl/FairDARTS).

Deviation: it is a loss on the sigmoids of alpha there, and on the weights of any relaxation here.
Where these sum to one it is, but for a constant, minus their sum of squares: least where one
operation has all the weight.
"""

from __future__ import annotations

from torch import Tensor

from searchers.penalties._base import Penalty, Schedule, Strength


class ZeroOne(Penalty):
    """Minus the mean square distance of the weights from one half: from -1/4 to 0."""

    class Params(Penalty.Params):
        """The strength of the paper's experiments."""

        strength: Strength = 10.0
        schedule: Schedule = "constant"

    def value(self, alpha: Tensor, weights: Tensor) -> Tensor:
        return -(weights - 0.5).square().mean()
