"""What a study writes of itself into the store: that it was, and which jobs are its own."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from orchestrator.store import Store
from orchestrator.study import Study


class Ledger:
    """Keeps the tables ``studies`` and ``members`` of one study up to date."""

    def __init__(self, store: Store, study: Study):
        self.store, self.study = store, study
        self._written = 0

    def open(self) -> None:
        """Record the study, unless an earlier run has."""
        key = self.study.key
        if key in set(self.store.table("studies")["study"]):
            return
        plan = self.study.board.plan
        row = {
            "study": key,
            "name": plan.name,
            "plan": plan.model_dump_json(by_alias=True),
            "tasks": json.dumps({label: self._about(label) for label in self.study.board.tasks}),
            "started": datetime.now(timezone.utc),
        }
        self.store.add("studies", key, [row])

    def update(self) -> None:
        """Record the jobs that the study has assigned, in place of what was recorded before.

        What an earlier run assigned can be obsolete: a candidate that failed there can be the
        best one now, and what is evaluated is another network.
        """
        if len(self.study.assigned) > self._written:
            self._written = len(self.study.assigned)
            rows = [assignment.member(self.study.key) for assignment in self.study.assigned]
            self.store.add("members", self.study.key, rows)

    def _about(self, label: str) -> dict[str, Any]:
        task = self.study.board.tasks[label]
        metric = task.metric
        best = {} if task.table is None else {"best": task.table.best(metric.higher_is_better)}
        return {
            **best,
            "fingerprint": self.study.board.fingerprints[label],
            "metric": metric.name,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
        }
