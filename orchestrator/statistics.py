"""Means, intervals and differences of arms: what the verdict rests on.

An arm's values are test metrics, one for each pair of (search, evaluation seed). The interval of
its mean speaks

- of the networks found, retrained (fixed effects), for one or two searches: the spread within
  searches counts, k * (s - 1) degrees of freedom;
- of a new search (random effects), from three searches on: the spread between the means of
  searches counts, k - 1 degrees of freedom.

Differences are Welch's: Student's t with the Satterthwaite degrees of freedom (Welch 1947). All
assume values that are about normally distributed and seeds that are independent. They say nothing
of another test split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95

# With fewer searches the spread between them has too few degrees of freedom to say anything.
SEARCHES_TO_GENERALISE = 3


@dataclass(frozen=True)
class Estimate:
    """A mean with its squared standard error and degrees of freedom."""

    mean: float
    variance: float
    freedom: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the two-sided interval of the mean; infinite where nothing was repeated."""
        if math.isnan(self.mean):
            return math.nan, math.nan
        if self.freedom <= 0:
            return -math.inf, math.inf
        half = stats.t.ppf(0.5 + level / 2, self.freedom) * math.sqrt(self.variance)
        return self.mean - half, self.mean + half


def estimate(groups: Sequence[Sequence[float]]) -> Estimate:
    """Return the estimate of an arm from its values, one group for each search.

    Args:
        groups: values of at least one search; a baseline is a single group. NaN marks a value of
            a training that diverged and makes the mean NaN: such an arm has no mean to compare.
    """
    values = np.concatenate([np.asarray(group, float) for group in groups])
    means = np.array([np.mean(group) for group in groups])
    mean = float(np.mean(means))
    count, size = len(groups), len(values)
    if count >= SEARCHES_TO_GENERALISE:
        return Estimate(mean, float(np.var(means, ddof=1)) / count, count - 1)
    freedom = size - count
    if freedom == 0:
        return Estimate(mean, math.inf, 0)
    within = sum(float(np.sum((np.asarray(g, float) - np.mean(g)) ** 2)) for g in groups) / freedom
    # The variance of a mean of group means, which are means of group-size values themselves.
    return Estimate(mean, within * sum(1 / len(g) for g in groups) / count**2, freedom)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """Return the estimate of ``a``'s mean minus ``b``'s (Welch)."""
    variance = a.variance + b.variance
    if a.freedom <= 0 or b.freedom <= 0:
        return Estimate(a.mean - b.mean, math.inf, 0)
    if variance == 0:
        return Estimate(a.mean - b.mean, 0.0, a.freedom + b.freedom)
    freedom = variance**2 / (a.variance**2 / a.freedom + b.variance**2 / b.freedom)
    return Estimate(a.mean - b.mean, variance, freedom)
