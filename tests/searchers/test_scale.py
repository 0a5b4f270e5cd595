"""The scale of scores: the same for every unit, and not stretched by what is broken."""

from __future__ import annotations

import math
import random

import pytest

from searchers._scale import HIGHEST, LOWEST, Scale


def test_the_median_is_zero_and_the_middle_half_is_one_wide() -> None:
    scale = Scale([4.0, 1.0, 2.0, 5.0, 3.0])  # quartiles 2, 3 and 4
    assert [scale(score) for score in (2.0, 3.0, 4.0, 5.0)] == [-0.5, 0.0, 0.5, 1.0]


def test_another_unit_or_origin_changes_nothing() -> None:
    draw = random.Random(0)
    scores = [draw.gauss(0, 1) for _ in range(50)]
    scale, other = Scale(scores), Scale([1e-3 * score - 7 for score in scores])
    assert [other(1e-3 * score - 7) for score in scores] == pytest.approx(list(map(scale, scores)))


def test_failures_and_broken_networks_stretch_nothing_and_are_the_lowest() -> None:
    sound = [90.0, 91.0, 92.0, 93.0, 94.0]
    assert Scale([*sound, -math.inf])(93.0) == Scale(sound)(93.0)
    assert Scale(sound)(-math.inf) == Scale([*sound, -1e30])(-1e30) == LOWEST


def test_the_best_stays_on_the_scale_where_nearly_all_are_alike() -> None:
    assert Scale([10.0, 10.001, 10.002, 10.001, 10.0, 80.0])(80.0) == pytest.approx(HIGHEST)
    assert Scale([10.0] * 9 + [80.0])(80.0) == pytest.approx(HIGHEST)


@pytest.mark.parametrize("scores", [[], [-math.inf], [0.1] * 3, [3.0] * 9 + [1.0]])
def test_scores_that_tell_nothing_apart_give_a_finite_scale(scores: list[float]) -> None:
    scale = Scale(scores)
    assert all(LOWEST <= scale(score) <= HIGHEST for score in scores)
