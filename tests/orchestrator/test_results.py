"""Results: one row an arm from what the store holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from made_study import PLAN, Made, evaluations
from orchestrator._ledger import Ledger
from orchestrator.driver import make_study
from orchestrator.errors import StoreError
from orchestrator.jobs import Result
from orchestrator.plan import Plan, parse_plan
from orchestrator.results import arm_results, find_study, results_frame, studies
from orchestrator.store import Store
from search_space.task import Task


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


def test_the_plan_of_a_study_comes_back_from_the_store(made: Made) -> None:
    plan = find_study(made.store, "made").plan
    assert isinstance(plan, Plan)
    assert plan == parse_plan(PLAN)
