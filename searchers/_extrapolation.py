"""Extrapolation of learning curves: Bayesian linear regression on the features of their beginning.

Baker, Gupta, Raskar, Naik: Accelerating Neural Architecture Search using Performance Prediction,
ICLR 2018 workshop, section 3: the final value is regressed on the first values of the curves that
are known to their end. Here with a conjugate prior, whose prediction is a Student t in closed form
(Murphy: Machine Learning, 2012, section 7.6.3).

Deviations. Two features, the last value and the gain over the second half of what was seen, in
place of the whole beginning with its differences and the architecture; the target is what is still
gained.
Baker et al. use a support-vector regression and take the spread of cross-validated errors.
Parametric families (Domhan et al., IJCAI 2015) suit curves at a constant learning rate; here it
falls along a cosine to zero, and most is gained at the end, which only whole curves can tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# The prior counts as two observations, by which features say nothing; and a coefficient as one.
_PRIOR_FREEDOM = 2.0
_PRIOR_PRECISION = 1.0


@dataclass(frozen=True)
class StudentT:
    """A distribution of a number: Student's t, moved and scaled."""

    mean: float
    scale: float
    freedom: float

    def above(self, value: float) -> float:
        """Return the probability of more than ``value``."""
        from scipy.special import stdtr  # slow to import, and needed once in a training

        return float(stdtr(self.freedom, (self.mean - value) / self.scale))

    @property
    def deviation(self) -> float:
        """The standard deviation; infinite with two degrees of freedom or fewer."""
        more = self.freedom - 2
        return self.scale * math.sqrt(self.freedom / more) if more > 0 else math.inf


def extrapolate(curves: Sequence[Sequence[float]], begun: Sequence[float]) -> StudentT:
    """Predict the last value of a curve from its beginning.

    Args:
        curves: at least two, of equal length, known to their end.
        begun: the first values of another, at least one and fewer than those of ``curves``.
    """
    known = torch.tensor([list(curve) for curve in curves], dtype=torch.float64)
    seen = len(begun)
    start = torch.tensor([list(begun)], dtype=torch.float64)
    features, own = _features(known[:, :seen]), _features(start)
    gains = known[:, -1] - known[:, seen - 1]
    centre, spread = features.mean(0), _spread(features)
    level, unit = float(gains.mean()), float(_spread(gains[:, None]))
    found = regress(
        (features - centre) / spread, (gains - level) / unit, ((own - centre) / spread)[0]
    )
    mean = float(begun[-1]) + level + unit * found.mean
    return StudentT(mean, unit * found.scale, found.freedom)


def regress(features: Tensor, targets: Tensor, at: Tensor) -> StudentT:
    """Predict a target at the features ``at`` ``[F]`` from ``[N, F]`` and ``[N]``, standardised.

    targets = b0 + features b + noise of variance s2; b given s2 is normal with variance s2, s2 is
    inverse gamma with two degrees of freedom and scale 1.
    """
    design = torch.cat([torch.ones_like(features[:, :1]), features], dim=1)
    row = torch.cat([torch.ones_like(at[:1]), at])
    precision = design.T @ design + _PRIOR_PRECISION * torch.eye(len(row), dtype=row.dtype)
    mean = torch.linalg.solve(precision, design.T @ targets)
    freedom = _PRIOR_FREEDOM + len(targets)
    residual = _PRIOR_FREEDOM + float(targets @ targets - mean @ precision @ mean)
    leverage = float(row @ torch.linalg.solve(precision, row))
    return StudentT(float(row @ mean), math.sqrt(residual / freedom * (1 + leverage)), freedom)


def _features(beginnings: Tensor) -> Tensor:
    last, middle = beginnings[:, -1:], beginnings[:, (beginnings.shape[1] - 1) // 2, None]
    return torch.cat([last, last - middle], dim=1)


def _spread(columns: Tensor) -> Tensor:
    """Return the standard deviation of each column; 1 where all values are the same."""
    deviation = columns.std(0, correction=0)
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))
