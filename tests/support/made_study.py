"""A store with a study that is written row by row, for tests of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from orchestrator.plan import parse_plan
from orchestrator.results import ArmResult, arm_results, find_study
from orchestrator.store import Store

PLAN = """\
name: made
task: digits
arms:
  darts: {method: darts, seeds: [0, 1]}
  random: {method: random_search, budget: {samples: 2}, seeds: [0, 1]}
  forest: {network: random_forest}
"""

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


def evaluations(
    made: Made, arm: str, values: Sequence[float], position: int = 0, **more: Any
) -> None:
    """Add an evaluation for each value."""
    for seed, value in enumerate(values):
        row = {"test": value, "parameters": 1000, "multiply_adds": 5000, "seconds": 2.0, **more}
        made.job(arm, "evaluate", f"{arm}-{position}-{seed}", position, seed, **row)
