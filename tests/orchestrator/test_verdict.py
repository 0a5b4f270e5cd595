"""The verdict: what the sentence says, and that its numbers are right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from orchestrator.plan import parse_plan
from orchestrator.results import ArmResult
from orchestrator.verdict import Comparison, compared_arm, comparisons, verdict
from plan_texts import plan

ArmResultOf = Callable[..., ArmResult]

NUMBER = r"(\d+\.\d{4})"

LEAD = re.compile(rf"beats .* by {NUMBER} (R2|RMSE) \([\d.]+ % interval {NUMBER} to {NUMBER}[,)]")

OPEN = re.compile(
    rf"is (lower|higher) than \w+ by {NUMBER} (?:R2|RMSE, where lower is better) "
    rf"\([\d.]+ % interval from {NUMBER} lower to {NUMBER} higher[,)]"
)


def shown(text: str) -> tuple[float, float, float]:
    """Return the gap and its interval as the sentence gives them; there must be one of them.

    Where nobody wins, what is lower is negative.
    """
    found = [(float(g), float(low), float(high)) for g, _, low, high in LEAD.findall(text)]
    for side, gap, low, high in OPEN.findall(text):
        found.append((float(gap) * (-1 if side == "lower" else 1), -float(low), float(high)))
    assert len(found) == 1, text
    return found[0]


def rounded(gain: float, interval: Sequence[float]) -> tuple[float, float, float]:
    """Return numbers as a sentence shows them."""
    return round(gain, 4), round(min(interval), 4), round(max(interval), 4)


def welch(a: Sequence[float], b: Sequence[float], comparisons: int) -> tuple[float, float]:
    """Return scipy's interval of the difference, at the level of one of several comparisons."""
    interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(1 - 0.05 / comparisons)
    return float(interval.low), float(interval.high)


GOOD, FAIR, POOR = [0.95, 0.951, 0.953], [0.92, 0.923, 0.925], [0.5, 0.51, 0.53]


def test_an_arm_that_beats_all_others_is_said_to_and_its_closest_rival_is_shown(
    arm_result: ArmResultOf,
) -> None:
    results = [arm_result("darts", GOOD), arm_result("net", FAIR), arm_result("floor", POOR)]
    text = verdict(plan("net", "floor"), results, "digits")
    assert text.startswith("On digits, darts beats every other arm, the closest of them net, by ")
    gain = float(np.mean(GOOD) - np.mean(FAIR))
    assert shown(text) == rounded(gain, welch(GOOD, FAIR, 2))


def test_against_a_single_arm_it_is_named_alone(arm_result: ArmResultOf) -> None:
    results = [arm_result("darts", GOOD), arm_result("net", FAIR)]
    text = verdict(plan("net"), results, "digits")
    assert text.startswith("On digits, darts beats net by ")
    assert shown(text) == rounded(np.mean(GOOD) - np.mean(FAIR), welch(GOOD, FAIR, 1))


def test_an_arm_that_loses_is_said_to_lose_against_the_best_of_its_betters(
    arm_result: ArmResultOf,
) -> None:
    results = [
        arm_result("darts", POOR),
        arm_result("net", FAIR),
        arm_result("best", GOOD),
        arm_result("floor", [0.1, 0.11, 0.12]),
    ]
    text = verdict(plan("net", "best", "floor"), results, "digits")
    assert text.startswith("On digits, best beats darts by ")
    assert shown(text) == rounded(np.mean(GOOD) - np.mean(POOR), welch(GOOD, POOR, 3))


def test_where_the_interval_holds_zero_the_data_cannot_tell(arm_result: ArmResultOf) -> None:
    a, b = [0.9, 0.95, 0.93], [0.91, 0.96, 0.94]
    results = [arm_result("darts", a), arm_result("net", b)]
    text = verdict(plan("net"), results, "digits")
    assert text.startswith("On digits, the data cannot tell darts from net: darts is lower ")
    assert "beats" not in text
    assert shown(text) == rounded(np.mean(a) - np.mean(b), welch(a, b, 1))


