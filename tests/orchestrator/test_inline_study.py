"""Searches within one job: which jobs a study has of them, what they do, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator._contender import Assignment, Board
from orchestrator.checkpoints import Checkpoints
from orchestrator.driver import Driver, load_tasks
from orchestrator.jobs import Job, Result
from orchestrator.plan import parse_plan
from orchestrator.regret import curves
from orchestrator.results import arm_results, find_study
from orchestrator.store import Store
from orchestrator.study import Study, forecast
from orchestrator.trial import Trial, unpack
from searchers._base import STEP_SECONDS
from study_world import World, cost_of, made_up_result, of_arm
from table_plans import PLAN, SPACE, rows, write_table


def study(text: str, root: Path, results: dict[str, Result] | None = None) -> Study:
    plan = parse_plan(text)
    tasks = load_tasks(plan, write_table(root))
    return Study(Board(plan, tasks, results or {}, {}, lambda *_: None))


def run_all(made: Study, genotype: Any) -> list[Assignment]:
    """End every job that is handed out; each search finds ``genotype``."""
    handed = []
    while (assignment := made.next()) is not None:
        handed.append(assignment)
        found = genotype if assignment.job.kind == "search" else None
        made.tell(assignment.job.key, Result("done", 60.0, found))
    assert made.finished
    return handed


def test_a_search_that_looks_up_is_one_job_whatever_its_number_of_candidates(tmp_path):
    made = study(PLAN, tmp_path)
    handed = run_all(made, SPACE.decode([0, 1, 2]))
    searches = [a for a in handed if a.job.kind == "search"]
    assert {(a.arm, a.position, a.job.seed) for a in searches} == {
        (arm, seed, seed) for arm in ("random", "evolution", "grid") for seed in range(4)
    }
    assert all(a.job.budget == {"samples": 8.0} for a in searches if a.arm != "grid")
    assert [a for a in handed if a.job.kind == "candidate"] == []


def test_what_is_found_is_looked_up_once_whatever_the_seeds_of_evaluations(tmp_path):
    text = PLAN.replace("evaluate: {", "evaluate: {seeds: [5, 6, 7], ")
    handed = run_all(study(text, tmp_path), SPACE.decode([0, 1, 2]))
    assert len([a for a in handed if a.job.kind == "evaluate"]) == 1  # all found the same one


def test_the_forecast_has_a_job_for_each_search(tmp_path):
    found = {(f.arm, f.kind): f.total for f in forecast(study(PLAN, tmp_path))}
    assert found["evolution", "search"] == found["evolution", "evaluate"] == 4


INLINE = """
\"\"\"Made up: like the other, but in no time.\"\"\"
from searchers.estimators._base import Estimator


class Instant(Estimator):
    \"\"\"Runs nothing.\"\"\"

    inline = True

    def program(self, space, genotype, task, *, seed, device):
        raise NotImplementedError

    def compute(self, space, genotype, task):
        return 10.0
"""

EQUAL = """\
name: x
task: digits
arms:
  darts: {method: darts, seeds: [0, 1]}
  r: {method: random_search, estimator: instant, budget: {same_as: darts, unit: UNIT}}
  s: {method: random_search, estimator: made_up, budget: {same_as: r, unit: UNIT}}
