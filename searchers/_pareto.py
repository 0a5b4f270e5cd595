"""Pareto dominance: which of several points are the better ones when there is no single order.

Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE
Transactions on Evolutionary Computation 6 (2), 2002, section III.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # [points, objectives], all to be low; plus infinity is allowed


def ranks(points: Points) -> NDArray[np.int64]:
    """Return the front of each point: 0 for those that no other dominates, and so on.

    A point dominates another if it is no worse in any objective and better in one.
    """
    one, other = points[:, None], points[None, :]
    dominates: NDArray[np.bool_] = np.all(one <= other, axis=2) & np.any(one < other, axis=2)
    found = np.full(len(points), -1)
    front = 0
    while (left := found < 0).any():
        found[left & ~dominates[left].any(axis=0)] = front
        front += 1
    return found


def crowding(points: Points) -> Points:
    """Return how far apart the neighbours of each point of one front are; infinite at the ends.

    The sum, over objectives, of the gap between the next lower and the next higher point, as a
    share of the range. An objective that does not vary adds nothing, nor does one that is infinite
    to the points that have it so.
    """
    distance = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        order = order[np.isfinite(values[order])]
        if len(order) == 0 or values[order[0]] == values[order[-1]]:
            continue
        distance[order[[0, -1]]] = np.inf
        gaps = values[order[2:]] - values[order[:-2]]
        distance[order[1:-1]] += gaps / (values[order[-1]] - values[order[0]])
    return distance


def survivors(points: Points, size: int) -> list[int]:
    """Return the indices of the ``size`` points that NSGA-II keeps, the best first."""
    if len(points) == 0:
        return []
    front = ranks(points)
    spread = np.zeros(len(points))
    for number in range(front.max() + 1):
        spread[front == number] = crowding(points[front == number])
    return np.lexsort((-spread, front))[:size].tolist()
