"""Regret: how far from the best of a table the searches of an arm are, candidate after candidate.

For tasks that are tables of results. After each candidate a search would hand in the one with the
best score that it knows; what the table reports of that one, against the best that it reports of
any, is its regret. Searches see their own scores only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orchestrator.results import StudyRecord
from orchestrator.store import Store


@dataclass(frozen=True)
class Curve:
    """The searches of one arm on one task.

    Args:
        reported: ``[searches, candidates]``, what the table reports of the incumbent after each
            candidate; a search that ended early keeps its last one; NaN while there is none.
        best: the best that the table reports.
    """

    arm: str
    reported: NDArray[np.float64]
    best: float

    @property
    def final(self) -> NDArray[np.float64]:
        """What the table reports of what each search found."""
        return self.reported[:, -1]

    @property
    def deviation(self) -> float:
        """Standard deviation between searches; NaN for a single one."""
        return float(self.final.std(ddof=1)) if len(self.final) > 1 else math.nan

    @property
    def regret(self) -> NDArray[np.float64]:
        """The mean regret after each candidate, 0 or more."""
        return np.abs(self.best - self.reported.mean(axis=0))


def curves(store: Store, record: StudyRecord, task: str) -> list[Curve]:
    """Return the curves of the arms of a study on a task; none where it is no table."""
    about = record.tasks[task]
    if "best" not in about:
        return []
    members = store.table("members")
    members = members[(members["study"] == record.key) & (members["task"] == task)]
    rows = members[members["role"] == "search"].merge(store.table("candidates"), on="job")
    found = []
    for arm in record.plan.arms:
        own = rows[rows["arm"] == arm].sort_values(["position", "step"])
        if len(own):
            searches = [_incumbents(g, about) for _, g in own.groupby("position")]
            found.append(Curve(arm, _rectangle(searches), about["best"]))
    return found


def _incumbents(search: pd.DataFrame, about: dict[str, object]) -> NDArray[np.float64]:
    """Return what the table reports of the best candidate so far, the first of equals."""
    sign = 1.0 if about["higher_is_better"] else -1.0
    scores = sign * search["score"].to_numpy(float)
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    before = np.maximum.accumulate(np.concatenate([[-np.inf], scores[:-1]]))
    place = np.maximum.accumulate(np.where(scores > before, np.arange(len(scores)), -1))
    reported = search["test"].to_numpy(float)
    return np.where(place < 0, np.nan, reported[np.maximum(place, 0)])


def _rectangle(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    longest = max(map(len, rows))
    return np.stack([np.pad(row, (0, longest - len(row)), mode="edge") for row in rows])