"""


@pytest.mark.parametrize("unit", ["compute", "seconds"])
def test_a_search_within_one_job_can_get_and_give_the_budget_of_another(
    unit: str, world: Callable[..., World], add_entry: Callable[..., None]
) -> None:
    add_entry("searchers.estimators", "instant", INLINE)
    spent = {0: 60.0, 1: 90.0}

    def outcome(job: Job) -> Result:
        if job.kind != "search":
            return made_up_result(job)
        if job.estimator is None:
            share = spent[job.seed]
        else:
            assert job.budget is not None
            share = job.budget[unit]
        return Result("done", 0.5, compute=share, seconds=share)

    w = world(EQUAL.replace("UNIT", unit), outcome)
    w.run()
    assert {a.job.seed: a.job.budget for a in of_arm(w.handed, "r", "search")} == {
        seed: {unit: share} for seed, share in spent.items()
    }
    candidates = of_arm(w.handed, "s", "candidate")
    for position, share in spent.items():
        own = [a.job for a in candidates if a.position == position]
        if unit == "compute":
            costs = [cost_of(job) for job in own]
            assert sum(costs) >= share > sum(costs[:-1])
        assert own


def test_a_reference_that_failed_leaves_nothing_to_search_with(
    world: Callable[..., World], add_entry: Callable[..., None]
) -> None:
    add_entry("searchers.estimators", "instant", INLINE)
    bug = Result("bug", math.nan)
    text = EQUAL.replace("UNIT", "compute")
    w = world(text, lambda job: bug if job.kind == "search" else made_up_result(job))
    assert w.run().finished
    assert of_arm(w.handed, "r", "search") == []


@pytest.fixture
def trial(tmp_path: Path) -> Callable[..., Trial]:
    """Makes the trial of the first search of an arm of PLAN: ``trial("random", store)``."""
    write_table(tmp_path)

    def make(arm: str, store: str) -> Trial:
        made = study(PLAN, tmp_path)
        assignment = made.next()
        while assignment is not None and assignment.arm != arm:
            assignment = made.next()
        assert assignment is not None
        return Trial(
            {
                "key": assignment.job.key,
                "job": assignment.job.to_json(),
                "data": str(tmp_path),
                "store": str(tmp_path / store),
                "threads": 1,
                "checkpoint_seconds": 1e9,
                "gpus": 0.0,
            }
        )

    return make


@pytest.fixture
def one_candidate_a_step() -> Iterator[None]:
    token = STEP_SECONDS.set(0.0)
    yield
    STEP_SECONDS.reset(token)


def kept(result: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the tables that a trial hands to the store."""
    names = [name for name in result if name.endswith("_rows")]
    return {name: unpack(result[name]).to_pandas() for name in sorted(names)}


@pytest.mark.usefixtures("one_candidate_a_step")
@pytest.mark.parametrize("arm", ["random", "evolution", "grid"])
def test_a_trial_that_is_killed_goes_on_and_ends_like_one_that_was_not(arm, trial, tmp_path):
    unbroken = trial(arm, "one")
    while not (whole := unbroken.step())["done"]:
        pass
    ended: dict[str, Any] = {"done": False}
    steps = 0
    while not ended["done"]:
        broken = trial(arm, "other")  # a new process knows of the last one by its checkpoint alone
        ended = broken.step()
        steps += 1
        if not ended["done"]:
            broken.save_checkpoint(str(tmp_path))
    assert steps >= len(kept(whole)["candidates_rows"]) > 5
    assert Checkpoints(str(tmp_path / "one")).load(broken._job.key) is None
    for name in ("outcome", "score", "genotype", "compute"):
        assert ended[name] == whole[name]
    for name, table in kept(whole).items():
        pd.testing.assert_frame_equal(kept(ended)[name], table, check_exact=True)


def test_a_plan_that_looks_up_runs_to_a_table_of_regrets_with_every_candidate_kept(
    cluster: None, tmp_path: Path
) -> None:
    plan, store = parse_plan(PLAN), Store(str(tmp_path / "results"))
    data = write_table(tmp_path / "data")
    driver = Driver(plan, load_tasks(plan, data), store, data)
    driver.run()
    table = rows().set_index("arch_str")
    jobs, found = store.jobs(), store.table("candidates")
    assert set(jobs["outcome"]) == {"done"}
    assert dict(jobs["kind"].value_counts())["search"] == 12
    assert dict(found.groupby("job").size().value_counts()) == {8: 8, 27: 4}
    # What is kept of a candidate is what the table says of it.
    texts = found["genotype"].map(store.table("genotypes").set_index("key")["text"])
    assert found["score"].tolist() == table.loc[texts, "valid"].tolist()
    assert found["test"].tolist() == table.loc[texts, "test"].tolist()
    record = find_study(store, "looked_up")
    results = {r.arm: r for r in arm_results(store, record)}
    assert [len(r.groups) for r in results.values()] == [4, 4, 4]
    best = table.loc[table["valid"].idxmax()]
    assert results["grid"].values == [best["test"]] * 4
    assert results["grid"].parameters
    late = store.table("metrics")
    assert set(late["name"]) == {"table:test", "table:late"}
    shown = {c.arm: c for c in curves(store, record, next(iter(record.tasks)))}
    assert shown["random"].final.tolist() == results["random"].values
    assert shown["grid"].best == table["test"].max()


def test_the_hours_of_a_plan_end_a_run_of_searches_that_take_no_time(
    cluster: None, tmp_path: Path
) -> None:
    plan, store = parse_plan(PLAN + "budget: {hours: 1e-9}\n"), Store(str(tmp_path / "results"))
    data = write_table(tmp_path / "data")
    driver = Driver(plan, load_tasks(plan, data), store, data)
    driver.run()
    assert "hours is spent" in str(driver.progress.stopping)
    # Those that had begun when the first of them ended are all that there is.
    assert len(store.jobs()) <= driver.slots
