"""Results: one row an arm, from the store alone, and the sentence that a study ends in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from orchestrator import statistics
from orchestrator.errors import StoreError
from orchestrator.jobs import FINISHED
from orchestrator.plan import Plan
from orchestrator.statistics import Estimate
from orchestrator.store import Store


@dataclass(frozen=True)
class ArmResult:
    """What one arm reached on one task, and what it cost.

    Args:
        groups: test metrics, one group for each search; NaN where a training diverged.
        estimate: their mean and its uncertainty; None while there is no value.
        parameters, multiply_adds: of its networks, the mean; None for what is not a network.
        search_seconds, search_compute: of one search, the mean; None for a baseline.
        training_seconds: of one evaluation, the mean.
        owed, failed: numbers of its jobs that are known and not done, and that failed.
    """

    task: str
    arm: str
    metric: str
    higher_is_better: bool
    groups: tuple[tuple[float, ...], ...]
    estimate: Estimate | None
    parameters: float | None
    multiply_adds: float | None
    search_seconds: float | None
    search_compute: float | None
    training_seconds: float | None
    owed: int
    failed: int

    @property
    def values(self) -> list[float]:
        """The test metric of every evaluation."""
        return [value for group in self.groups for value in group]


@dataclass(frozen=True)
class StudyRecord:
    """A study as the store knows it."""

    key: str
    name: str
    plan: Plan
    tasks: dict[str, dict[str, Any]]
    started: pd.Timestamp


def studies(store: Store) -> list[StudyRecord]:
    """List the studies of a store, the latest last."""
    rows = store.table("studies").sort_values("started")
    return [
        StudyRecord(
            row["study"],
            row["name"],
            Plan.model_validate_json(row["plan"]),
            json.loads(row["tasks"]),
            row["started"],
        )
        for row in rows.to_dict("records")
    ]


def find_study(store: Store, name: str) -> StudyRecord:
    """Return the latest study called ``name``, or whose key begins with it. Raises StoreError."""
    known = studies(store)
    found = [s for s in known if s.name == name]
    found = found or [s for s in known if name and s.key.startswith(name)]
    if not found:
        names = ", ".join(sorted({s.name for s in known})) or "none yet"
        raise StoreError(f"no study {name!r} in the store {store.url}; there are: {names}")
    return found[-1]


def arm_results(store: Store, study: StudyRecord) -> list[ArmResult]:
    """Return one result for each arm and task, in the order of the plan."""
    members = store.table("members").rename(columns={"task": "label", "job": "member"})
    members = members[members["study"] == study.key].drop(columns="seed")
    rows = members.merge(store.jobs(), left_on="member", right_on="key", how="left")
    return [
        _arm_result(rows[(rows["label"] == label) & (rows["arm"] == arm)], label, arm, about)
        for label, about in study.tasks.items()
        for arm in study.plan.arms
    ]


def _arm_result(rows: pd.DataFrame, label: str, arm: str, about: dict[str, Any]) -> ArmResult:
    done = rows[rows["outcome"].isin(FINISHED)]
    evaluated = done[done["role"] == "evaluate"].sort_values(["position", "seed"])
    # Searches that found the same network share its trainings: counted again, the same values
    # would pass for new evidence. What a table says is no training: it has no noise to count.
    if "best" not in about:
        evaluated = evaluated.drop_duplicates("member")
    searching = done[done["role"] != "evaluate"].groupby("position")
    groups = tuple(
        tuple(float(v) for v in group["test"]) for _, group in evaluated.groupby("position")
    )
    networks = evaluated[evaluated["parameters"] > 0]
    return ArmResult(
        task=label,
        arm=arm,
        metric=about["metric"],
        higher_is_better=about["higher_is_better"],
        groups=groups,
        estimate=statistics.estimate(groups) if groups else None,
        parameters=_mean(networks["parameters"]),
        multiply_adds=_mean(networks["multiply_adds"]),
        search_seconds=_mean(searching["seconds"].sum()),
        search_compute=_mean(searching["compute"].sum()),
        training_seconds=_mean(evaluated["seconds"]),
        owed=int(rows["outcome"].isna().sum()),
        failed=int((rows["outcome"].notna() & ~rows["outcome"].isin(FINISHED)).sum()),
    )


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def results_json(results: Sequence[ArmResult]) -> str:
    """Return results as a JSON list, numbers exact; null for what is missing or not finite."""
    records = results_frame(results).to_dict("records")
    return json.dumps([{k: _plain(v) for k, v in r.items()} for r in records], indent=2)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def results_frame(results: Sequence[ArmResult]) -> pd.DataFrame:
    """Return results as a table: one row an arm, numbers as numbers."""
    rows = []
    for r in results:
        low, high = r.estimate.interval() if r.estimate else (math.nan, math.nan)
        rows.append(
            {
                "task": r.task,
                "arm": r.arm,
                "metric": r.metric,
                "mean": r.estimate.mean if r.estimate else math.nan,
                "low": low,
                "high": high,
                "values": r.values,
                "parameters": r.parameters,
                "multiply_adds": r.multiply_adds,
                "search_seconds": r.search_seconds,
                "search_multiply_adds": r.search_compute,
                "training_seconds": r.training_seconds,
                "owed": r.owed,
                "failed": r.failed,
            }
        )
    return pd.DataFrame(rows)
