"""Results: one row an arm from what the store holds, as a table, as CSV and as JSON."""

from __future__ import annotations

import ast
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from orchestrator._ledger import Ledger
from orchestrator.driver import make_study
from orchestrator.errors import StoreError
from orchestrator.jobs import Result
from orchestrator.plan import Plan, parse_plan
from orchestrator.results import ArmResult, arm_results, find_study, results_frame, studies
from orchestrator.session import print_results
from orchestrator.store import Store
from search_space.task import Task

ArmResultOf = Callable[..., ArmResult]

PLAN = """\
name: made
task: digits
arms:
  darts: {method: darts, seeds: [0, 1]}
  random: {method: random_search, budget: {samples: 2}, seeds: [0, 1]}
  forest: {network: random_forest}
"""

# What the issue asks for, in its order.
ASKED = [
    "task",
    "arm",
    "metric",
    "mean",
    "low",
    "high",
    "values",
    "parameters",
    "multiply_adds",
    "search_seconds",
    "training_seconds",
]
MORE = ["search_multiply_adds", "owed", "failed"]

STARTED = datetime(2024, 5, 17, tzinfo=timezone.utc)


class Made:
    """A store with a study that is written row by row."""

    def __init__(self, folder: Path, text: str = PLAN, key: str = "study0", at: int = 0):
        self.store, self.plan, self.key = Store(str(folder)), parse_plan(text), key
        about = {"fingerprint": "f", "metric": "accuracy", "unit": "", "higher_is_better": True}
        row = {
            "study": key,
            "name": self.plan.name,
            "plan": self.plan.model_dump_json(by_alias=True),
            "tasks": json.dumps({choice.name: about for choice in self.plan.task}),
            "started": STARTED + timedelta(days=at),
        }
        self.store.add("studies", key, [row])

    def job(self, arm: str, role: str, job: str, position: int = 0, seed: int = 0, **done: Any):
        """Add a job of an arm; ``done`` is what its row in the table of jobs holds, if it ended."""
        task = done.pop("label", "digits")
        member = {
            "study": self.key,
            "task": task,
            "arm": arm,
            "role": role,
            "position": position,
            "seed": seed,
            "job": job,
        }
        self.store.add("members", f"{self.key}-{task}-{arm}-{position}-{job}", [member])
        if done:
            row = {"key": job, "attempt": 0, "kind": role, "seed": seed, "outcome": "done", **done}
            self.store.add("jobs", f"{job}-{row['attempt']}", [row])

    def results(self) -> dict[str, ArmResult]:
        """Return the results of the study by arm; it has one task."""
        return {r.arm: r for r in arm_results(self.store, find_study(self.store, self.key))}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A study of three arms with no job yet."""
    return Made(tmp_path / "results")


def evaluations(
    made: Made, arm: str, values: Sequence[float], position: int = 0, **more: Any
) -> None:
    """Add an evaluation for each value."""
    for seed, value in enumerate(values):
        row = {"test": value, "parameters": 1000, "multiply_adds": 5000, "seconds": 2.0, **more}
        made.job(arm, "evaluate", f"{arm}-{position}-{seed}", position, seed, **row)


def test_an_arm_has_one_group_of_values_for_each_search_in_the_order_of_seeds(made: Made) -> None:
    groups = ((0.8, 0.81, 0.82), (0.9, 0.91, 0.92))
    for position in (1, 0):
        for seed in (2, 0, 1):
            job, value = f"job-{position}-{seed}", groups[position][seed]
            made.job("darts", "evaluate", job, position, seed, test=value, parameters=10)
    result = made.results()["darts"]
    assert result.groups == groups
    assert result.values == [0.8, 0.81, 0.82, 0.9, 0.91, 0.92]
    assert result.estimate is not None
    assert result.estimate.mean == pytest.approx(0.86)
    assert (result.owed, result.failed) == (0, 0)
    assert (result.metric, result.higher_is_better) == ("accuracy", True)


def test_costs_are_means_of_a_search_and_of_a_training(made: Made) -> None:
    for position, seconds in ((0, 100.0), (1, 300.0)):
        made.job("darts", "search", f"s{position}", position, seconds=seconds, compute=10 * seconds)
    for position in (0, 1):
        for i in range(3):
            spent = {"seconds": 10.0 * (position + 1), "compute": 7.0}
            made.job("random", "candidate", f"c{position}{i}", position, **spent)
    evaluations(made, "darts", [0.9, 0.8, 0.7], seconds=4.0, parameters=3000)
    evaluations(made, "darts", [0.9, 0.8, 0.7], position=1, seconds=8.0)
    results = made.results()
    darts, random, forest = (results[name] for name in ("darts", "random", "forest"))
    assert (darts.search_seconds, darts.search_compute) == (200.0, 2000.0)
    assert (random.search_seconds, random.search_compute) == (45.0, 21.0)
    assert (forest.search_seconds, forest.search_compute) == (None, None)
    assert darts.training_seconds == 6.0
    assert (darts.parameters, darts.multiply_adds) == (2000.0, 5000.0)


def test_what_is_no_network_has_no_parameters(made: Made) -> None:
    evaluations(made, "forest", [0.9, 0.8, 0.7], parameters=0, multiply_adds=0)
    forest = made.results()["forest"]
    assert (forest.parameters, forest.multiply_adds) == (None, None)
    assert forest.estimate is not None


def test_jobs_that_are_owed_or_have_failed_are_counted(made: Made) -> None:
    evaluations(made, "forest", [0.9])
    made.job("forest", "evaluate", "owed", seed=1)
    for seed, outcome in ((2, "bug"), (3, "lost"), (4, "out_of_memory")):
        made.job("forest", "evaluate", outcome, seed=seed, outcome=outcome)
    forest = made.results()["forest"]
    assert (forest.owed, forest.failed) == (1, 3)
    assert forest.values == [0.9]


def test_a_job_that_failed_and_then_worked_counts_once(made: Made) -> None:
    made.job("forest", "evaluate", "a", test=0.1, outcome="bug", attempt=0)
    made.job("forest", "evaluate", "a", test=0.9, outcome="done", attempt=1)
    forest = made.results()["forest"]
    assert (forest.values, forest.owed, forest.failed) == ([0.9], 0, 0)


def test_a_training_that_diverged_is_a_value_that_is_no_number(made: Made) -> None:
    evaluations(made, "forest", [0.9, 0.8])
    made.job("forest", "evaluate", "d", seed=2, outcome="diverged", test=math.nan, parameters=10)
    forest = made.results()["forest"]
    assert forest.values[:2] == [0.9, 0.8]
    assert math.isnan(forest.values[2])
    assert forest.estimate is not None
    assert math.isnan(forest.estimate.mean)
    assert (forest.owed, forest.failed) == (0, 0)


def test_an_arm_without_a_result_has_a_row_all_the_same(made: Made) -> None:
    results = made.results()
    assert list(results) == ["darts", "random", "forest"]
    for result in results.values():
        assert (result.groups, result.estimate, result.values) == ((), None, [])
        assert (result.owed, result.failed) == (0, 0)
        costs = (result.parameters, result.search_seconds, result.training_seconds)
        assert costs == (None, None, None)
    frame = results_frame(list(results.values()))
    assert frame["arm"].tolist() == ["darts", "random", "forest"]
    assert frame[["mean", "low", "high"]].isna().all(axis=None)
    assert frame["values"].tolist() == [[], [], []]


def test_a_job_that_two_arms_share_counts_for_both(made: Made) -> None:
    evaluations(made, "darts", [0.9, 0.8])
    for seed in (0, 1):
        made.job("random", "evaluate", f"darts-0-{seed}", 0, seed)
    results = made.results()
    assert results["random"].values == results["darts"].values == [0.9, 0.8]


@pytest.mark.parametrize("searches", [2, 3])
def test_searches_that_found_one_network_are_no_more_certain_of_it_than_one_search(
    searches: int, made: Made
) -> None:
    # Its trainings are the same jobs for each of them: six or nine values, three of them measured.
    values = [0.90, 0.92, 0.97]
    evaluations(made, "forest", values)
    for position in range(searches):
        evaluations(made, "darts", values)
        for seed in range(3):
            made.job("darts", "evaluate", f"darts-0-{seed}", position, seed)
    results = made.results()
    one, several = results["forest"].estimate, results["darts"].estimate
    assert one is not None
    assert several is not None
    assert several.mean == pytest.approx(one.mean)
    (low, high), (start, end) = one.interval(), several.interval()
    assert end - start >= 0.999 * (high - low)


def test_what_was_chosen_before_a_failed_candidate_was_mended_counts_no_more(
    tmp_path: Path, small_task: Callable[..., Task]
) -> None:
    plan = parse_plan(
        """\