def test_what_it_beats_and_what_it_cannot_be_told_from_stand_in_one_sentence(
    arm_result: ArmResultOf,
) -> None:
    close, closer = [0.90, 0.95, 0.99], [0.91, 0.96, 1.0]
    results = [
        arm_result("darts", GOOD),
        arm_result("close", close),
        arm_result("closer", closer),
        arm_result("floor", POOR),
        arm_result("cellar", [0.1, 0.11, 0.12]),
    ]
    text = verdict(plan("close", "closer", "floor", "cellar"), results, "digits")
    assert "the data cannot tell darts from close and closer: darts is lower than closer by" in text
    assert "it beats floor and cellar" in text
    gain = float(np.mean(GOOD) - np.mean(closer))
    assert shown(text) == rounded(gain, welch(GOOD, closer, 4))


def test_the_numbers_of_the_sentence_are_those_of_the_comparison(arm_result: ArmResultOf) -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        names = ["darts", "a", "b", "c"]
        results = [arm_result(n, rng.normal(0.9 + 0.02 * rng.normal(), 0.02, 3)) for n in names]
        study = plan("a", "b", "c")
        gain, low, high = shown(verdict(study, results, "digits"))
        found = comparisons(study, results, "digits")
        matching = [c for c in found if (gain, low, high) in (_as_shown(c, 1), _as_shown(c, -1))]
        assert len(matching) == 1


def _as_shown(c: Comparison, sign: int) -> tuple[float, float, float]:
    return rounded(sign * c.gain, (sign * c.low, sign * c.high))


@pytest.mark.parametrize("others", [1, 2, 4])
def test_all_comparisons_of_a_task_hold_together_at_95_percent(
    others: int, arm_result: ArmResultOf
) -> None:
    names = [f"net{i}" for i in range(others)]
    values = {name: [0.9 + 0.01 * i, 0.93, 0.95] for i, name in enumerate(names)}
    results = [arm_result("darts", GOOD), *[arm_result(n, v) for n, v in values.items()]]
    found = comparisons(plan(*names), results, "digits")
    assert [c.other.arm for c in found] == names
    for c in found:
        wanted = welch(GOOD, values[c.other.arm], others)
        assert (c.low, c.high) == pytest.approx(wanted, rel=1e-9)


def test_only_the_arms_that_the_plan_names_are_compared(arm_result: ArmResultOf) -> None:
    results = [arm_result("darts", GOOD), arm_result("net", FAIR), arm_result("floor", POOR)]
    study = plan("net", "floor", compare="{arm: net, with: [floor]}")
    (found,) = comparisons(study, results, "digits")
    assert found.other.arm == "floor"
    assert (found.low, found.high) == pytest.approx(welch(FAIR, POOR, 1))
    assert verdict(study, results, "digits").startswith("On digits, net beats floor by ")


def test_without_a_word_in_the_plan_it_is_about_the_first_arm_that_searches() -> None:
    assert compared_arm(plan("net")) == "darts"
    text = "name: x\ntask: digits\narms:\n  a: {network: constant}\n  b: {method: darts}\n"
    assert compared_arm(parse_plan(text)) == "b"
    assert compared_arm(parse_plan(text + "compare: {arm: a}\n")) == "a"
    only = "name: x\ntask: digits\narms:\n  a: {network: constant}\n  b: {network: constant}\n"
    assert compared_arm(parse_plan(only)) == "a"


def test_where_lower_is_better_the_lower_arm_wins_by_a_positive_gap(
    arm_result: ArmResultOf,
) -> None:
    about = {"metric": "RMSE", "higher_is_better": False}
    low, high = [0.1, 0.11, 0.13], [0.5, 0.52, 0.53]
    gap = rounded(np.mean(high) - np.mean(low), welch(high, low, 1))
    for darts, net, start in (
        (low, high, "darts beats net by "),
        (high, low, "net beats darts by "),
    ):
        results = [arm_result("darts", darts, **about), arm_result("net", net, **about)]
        text = verdict(plan("net"), results, "digits")
        assert text.startswith(f"On digits, {start}")
        assert shown(text) == gap
    (found,) = comparisons(plan("net"), results, "digits")
    assert found.gain < 0, "a gain is positive where the arm is better"


