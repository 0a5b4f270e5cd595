"""Non-dominated sorting and crowding, against brute force and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from searchers._pareto import crowding, ranks, survivors


def dominated(a: list[float], b: list[float]) -> bool:
    """Whether ``b`` dominates ``a``, as the paper defines it."""
    return all(y <= x for x, y in zip(a, b, strict=True)) and a != b


def brute_force_ranks(points: list[list[float]]) -> list[int]:
    found, left, front = [0] * len(points), set(range(len(points))), 0
    while left:
        first = {i for i in left if not any(dominated(points[i], points[j]) for j in left)}
        for i in first:
            found[i] = front
        left, front = left - first, front + 1
    return found


@pytest.mark.parametrize("objectives", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_ranks_equal_those_of_brute_force(objectives: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Whole numbers, so that there are ties and points alike; some costs are not known.
    points = rng.integers(0, 5, size=(60, objectives)).astype(float)
    points[rng.random(points.shape) < 0.05] = np.inf
    assert ranks(points).tolist() == brute_force_ranks(points.tolist())


def test_crowding_is_the_share_of_the_range_between_the_neighbours() -> None:
    """By hand: 0 to 4 and 10 to 1 about the second point, 1 to 10 and 4 to 0 about the third."""
    points = np.array([[0.0, 10.0], [1.0, 4.0], [4.0, 1.0], [10.0, 0.0]])
    assert crowding(points).tolist() == pytest.approx([np.inf, 0.4 + 0.9, 0.9 + 0.4, np.inf])


def test_what_does_not_vary_or_is_not_known_does_not_crowd() -> None:
    points = np.array([[0.0, 3.0, np.inf], [5.0, 3.0, 1.0], [10.0, 3.0, np.inf]])
    assert crowding(points).tolist() == [np.inf, 1.0, np.inf]
    assert crowding(np.full((4, 2), np.inf)).tolist() == [0.0] * 4


@pytest.mark.parametrize("seed", range(5))
def test_survivors_come_front_by_front_and_the_least_crowded_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.random((50, 2))
    kept, front = survivors(points, 20), ranks(points)
    assert len(set(kept)) == 20
    assert [front[i] for i in kept] == sorted(front)[:20]
    last = front[kept[-1]]
    spread = dict(zip(np.flatnonzero(front == last), crowding(points[front == last]), strict=True))
    inside = [spread[i] for i in kept if front[i] == last]
    outside = [value for i, value in spread.items() if i not in kept]
    assert inside == sorted(inside, reverse=True)
    assert min(inside) >= max(outside, default=0.0)


def test_no_points_have_no_survivors() -> None:
    assert survivors(np.empty((0, 2)), 5) == []
