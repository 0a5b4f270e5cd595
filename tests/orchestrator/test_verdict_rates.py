"""The verdict in simulated studies: how often it is wrong, and how often it finds what is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from orchestrator.results import ArmResult
from orchestrator.verdict import verdict
from plan_texts import plan

ArmResultOf = Callable[..., ArmResult]

STUDIES = 2000

# By chance alone, a rate of 5 % stays under this in 9,999 of 10,000 sets of simulated studies.
MOST_FALSE = int(stats.binom.ppf(0.9999, STUDIES, 0.05))


def simulated(rng: np.random.Generator, means: Sequence[float]) -> list[list[NDArray]]:
    """Return values of five arms: two searches of three values, then four times three values."""
    # The networks of the two searches differ, with a mean of what the arm is worth.
    found = np.array([[-2.0], [2.0]])
    first = means[0] + found + rng.normal(size=(2, 3))
    return [list(first), *[[mean + rng.normal(size=3)] for mean in means[1:]]]


NAMES = ("darts", "a", "b", "c", "d")


def verdicts(
    means: Sequence[float], arm_result: ArmResultOf, seed: int
) -> list[tuple[str, list[list[NDArray]]]]:
    """Return the sentences of simulated studies, each with its values."""
    rng, study = np.random.default_rng(seed), plan(*NAMES[1:])
    found = []
    for _ in range(STUDIES):
        values = simulated(rng, means)
        results = [arm_result(n, *v) for n, v in zip(NAMES, values, strict=True)]
        found.append((verdict(study, results, "digits"), values))
    return found


def test_among_five_equal_arms_a_difference_is_claimed_in_one_study_of_twenty_at_most(
    arm_result: ArmResultOf,
) -> None:
    sentences = [text for text, _ in verdicts([0.0] * 5, arm_result, 20240517)]
    winners = sum("cannot tell" not in text for text in sentences)
    any_claim = sum("beats" in text for text in sentences)
    print(f"a winner in {winners / STUDIES:.4f}, any claim in {any_claim / STUDIES:.4f}")
    assert winners <= MOST_FALSE
    assert any_claim <= MOST_FALSE
    assert any_claim >= STUDIES * 0.01, "intervals that are far too wide find nothing"


@pytest.mark.parametrize("gap", [4.0, 8.0])
def test_a_winner_is_found_as_often_as_an_independent_computation_says(
    gap: float, arm_result: ArmResultOf
) -> None:
    sentences = verdicts([gap, 0.0, 0.0, 0.0, 0.0], arm_result, 7)
    found = sum("darts beats every other arm" in text for text, _ in sentences) / STUDIES
    wanted = power(gap, 20_000, 8)
    print(f"gap {gap}: found in {found:.4f}, expected {wanted:.4f}")
    tolerance = 4 * math.sqrt(wanted * (1 - wanted) * (1 / STUDIES + 1 / 20_000))
    assert 0.1 < wanted < 0.9999
    assert abs(found - wanted) <= tolerance


def power(gap: float, studies: int, seed: int) -> float:
    """Return how often an arm that is better by ``gap`` beats four others, each at 98.75 %.

    Drawn from the distributions of the statistics and not from values: the mean and the variance
    of normal values are independent, the one normal, the other a scaled chi-squared.
    """
    rng = np.random.default_rng(seed)
    # Two searches of three: four degrees of freedom, a sixth of the variance. Others: two, a third.
    mean, variance = rng.normal(gap, math.sqrt(1 / 6), studies), rng.chisquare(4, studies) / 4 / 6
    wins = np.ones(studies, bool)
    for _ in range(4):
        other = rng.normal(0.0, math.sqrt(1 / 3), studies)
        its = rng.chisquare(2, studies) / 2 / 3
        freedom = (variance + its) ** 2 / (variance**2 / 4 + its**2 / 2)
        wins &= mean - other > stats.t.isf(0.05 / 4 / 2, freedom) * np.sqrt(variance + its)
    return float(wins.mean())


def test_against_one_arm_the_rate_is_that_of_the_noncentral_t(arm_result: ArmResultOf) -> None:
    # A floor that never varies leaves one variance, and Welch's test is Student's, exactly.
    rng, study, gap = np.random.default_rng(3), plan("floor"), 3.0
    wins = 0
    for _ in range(STUDIES):
        results = [arm_result("darts", rng.normal(gap, 1, 3)), arm_result("floor", [0.0] * 3)]
        wins += "darts beats floor" in verdict(study, results, "digits")
    wanted = stats.nct.sf(stats.t.isf(0.025, 2), 2, gap * math.sqrt(3))
    print(f"found in {wins / STUDIES:.4f}, expected {wanted:.4f}")
    low, high = stats.binom.ppf([0.0001, 0.9999], STUDIES, wanted)
    assert low <= wins <= high
