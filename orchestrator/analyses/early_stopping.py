"""Early stopping: what learning curves saved, and how often they stopped the best to come.

The estimator ``learning_curve`` trains a share of the candidates that it would stop to the end, as
a control. ``wrong`` are those of the control that became the best so far; the share has the exact
interval of Clopper and Pearson (1934). ``error`` is the mean distance of predicted from final
scores, and ``inside`` the share of final scores within 1.96 standard deviations, where a prediction
was made and the training went on to its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
from scipy import stats

from orchestrator.analyses._labels import estimator_label
from orchestrator.analyses._scatter import Panel, scatter
from orchestrator.jobs import FINISHED, Job
from orchestrator.store import Store
from searchers.estimators.learning_curve import SPLIT

COLUMNS = (
    "task",
    "estimator",
    "candidates",
    "predicted",
    "hopeless",
    "stopped",
    "controls",
    "wrong",
    "wrong_share",
    "wrong_low",
    "wrong_high",
    "error",
    "inside",
)


def table(store: Store, *, level: float = 0.95) -> pd.DataFrame:
    """Return one row for each task and estimator that stops; ``level`` is that of the interval."""
    rows = []
    for task, label, found in _candidates(store):
        controls = found["wrong"].dropna()
        wrong = int(controls.sum())
        share = low = high = math.nan
        if len(controls):
            test = stats.binomtest(wrong, len(controls))
            share = test.statistic
            low, high = test.proportion_ci(level, method="exact")
        gone_on = found[found["stopped"] == 0].dropna(subset="score")
        distance = (gone_on["score"] - gone_on["mean"]).abs()
        inside = distance <= 1.96 * gone_on["deviation"]
        counts = [
            len(found),
            int(found["mean"].notna().sum()),
            int((found["hopeless"] == 1).sum()),
            int((found["stopped"] == 1).sum()),
            len(controls),
            wrong,
        ]
        measured = [share, low, high, distance.mean(), inside.mean() if len(inside) else math.nan]
        rows.append([task, label, *counts, *measured])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def figure(store: Store, *, level: float = 0.95) -> str:
    """Return an SVG of final against predicted scores, where training went on."""
    panels = []
    for task, label, found in _candidates(store):
        known = found[found["stopped"] == 0].dropna(subset="score")
        points = [(float(a), float(b)) for a, b in zip(known["mean"], known["score"], strict=True)]
        panels.append(Panel(task, f"predicted by {label}", "final score", points))
    return scatter(panels)


def _candidates(store: Store) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield task, estimator, and its candidates with what was extrapolated of them."""
    jobs = store.jobs()
    jobs = jobs[jobs["outcome"].isin(FINISHED) & (jobs["estimator"] == "learning_curve")]
    metrics = store.table("metrics")
    told = metrics[metrics["split"] == SPLIT].pivot_table("value", "job", "name")
    wanted = ["mean", "deviation", "chance", "hopeless", "stopped", "wrong"]
    found = jobs.set_index("key").join(told.reindex(columns=wanted))
    labels = found["job"].map(lambda text: _label(Job.from_json(text)))
    for (task, label), group in found.groupby(["task", labels], sort=True):
        yield str(task), str(label), group


def _label(job: Job) -> str:
    assert job.estimator is not None
    return estimator_label(job.estimator)
