"""Rows of the store's tables, and how tests read them."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.store import DamagedPartWarning, Store


def metric(job: str, step: int, value: float, name: str = "loss") -> dict[str, Any]:
    """Return a row of the table of metrics."""
    return {"job": job, "step": step, "epoch": 1, "split": "valid", "name": name, "value": value}


def silently(store: Store, table: str) -> pd.DataFrame:
    """Read a table that has no damaged part."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedPartWarning)
        return store.table(table)


def parquet(rows: pa.Table) -> bytes:
    """Return a table as the content of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    return sink.getvalue().to_pybytes()