def test_each_task_has_its_own_sentence(arm_result: ArmResultOf) -> None:
    results = [
        arm_result("darts", GOOD),
        arm_result("net", FAIR),
        arm_result("darts", POOR, task="mnist"),
        arm_result("net", FAIR, task="mnist"),
    ]
    study = plan("net", tasks="[digits, mnist]")
    assert verdict(study, results, "digits").startswith("On digits, darts beats net by ")
    assert verdict(study, results, "mnist").startswith("On mnist, net beats darts by ")


def test_an_arm_whose_trainings_diverged_is_not_compared_and_the_sentence_says_why(
    arm_result: ArmResultOf,
) -> None:
    results = [
        arm_result("darts", [0.9, math.nan, 0.92], [math.nan, 0.9, 0.9]),
        arm_result("net", FAIR),
    ]
    text = verdict(plan("net"), results, "digits")
    assert "darts has no result to compare: 2 of 6 trainings diverged" in text
    assert comparisons(plan("net"), results, "digits") == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"owed": 3}, "its jobs are not done"),
        ({"failed": 3}, "3 of its jobs failed"),
        ({}, "its jobs are not done"),
    ],
)
def test_an_arm_without_results_is_said_to_have_none_and_why(
    given: dict[str, int], why: str, arm_result: ArmResultOf
) -> None:
    results = [arm_result("darts", **given), arm_result("net", FAIR)]
    assert f"darts has no result to compare: {why}." in verdict(plan("net"), results, "digits")


@pytest.mark.parametrize(
    "missing",
    [{"groups": ((0.9, math.nan, 0.9),)}, {"owed": 3}, {"failed": 3}],
    ids=["diverged", "owed", "failed"],
)
def test_an_arm_that_could_not_be_compared_with_is_named(
    missing: dict[str, object], arm_result: ArmResultOf
) -> None:
    # "Beats every other arm" would be a lie by omission.
    given = dict(missing)
    groups = given.pop("groups", ())
    results = [
        arm_result("darts", GOOD),
        arm_result("net", FAIR),
        arm_result("floor", POOR),
        arm_result("absent", *groups, **given),
    ]
    study = plan("net", "floor", "absent")
    text = verdict(study, results, "digits")
    assert [c.other.arm for c in comparisons(study, results, "digits")] == ["net", "floor"]
    assert "absent" in text


def test_where_no_other_arm_has_a_result_nothing_is_claimed(arm_result: ArmResultOf) -> None:
    results = [arm_result("darts", GOOD), arm_result("net", owed=3)]
    text = verdict(plan("net"), results, "digits")
    assert text.startswith("On digits, darts has nothing to be compared with")
    assert "beats" not in text
    assert verdict(plan(), [arm_result("darts", GOOD)], "digits").startswith(
        "On digits, darts has nothing to be compared with"
    )


def test_results_that_are_not_all_there_are_said_to_be_preliminary(arm_result: ArmResultOf) -> None:
    results = [arm_result("darts", GOOD, owed=3), arm_result("net", FAIR)]
    text = verdict(plan("net"), results, "digits")
    assert "owed" in text or "not done" in text
    results = [arm_result("darts", GOOD), arm_result("net", FAIR, failed=1)]
    assert "failed" in verdict(plan("net"), results, "digits")


