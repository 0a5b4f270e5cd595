"""What people see: times, counts and tables, on a narrow terminal and on a wide one."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from orchestrator import display
from orchestrator._contender import Assignment
from orchestrator.driver import Progress, Watched
from orchestrator.estimates import Estimate
from orchestrator.jobs import Entry, Job, Result
from orchestrator.plan import Plan, parse_plan
from orchestrator.results import ArmResult
from orchestrator.study import Forecast

ArmResultOf = Callable[..., ArmResult]

WIDTHS = [80, 120, 200]

# Red would be a colour, /x the end of one, if a name were read as markup.
STRANGE = "[red]strange[/x]"


def rendered(what: RenderableType, width: int) -> str:
    """Return what a terminal of this width shows."""
    out = io.StringIO()
    Console(file=out, width=width).print(what)
    return out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (0.04, "0.0 s"),
        (8.2, "8.2 s"),
        (9.94, "9.9 s"),
        (9.97, "10 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min 00 s"),
        (60, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_times_are_shown_as_people_say_them(seconds: float, shown: str) -> None:
    assert display.duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (999, "999"),
        (999.6, "1 k"),
        (1000, "1 k"),
        (1234, "1.23 k"),
        (77_258, "77.3 k"),
        (999_499, "999 k"),
        (999_500, "1 M"),
        (999_999, "1 M"),
        (11_200_000, "11.2 M"),
        (321_000_000, "321 M"),
        (999_999_999, "1 G"),
        (4.1e12, "4.1 T"),
        (9.99e15, "9.99 P"),
    ],
)
def test_large_numbers_are_shown_with_three_digits_and_a_prefix(
    number: float | None, shown: str
) -> None:
    assert display.count(number) == shown


PLAN = """\
name: x
task: digits
arms:
  darts: {method: darts, seeds: [0, 1]}
  second_order: {method: darts, params: {order: 2}}
  random: {method: random_search, budget: {same_as: darts}}
  tiny_resnet: {network: tiny_resnet}
  random_forest: {network: random_forest}
  constant: {network: constant}
"""


@pytest.fixture
def plan() -> Plan:
    """A plan of six arms."""
    return parse_plan(PLAN)


@pytest.fixture
def results(arm_result: ArmResultOf) -> list[ArmResult]:
    """Results of six arms: good ones, bad ones, negative, diverged and none."""
    return [
        arm_result("constant", [-0.0001] * 3, parameters=None, multiply_adds=None),
        arm_result(
            "darts",
            [0.9511, 0.9522, 0.9533],
            [0.9494, 0.9505, 0.9516],
            search_seconds=3723.0,
            parameters=123_456.0,
            multiply_adds=3.21e8,
            training_seconds=125.0,
        ),
        arm_result("second_order", [0.1, math.nan, 0.2], search_seconds=9999.0),
        arm_result("random", owed=4, failed=2),
        arm_result("tiny_resnet", [0.9207]),
        arm_result("random_forest", [0.8808, 0.8819, 0.8825], parameters=None, owed=7, failed=5),
    ]


def names_in(text: str, plan: Plan) -> list[str]:
    """Return the names of arms in the order in which rows begin with them."""
    rows = re.findall(r"^[│|]?\s*(\w+)\s", text, re.MULTILINE)
    return list(dict.fromkeys(row for row in rows if row in plan.arms))


def line_of(text: str, name: str) -> str:
    """Return what stands beside the name of an arm."""
    return " ".join(line for line in text.splitlines() if f" {name} " in line)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_results_loses_no_arm_and_no_number_on_any_terminal(
    width: int, plan: Plan, results: list[ArmResult]
) -> None:
    text = rendered(display.results_table(plan, results, "digits"), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert sorted(names_in(text, plan)) == sorted(plan.arms)
    assert "…" not in text
    for number in ("0.9514", "-0.0001", "0.8817", "123 k", "321 M"):
        assert number in text
    low, high = results[1].estimate.interval()  # type: ignore[union-attr]
    for number in (f"{low:.4f}", f"{high:.4f}"):
        assert number in text


def test_the_best_arm_stands_first_and_arms_without_a_mean_last(
    plan: Plan, results: list[ArmResult], arm_result: ArmResultOf
) -> None:
    table = display.results_table(plan, results, "digits")
    assert names_in(rendered(table, 200), plan) == [
        "darts",
        "tiny_resnet",
        "random_forest",
        "constant",
        "second_order",
        "random",
    ]
    about = {"metric": "RMSE", "higher_is_better": False}
    lower = [
        arm_result("darts", [0.5, 0.6], **about),
        arm_result("constant", [2.0, 2.1], **about),
        arm_result("tiny_resnet", [0.1, 0.2], **about),
    ]
    table = display.results_table(plan, lower, "digits")
    assert names_in(rendered(table, 200), plan) == ["tiny_resnet", "darts", "constant"]


def test_a_row_shows_values_costs_and_what_is_missing(plan: Plan, results: list[ArmResult]) -> None:
    text = rendered(display.results_table(plan, results, "digits"), 200)
    rows = {name: line_of(text, name) for name in plan.arms}
    assert "0.9511 0.9522 0.9533; 0.9494 0.9505 0.9516" in rows["darts"]
    assert "1 h 02 min" in rows["darts"]
    assert "2 min 05 s" in rows["darts"]
    assert "4 owed" in rows["random"]
    assert "2 failed" in rows["random"]
    assert "7 owed" in rows["random_forest"]
    assert "nan" in rows["second_order"]
    assert "unknown" in rows["tiny_resnet"]
    assert "inf" not in text


def test_an_arm_is_shown_to_be_better_by_a_positive_number(
    plan: Plan, results: list[ArmResult]
) -> None:
    text = rendered(display.results_table(plan, results, "digits"), 200)
    # Three arms have a mean beside darts: each interval is wider than one of 95 %.
    assert "darts better by (98.33 % interval)" in text
    assert re.search(r"\+0\.0696 \[0\.\d{4}, 0\.\d{4}\]", line_of(text, "random_forest"))


def test_results_of_another_task_are_left_out(
    plan: Plan, results: list[ArmResult], arm_result: ArmResultOf
) -> None:
    other = arm_result("darts", [0.1234, 0.1234], task="mnist")
    text = rendered(display.results_table(plan, [*results, other], "digits"), 200)
    assert "0.1234" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_name_of_an_arm_or_a_task_is_no_markup(width: int, arm_result: ArmResultOf) -> None:
    # A plan refuses such a name today; a task's parameters may hold anything.
    plan = parse_plan(PLAN)
    arms = {STRANGE: plan.arms["constant"], **plan.arms}
    strange = plan.model_copy(update={"arms": arms})
    task = "digits(part=[bold])"
    results = [arm_result("darts", [0.5, 0.6], task=task), arm_result(STRANGE, [0.1], task=task)]
    text = rendered(display.results_table(strange, results, task), width)
    assert "[red]" in text
    assert "[/x]" in text
    assert "[bold]" in text


def job(kind: Any = "evaluate", seed: int = 0) -> Job:
    """Return a job of a kind."""
    return Job(kind, Entry("digits"), "f", seed, network="constant")


def estimates(arm: str = "darts") -> list[Estimate]:
    """Return estimates of an arm's jobs: a number that is known, and one that is not."""
    search = Forecast("digits", arm, "search", 2, job("search"))
    candidates = Forecast("digits", arm, "candidate", None, job("candidate"))
    return [Estimate(search, 1800.0, 3600.0), Estimate(candidates, 0.5, 7200.0)]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_estimates_adds_up(width: int) -> None:
    text = rendered(display.estimates_table(estimates(), 2), width)
    for part in ("darts", "search", "30 min 00 s", "1 h 00 min", "to the budget", "0.5 s"):
        assert part in text
    assert "About 3 h 00 min of trials, 1 h 30 min with 2 at a time." in text
    assert all(len(line) <= width for line in text.splitlines())


