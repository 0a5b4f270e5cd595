"""The tables of the store: long, with fixed schemas, so that a new metric or method adds rows."""

from __future__ import annotations

import pyarrow as pa

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TIME = pa.timestamp("us", tz="UTC")


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


SCHEMAS: dict[str, pa.Schema] = {
    # One row for each attempt at a job: what, where, when, and what came of it.
    "jobs": _schema(
        key=_TEXT,  # digest of the job's content
        attempt=_WHOLE,
        kind=_TEXT,  # search, candidate, evaluate
        task=_TEXT,
        fingerprint=_TEXT,  # digest of the data
        space=_TEXT,
        method=_TEXT,
        estimator=_TEXT,
        genotype=_TEXT,  # key of the genotype that was trained
        network=_TEXT,  # name of the baseline that was trained
        seed=_WHOLE,
        job=_TEXT,  # the whole job as JSON
        outcome=_TEXT,  # done, diverged, or a kind of failure
        detail=_TEXT,  # of a failure: the end of its log
        metric=_TEXT,
        score=_REAL,  # the metric on the validation split
        test=_REAL,  # the metric on the test split
        found=_TEXT,  # key of the genotype that a search found
        parameters=_WHOLE,
        multiply_adds=_WHOLE,
        compute=_REAL,  # multiply-adds spent
        seconds=_REAL,  # time in steps, those before an interruption too
        started=_TIME,
        finished=_TIME,
        host=_TEXT,
        device=_TEXT,
        threads=_WHOLE,
        versions=_TEXT,  # JSON
    ),
    "metrics": _schema(job=_TEXT, step=_WHOLE, epoch=_WHOLE, split=_TEXT, name=_TEXT, value=_REAL),
    # Candidates that a search scored within its own job, in the order of its questions.
    "candidates": _schema(
        job=_TEXT,
        step=_WHOLE,  # from 1
        genotype=_TEXT,
        outcome=_TEXT,  # done, diverged, out_of_memory
        score=_REAL,  # what the search was told, in the metric's unit
        test=_REAL,  # what a table reports, where the task is one; the search does not know it
        parameters=_WHOLE,
        multiply_adds=_WHOLE,
        peak_memory=_REAL,  # bytes
        latency=_REAL,  # seconds
    ),
    "genotypes": _schema(key=_TEXT, space=_TEXT, genotype=_TEXT, text=_TEXT),
    "architecture_weights": _schema(
        job=_TEXT, epoch=_WHOLE, cell=_TEXT, edge=_TEXT, operation=_TEXT, weight=_REAL
    ),
    # Which jobs belong to which arm of which study; jobs themselves know of no study.
    "members": _schema(
        study=_TEXT, task=_TEXT, arm=_TEXT, role=_TEXT, position=_WHOLE, seed=_WHOLE, job=_TEXT
    ),
    # One row for each plan that was run, by the digest of its content.
    "studies": _schema(study=_TEXT, name=_TEXT, plan=_TEXT, tasks=_TEXT, started=_TIME),
    # Choices that hang on measurements, made once: a resumed run does not decide anew.
    "decisions": _schema(key=_TEXT, name=_TEXT, value=_REAL, decided=_TIME),
}

# Rows that agree in these columns are the same row, written again by a retry.
IDENTITY: dict[str, list[str]] = {
    "jobs": ["key", "attempt"],
    "metrics": ["job", "step", "split", "name"],
    "candidates": ["job", "step"],
    "genotypes": ["key"],
    "architecture_weights": ["job", "epoch", "cell", "edge", "operation"],
    "members": ["study", "task", "arm", "role", "position", "seed", "job"],
    "studies": ["study"],
    "decisions": ["key"],
}
