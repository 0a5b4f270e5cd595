"""Agreement: whether estimators rank candidates as full trainings do.

Kendall's tau-b and Spearman's rho (scipy) over the genotypes that have both, each with a bootstrap
interval. Every estimator of the store is held against the retrained networks (``evaluate``: mean
test metric of all seeds) or, with ``against``, against another estimator, such as ``training``. Of
``zero_cost`` every recorded proxy has a row of its own.

1: the same order; 0: none; -1: the reverse, whichever way the metric points. A training that
diverged ranks last. Genotypes that were evaluated are mostly those that an estimator chose, so that
agreement over all of the space can be other than what is seen here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from orchestrator.analyses._labels import estimator_label, training_label
from orchestrator.analyses._scatter import Panel, scatter
from orchestrator.errors import StoreError
from orchestrator.jobs import FINISHED, Entry, Job
from orchestrator.store import Store
from search_space.genotype import canonical_json
from search_space.shelf import nearest
from searchers._proxies import PROXIES

Statistic = Callable[[np.ndarray, np.ndarray], float]

COLUMNS = (
    "task",
    "space",
    "estimator",
    "against",
    "candidates",
    "kendall",
    "kendall_low",
    "kendall_high",
    "spearman",
    "spearman_low",
    "spearman_high",
    "seconds",
)


# Where scores can be compared: one task, its data, and one space.
_WHERE_KEY = "where"

_SCORE_COLUMNS = ("kind", "task", "space", _WHERE_KEY, "genotype", "seconds", "source", "value")

# With fewer pairs a resample often holds one pair only, and an interval says nothing.
_FEWEST = 4


_Scored = tuple[str, float, dict[str, float]]
"""Genotype, score, and what was measured beside it."""


@dataclass(frozen=True)
class Pairs:
    """Scores of one estimator and of the reference for the same genotypes, higher being better."""

    task: str
    space: str
    estimator: str
    against: str
    scores: np.ndarray
    references: np.ndarray
    seconds: float


def table(
    store: Store, *, against: str | None = None, resamples: int = 1000, level: float = 0.95
) -> pd.DataFrame:
    """Return one row for each estimator, task, space and reference with at least two candidates.

    Args:
        store: whose jobs of all studies count.
        against: label of the reference, as in the column ``estimator``, or the estimator's name
            where it stands for one label only; None: evaluations.
        resamples: of the bootstrap, which draws candidates with replacement, seeded.
        level: of the percentile intervals.

    Raises:
        StoreError: no estimator called ``against``.
    """
    rows = []
    for pairs in _pairs(store, against):
        row = [pairs.task, pairs.space, pairs.estimator, pairs.against, len(pairs.scores)]
        for statistic in (kendall, spearman):
            row += interval(statistic, pairs.scores, pairs.references, resamples, level)
        rows.append([*row, pairs.seconds])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def figure(
    store: Store, *, against: str | None = None, resamples: int = 1000, level: float = 0.95
) -> str:
    """Return an SVG of ranks against ranks, one panel for each row of the table."""
    panels = []
    for pairs in _pairs(store, against):
        ranks = [stats.rankdata(values) for values in (pairs.scores, pairs.references)]
        tau = kendall(pairs.scores, pairs.references)
        points = [(float(x), float(y)) for x, y in zip(*ranks, strict=True)]
        title = f"{pairs.task}, {pairs.space}: tau {tau:.2f}"
        panels.append(Panel(title, f"rank by {pairs.estimator}", f"by {pairs.against}", points))
    return scatter(panels)


def interval(
    statistic: Statistic, a: np.ndarray, b: np.ndarray, resamples: int, level: float
) -> tuple[float, float, float]:
    """Return a statistic and its bootstrap percentile interval; NaN where undefined."""
    value = statistic(a, b)
    if len(a) < _FEWEST:
        return value, math.nan, math.nan
    rng = np.random.default_rng(0)
    draws = (rng.integers(len(a), size=len(a)) for _ in range(resamples))
    drawn = np.array([statistic(a[rows], b[rows]) for rows in draws])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return value, math.nan, math.nan
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return value, float(low), float(high)


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Return Kendall's tau-b; NaN where all of ``a`` or of ``b`` are equal."""
    if _equal(a) or _equal(b):
        return math.nan
    # The exact p-value, which nobody asks for here, takes long; the other divides by len(a) - 2.
    method = "asymptotic" if len(a) > 2 else "exact"
    return float(stats.kendalltau(a, b, method=method).statistic)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rho, ties at their mean rank; NaN where all of ``a`` or ``b`` are equal."""
    if _equal(a) or _equal(b):
        return math.nan
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def _equal(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


def _pairs(store: Store, against: str | None) -> Iterator[Pairs]:
    scores = _scores(store)
    references = scores[scores["kind"] == "evaluate"]
    if against is not None:
        known = sorted(set(scores.loc[scores["kind"] == "candidate", "source"]))
        label = against if against in known else _only(against, known)
        references = scores[scores["source"] == label]
    scores = scores[scores["kind"] == "candidate"]
    for (where, label), reference in references.groupby([_WHERE_KEY, "source"], sort=True):
        here = scores[(scores[_WHERE_KEY] == where) & (scores["source"] != label)]
        means = reference.groupby("genotype")["value"].mean()
        for source, group in here.groupby("source", sort=True):
            own = group.groupby("genotype")["value"].mean()
            common = own.index.intersection(means.index)
            if len(common) >= 2:
                yield Pairs(
                    group["task"].iloc[0],
                    group["space"].iloc[0],
                    str(source),
                    str(label),
                    own[common].to_numpy(),
                    means[common].to_numpy(),
                    float(group["seconds"].mean()),
                )


def _only(against: str, known: list[str]) -> str:
    found = [label for label in known if label.partition("(")[0] == against]
    if len(found) != 1:
        which = f"is one of {', '.join(found)}" if found else nearest(against, known)
        raise StoreError(f"no estimator {against!r} in the store: {which}")
    return found[0]


def _scores(store: Store) -> pd.DataFrame:
    """Return every score of a genotype, higher being better: by whom, and what it took."""
    jobs = store.jobs()
    jobs = jobs[jobs["outcome"].isin(FINISHED)]
    signs, inline = _signs(store), _inline(store)
    rows: list[dict[str, Any]] = []
    for row in jobs.to_dict("records"):
        job, sign = Job.from_json(row["job"]), signs.get(row["metric"], 1.0)
        if job.space is None:
            continue
        where = [job.task.name, job.task.params, row["fingerprint"], job.space.params, row["space"]]
        about = {name: row[name] for name in ("kind", "task", "space", "genotype", "seconds")}
        about[_WHERE_KEY] = canonical_json(where)
        if job.kind == "evaluate":
            value = _worst_if_none(sign * row["test"])
            rows.append({**about, "source": training_label(job), "value": value})
        elif job.estimator is not None:
            about |= {"kind": "candidate", "source": estimator_label(job.estimator)}
            if job.kind == "candidate":
                rows.append({**about, "value": _worst_if_none(sign * row["score"])})
            else:
                rows += _of_search(about, inline.get(row["key"], []), sign, job.estimator)
    return pd.DataFrame(rows, columns=[*_SCORE_COLUMNS])


def _of_search(
    about: dict[str, Any], scored: list[_Scored], sign: float, estimator: Entry
) -> Iterator[dict[str, Any]]:
    """Yield the scores of candidates of a search that scored them itself."""
    score_is = next(iter(estimator.params.get("proxies", [])), None)
    for genotype, score, measured in scored:
        one = {**about, "genotype": genotype, "seconds": about["seconds"] / len(scored)}
        yield {**one, "value": _worst_if_none(sign * score)}
        for name, value in measured.items():
            if name in PROXIES and name != score_is:
                source = f"{one['source']}: {name}"
                yield {**one, "source": source, "value": _worst_if_none(value)}


def _inline(store: Store) -> dict[str, list[_Scored]]:
    """Return by job the candidates that a search scored within it; each genotype once."""
    candidates, metrics = store.table("candidates"), store.table("metrics")
    candidates = candidates[candidates["outcome"].isin(FINISHED)]
    candidates = candidates.sort_values("step").drop_duplicates(["job", "genotype"])
    metrics = metrics[metrics["job"].isin(set(candidates["job"]))]
    measured: dict[tuple[str, int], dict[str, float]] = {}
    for one in metrics.itertuples():
        measured.setdefault((one.job, one.step), {})[one.name] = one.value
    found: dict[str, list[_Scored]] = {}
    for one in candidates.itertuples():
        beside = measured.get((one.job, one.step), {})
        found.setdefault(one.job, []).append((one.genotype, one.score, beside))
    return found


def _worst_if_none(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _signs(store: Store) -> dict[str, float]:
    """Return by the name of a metric whether more of it is better: 1 or -1."""
    abouts = [
        about for text in store.table("studies")["tasks"] for about in json.loads(text).values()
    ]
    return {about["metric"]: 1.0 if about["higher_is_better"] else -1.0 for about in abouts}
