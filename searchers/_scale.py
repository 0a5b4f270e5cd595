"""A scale for scores of any unit: how far a score is above the middle half of those seen so far.

Methods of the literature were tuned to accuracies from 0 to 1. A score here may be a percentage, a
negative error, or minus infinity for a candidate that failed, and a few broken networks far below
all others would stretch a mean and a standard deviation. Quartiles stay where they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

LOWEST = -2.0  # a normal distribution has one in 300 below; failures are put here too
HIGHEST = 4.0  # the best is never further up, however close together the middle half is


class Scale:
    """Maps the median of the finite ``scores`` to 0 and the width of their middle half to 1.

    Scores far below become ``LOWEST``, those that failed too. The unit is longer where the best
    would otherwise be above ``HIGHEST``. Where the best is the median and the middle half has no
    width, the unit is the standard deviation, or 1 where all scores are equal.
    """

    def __init__(self, scores: Iterable[float]):
        finite = [score for score in scores if math.isfinite(score)]
        self.middle, self.width = 0.0, 1.0
        if finite:
            low, middle, high = np.percentile(finite, (25, 50, 75))
            width = max(high - low, (max(finite) - middle) / HIGHEST)
            self.middle = float(middle)
            self.width = float(width) or float(np.std(finite)) or 1.0

    def __call__(self, score: float) -> float:
        """Return ``score`` on the scale, at least ``LOWEST``."""
        return max(LOWEST, (score - self.middle) / self.width)