def test_a_strange_name_is_shown_in_the_table_of_estimates() -> None:
    assert STRANGE in rendered(display.estimates_table(estimates(STRANGE), 1), 200)


def driver(*running: Assignment, ended: int = 0, **progress: Any) -> Any:
    """Return what a monitor looks at of a driver."""
    state = Progress(**progress)
    state.running = {a.job.key: Watched(a, progress=0.5, score=0.8765) for a in running}
    result = Result("done", 0.4321, seconds=61.0)
    state.ended = [
        (Assignment(job("search", seed), "digits", "darts", 0), result) for seed in range(ended)
    ]
    study = SimpleNamespace(assigned=[])
    return SimpleNamespace(progress=state, study=study, before=frozenset(), slots=2)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_picture_of_a_run_shows_what_runs_and_how_far_it_is(width: int) -> None:
    running = [Assignment(job("search", seed), "digits", "darts", 0) for seed in (3, 4)]
    monitor = display.Monitor(Console(), driver(*running, ended=1), estimates())
    text = rendered(monitor.picture(), width)
    assert "1 jobs done, 2 running" in text
    assert text.count("digits darts search") == 2
    assert text.count("0.8765") == 2
    assert all(len(line) <= width for line in text.splitlines())


def test_a_strange_name_is_shown_in_the_picture_of_a_run() -> None:
    running = Assignment(job(), "digits", STRANGE, 0)
    monitor = display.Monitor(Console(), driver(running), [])
    assert STRANGE in rendered(monitor.picture(), 200)


def test_what_is_left_counts_the_running_jobs_by_their_progress_and_divides_by_the_slots() -> None:
    # 10,800 s in all; a search of 1,800 s has ended and half of another is done.
    running = Assignment(job("search", 9), "digits", "darts", 0)
    monitor = display.Monitor(Console(), driver(running, ended=1), estimates())
    assert monitor.left() == pytest.approx((10_800 - 1800 - 900) / 2)
    assert "about 1 h 07 min left" in monitor.headline()


def test_what_earlier_runs_have_done_is_not_left() -> None:
    seen = driver(ended=1)
    known = Assignment(job("search", 5), "digits", "darts", 0)
    seen.study.assigned, seen.before = [known], frozenset([known.job.key])
    assert display.Monitor(Console(), seen, estimates()).left() == pytest.approx(7200 / 2)


def test_the_headline_says_what_failed_and_that_it_is_being_stopped() -> None:
    failed = Assignment(job(), "digits", "darts", 0)
    seen = driver(failures=[(failed, "bug", "...")], stopping="stopped by SIGINT")
    text = display.Monitor(Console(), seen, estimates()).headline()
    assert "1 failed" in text
    assert "stopped by SIGINT: saving what runs (again to abort)" in text


def test_off_a_terminal_every_job_that_has_ended_is_one_line_told_once() -> None:
    out = io.StringIO()
    seen = driver()
    monitor = display.Monitor(Console(file=out, width=200), seen, estimates())
    strange = Assignment(job(seed=7), "digits", STRANGE, 0)
    for result in (Result("done", 0.4321, seconds=61.0), Result("diverged", seconds=5.0)):
        with monitor.watching():
            seen.progress.ended.append((strange, result))
    first, second = out.getvalue().splitlines()
    assert first.startswith(f"[1] digits {STRANGE} evaluation seed 7: done, valid 0.4321, 1 min")
    assert second.startswith(f"[2] digits {STRANGE} evaluation seed 7: diverged, 5.0 s")
    assert "nan" not in second
