"""Commands of tests: a plan, what a store holds after a run of it, and messages of errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.__main__ import USER
from orchestrator._contender import Assignment
from orchestrator.driver import _row, load_tasks, make_study
from orchestrator.jobs import Result
from orchestrator.plan import read_plan
from orchestrator.store import Store

PLAN = """\
name: made
task: digits
arms:
  floor: {network: constant}
  forest: {network: random_forest}
"""

Run = Callable[..., tuple[int, str, str]]

Capture = pytest.CaptureFixture[str]


def error(ended: tuple[int, str, str]) -> str:
    """Return the message of a command that failed by the user's fault, and only by that."""
    code, out, err = ended
    assert code == USER == 2
    assert out == ""
    assert "Traceback" not in err
    assert "internal error" not in err
    assert err.startswith("error: ")
    return err.removeprefix("error: ").removesuffix("\n")


def one_line(ended: tuple[int, str, str]) -> str:
    """Return the message, which must be a single line."""
    message = error(ended)
    assert "\n" not in message
    return message


def fill(path: str, store: Store, data: Path = Path("/nowhere")) -> list[Assignment]:
    """Put results of every job of a plan of baselines into a store, but no study."""
    plan = read_plan(path)
    study = make_study(plan, load_tasks(plan, data), store)
    handed = []
    while (assignment := study.next()) is not None:
        job = assignment.job
        value = 0.5 + 0.01 * job.seed
        result: dict[str, Any] = {
            "outcome": "done",
            "metric": "accuracy",
            "score": value,
            "test": value,
            "parameters": 0,
            "multiply_adds": 0,
            "job_seconds": 1.5,
        }
        store.add("jobs", f"{job.key}-0", [_row(job, 0, result, None, None)])
        study.tell(job.key, Result("done", value, seconds=1.5))
        handed.append(assignment)
    assert study.finished
    return handed


def record(path: str, store: Store, assignments: list[Assignment], fingerprint: str = "f") -> str:
    """Put the study of a plan into a store, as a run does; return its key."""
    plan = read_plan(path)
    study = make_study(plan, load_tasks(plan, Path("/nowhere")), store)
    about = {"fingerprint": fingerprint, "metric": "accuracy", "unit": "", "higher_is_better": True}
    row = {
        "study": study.key,
        "name": plan.name,
        "plan": plan.model_dump_json(by_alias=True),
        "tasks": json.dumps({"digits": about}),
        "started": pd.Timestamp("2024-05-17", tz="UTC"),
    }
    store.add("studies", study.key, [row])
    store.add("members", study.key, [a.member(study.key) for a in assignments])
    return study.key