def test_from_single_values_nothing_can_be_told(arm_result: ArmResultOf) -> None:
    results = [arm_result("darts", [0.9]), arm_result("net", [0.1])]
    text = verdict(plan("net"), results, "digits")
    said = "the data cannot tell darts from net: darts is higher than net by 0.8000 R2, with no "
    assert said + "interval: darts has a single value and net has a single value;" in text
    assert "inf" not in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("darts", "net", "said"),
    [
        ([[0.9]], [[0.1, 0.2]], "no interval: darts has a single value;"),
        ([[0.9, 0.8]], [[0.1]], "no interval: net has a single value;"),
        ([[0.9], [0.8]], [[0.1, 0.2]], "no interval: darts has a single value of each search;"),
    ],
)
def test_only_the_arm_that_has_a_single_value_is_said_to_have_one(
    darts: list[list[float]], net: list[list[float]], said: str, arm_result: ArmResultOf
) -> None:
    results = [arm_result("darts", *darts), arm_result("net", *net)]
    assert said in verdict(plan("net"), results, "digits")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (1, "(95 % interval "),
        (2, "both comparisons hold together at 95 %)"),
        (3, "all 3 comparisons hold together at 95 %)"),
    ],
)
def test_an_interval_is_called_by_the_level_that_it_is_drawn_at(
    others: int, said: str, arm_result: ArmResultOf
) -> None:
    names = [f"net{i}" for i in range(others)]
    level = {1: "95", 2: "97.5", 3: "98.33"}[others]
    for values in (GOOD, FAIR, POOR):  # all beaten, none told apart, all of them better
        results = [arm_result("darts", values), *[arm_result(name, FAIR) for name in names]]
        text = verdict(plan(*names), results, "digits")
        assert f"({level} % interval " in text
        assert said in text
        low, high = welch(values, FAIR, others)
        assert shown(text)[1:] in [rounded(0, (low, high))[1:], rounded(0, (-low, -high))[1:]]


def test_which_arm_is_lower_is_said_in_words_and_whether_that_is_better(
    arm_result: ArmResultOf,
) -> None:
    low, high = [0.90, 0.95, 0.93], [0.91, 0.96, 0.94]
    for about, metric in (
        ({}, "R2 ("),
        ({"metric": "RMSE", "higher_is_better": False}, "RMSE, where lower is better ("),
    ):
        for darts, net, side in ((low, high, "lower"), (high, low, "higher")):
            results = [arm_result("darts", darts, **about), arm_result("net", net, **about)]
            text = verdict(plan("net"), results, "digits")
            assert f": darts is {side} than net by 0.0100 {metric}95 % interval from " in text
            assert shown(text) == rounded(np.mean(darts) - np.mean(net), welch(darts, net, 1))


def test_a_floor_that_never_varies_can_be_beaten(arm_result: ArmResultOf) -> None:
    results = [arm_result("darts", GOOD), arm_result("floor", [0.1, 0.1, 0.1])]
    assert "darts beats floor by " in verdict(plan("floor"), results, "digits")
    equal = [arm_result("darts", [0.1] * 3), arm_result("floor", [0.1] * 3)]
    assert "cannot tell darts from floor" in verdict(plan("floor"), equal, "digits")


def test_the_sentence_says_what_both_arms_cost(arm_result: ArmResultOf) -> None:
    results = [
        arm_result("darts", GOOD, search_seconds=321.0, training_seconds=12.0),
        arm_result("net", FAIR, training_seconds=45.0),
        arm_result("floor", POOR, training_seconds=6789.0),
    ]
    text = verdict(plan("net", "floor"), results, "digits")
    assert "darts took 321 s of search and 12 s a training" in text
    assert "net took no search and 45 s a training" in text
    assert "6789" not in text


@pytest.mark.parametrize(("searches", "said"), [(1, True), (2, True), (3, False), (5, False)])
def test_few_searches_speak_of_the_networks_found_and_the_sentence_says_so(
    searches: int, said: bool, arm_result: ArmResultOf
) -> None:
    groups = [[0.95 + 0.001 * i, 0.951, 0.952] for i in range(searches)]
    results = [arm_result("darts", *groups, search_seconds=5.0), arm_result("net", POOR)]
    text = verdict(plan("net"), results, "digits")
    assert ("the networks that darts found, retrained" in text) == said
    baselines = [arm_result("darts", GOOD), arm_result("net", POOR)]
    assert "found, retrained" not in verdict(plan("net"), baselines, "digits")