name: mended
task: digits
arms: {random: {method: random_search, budget: {samples: 4}}}
evaluate: {seeds: [0, 1]}
"""
    )
    tasks, store = {"digits": small_task()}, Store(str(tmp_path / "results"))
    candidates: list[str] = []
    for attempt in (0, 1):
        study = make_study(plan, tasks, store)
        ledger = Ledger(store, study)
        ledger.open()
        while (assignment := study.next()) is not None:
            ledger.update()
            job = assignment.job
            assert job.genotype is not None
            if job.genotype not in candidates:
                candidates.append(job.genotype)
            # The last candidate is the best, and fails the first time.
            place = candidates.index(job.genotype)
            outcome = "bug" if (job.kind, place, attempt) == ("candidate", 3, 0) else "done"
            value = 0.1 * place + 0.01 * job.seed
            row = {"key": job.key, "attempt": attempt, "outcome": outcome, "seed": job.seed}
            row |= {"score": value, "test": value, "parameters": 1, "seconds": 1.0, "compute": 1.0}
            store.add("jobs", f"{job.key}-{attempt}", [row])
            study.tell(job.key, Result(outcome, value if outcome == "done" else math.nan))
        ledger.update()
        (result,) = arm_results(store, find_study(store, "mended"))
        best = 0.1 * (2 + attempt)
        assert result.groups == (pytest.approx((best, best + 0.01)),)


def test_each_task_has_its_own_rows(tmp_path: Path) -> None:
    text = PLAN.replace("task: digits", "task: [digits, mnist]")
    made = Made(tmp_path / "results", text)
    made.job("forest", "evaluate", "a", test=0.1)
    made.job("forest", "evaluate", "b", test=0.2, label="mnist")
    found = arm_results(made.store, find_study(made.store, "made"))
    assert [(r.task, r.arm) for r in found] == [
        (task, arm) for task in ("digits", "mnist") for arm in ("darts", "random", "forest")
    ]
    values = {r.task: r.values for r in found if r.arm == "forest"}
    assert values == {"digits": [0.1], "mnist": [0.2]}


def test_another_study_in_the_same_store_adds_nothing(tmp_path: Path) -> None:
    made = Made(tmp_path / "results")
    other = Made(tmp_path / "results", PLAN.replace("made", "other"), "study1", at=1)
    evaluations(other, "forest", [0.9])
    assert made.results()["forest"].values == []
    assert other.results()["forest"].values == [0.9]


def test_a_study_is_found_by_name_or_the_beginning_of_its_key_and_the_latest_wins(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "results"
    first = Made(folder, key="aa11")
    Made(folder, key="bb22", at=2)
    Made(folder, key="ab33", at=1)
    Made(folder, PLAN.replace("made", "other"), "cc44", at=3)
    store = first.store
    assert find_study(store, "made").key == "bb22"
    assert find_study(store, "aa").key == "aa11"
    assert find_study(store, "other").key == "cc44"
    assert [s.key for s in studies(store)] == ["aa11", "ab33", "bb22", "cc44"]
    assert find_study(store, "aa11").plan == parse_plan(PLAN)


def test_a_name_goes_before_a_key_that_begins_like_it(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    wanted = Made(folder, PLAN.replace("made", "cafe"), "1111")
    Made(folder, PLAN.replace("made", "other"), "cafe22", at=1)
    assert find_study(wanted.store, "cafe").key == "1111"


def test_a_study_that_is_not_there_is_answered_with_those_that_are(made: Made) -> None:
    with pytest.raises(StoreError) as caught:
        find_study(made.store, "mode")
    assert "no study 'mode'" in str(caught.value)
    assert "there are: made" in str(caught.value)
    with pytest.raises(StoreError, match="there are: none yet"):
        find_study(Store(str(Path(made.store.url) / "empty")), "made")


def test_no_study_is_meant_by_an_empty_name(made: Made) -> None:
    with pytest.raises(StoreError, match="no study ''"):
        find_study(made.store, "")


def results(arm_result: ArmResultOf) -> list[ArmResult]:
    """Return results of every kind: whole, diverged, single, without cost, none."""
    # Numbers that are lost to a bit or in the tenth decimal.
    third, tiny = 1 / 3, 1.2345678901234e-7
    return [
        arm_result(
            "darts",
            [third, 2 / 3, 0.1 + 0.2],
            [third, tiny, 0.5],
            search_seconds=1234.5678901234567,
            search_compute=1.2345678901234567e15,
        ),
        arm_result("diverged", [0.5, math.nan], failed=1),
        arm_result("single", [0.1], multiply_adds=None, parameters=None),
        arm_result("nothing", owed=3),
    ]


def test_a_row_has_the_columns_of_the_issue_and_a_few_more(arm_result: ArmResultOf) -> None:
    frame = results_frame(results(arm_result))
    assert [name for name in frame.columns if name not in MORE] == ASKED
    assert set(frame.columns) == {*ASKED, *MORE}
    row = frame.iloc[0]
    assert (row["task"], row["arm"], row["metric"]) == ("digits", "darts", "R2")
    whole = results(arm_result)[0]
    assert whole.estimate is not None
    assert row["mean"] == whole.estimate.mean
    assert (row["low"], row["high"]) == whole.estimate.interval()
    assert row["values"] == whole.values
    assert (row["parameters"], row["multiply_adds"]) == (77_000.0, 1.5e6)
    assert row["search_seconds"] == 1234.5678901234567
    assert row["search_multiply_adds"] == 1.2345678901234567e15
    assert row["training_seconds"] == 12.0
    assert frame["owed"].tolist() == [0, 0, 0, 3]
    assert frame["failed"].tolist() == [0, 1, 0, 0]


def printed(made: Made, form: str) -> str:
    """Return what the command `results` prints of a study."""
    out = io.StringIO()
    print_results(Console(file=out, width=60), made.store, find_study(made.store, "made"), form)
    return out.getvalue()


def filled(made: Made) -> pd.DataFrame:
    """Fill the study with uneven numbers; return its results."""
    rng = np.random.default_rng(1)
    for position in (0, 1):
        made.job("darts", "search", f"s{position}", position, seconds=rng.random() * 100)
        values = [float(v) for v in rng.random(3)]
        evaluations(made, "darts", values, position, seconds=float(rng.random()) * 1e-3)
    evaluations(made, "random", [1 / 3, math.nan, 0.1 + 0.2])
    return results_frame(arm_results(made.store, find_study(made.store, "made")))


def same(a: Any, b: Any) -> bool:
    """Whether two cells hold the same, to the last bit; None and NaN are both no number."""
    if isinstance(a, Iterable) and not isinstance(a, str):
        return len(a) == len(b) and all(map(same, a, b))
    if a is None or a != a:
        return b is None or b != b
    return bool(a == b)


def test_json_reads_back_equal_to_the_last_bit(made: Made) -> None:
    frame = filled(made)
    records = json.loads(printed(made, "json"))
    assert [list(record) for record in records] == [list(frame.columns)] * len(frame)
    for record, row in zip(records, frame.to_dict("records"), strict=True):
        for name, value in row.items():
            assert same(value, record[name]), (name, value, record[name])


def test_csv_reads_back_equal_to_the_last_bit(made: Made) -> None:
    frame = filled(made)
    read = pd.read_csv(io.StringIO(printed(made, "csv")))
    assert list(read.columns) == list(frame.columns)
    for name in frame.columns:
        if name != "values":
            assert all(map(same, frame[name], read[name])), name
    for written, values in zip(read["values"], frame["values"], strict=True):
        literal = ast.literal_eval(written.replace("nan", "None"))
        assert same(values, literal)


def test_infinite_ends_of_an_interval_do_not_spoil_json(made: Made) -> None:
    evaluations(made, "forest", [0.5])
    records = json.loads(printed(made, "json"), parse_constant=pytest.fail)
    (forest,) = [record for record in records if record["arm"] == "forest"]
    assert (forest["mean"], forest["low"], forest["high"]) == (0.5, None, None)


def test_what_is_for_programs_holds_nothing_for_people(made: Made) -> None:
    filled(made)
    assert printed(made, "csv").splitlines()[0].split(",")[:3] == ["task", "arm", "metric"]
    assert len(printed(made, "csv").splitlines()) == 4
    assert "cannot tell" not in printed(made, "json")
    assert "darts" in printed(made, "table")


def test_the_plan_of_a_study_comes_back_from_the_store(made: Made) -> None:
    plan = find_study(made.store, "made").plan
    assert isinstance(plan, Plan)
    assert plan == parse_plan(PLAN)
