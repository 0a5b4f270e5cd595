"""Tables of published results in CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from orchestrator.tasks._files import MissingDataError, first_existing
from search_space.shelf import nearest
from search_space.table import Table
from search_space.task import DataError


def read_table(path: Path, architecture: str, reported: Sequence[str], source: str) -> Table:
    """Read a CSV with a row for each architecture; columns that are not numbers are left out.

    Args:
        path: of the file.
        architecture: the column that holds the text form of each architecture.
        reported: the columns that are reported in the end.
        source: says what to make the file from.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no CSV, lacks a column, a reported one holds something else than finite
            numbers, or an architecture stands twice.
    """
    if first_existing([path]) is None:
        raise MissingDataError(f"{path} is missing; make it from {source} and put it at {path}")
    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is no CSV file: {error}") from None
    for name in (architecture, *reported):
        if name not in frame.columns:
            raise DataError(f"{path} has no column {name!r}; {nearest(name, frame.columns)}")
    texts = frame[architecture].astype(str)
    twice = texts[texts.duplicated()]
    if len(twice):
        raise DataError(f"{path}: {twice.iloc[0]!r} stands twice in column {architecture!r}")
    columns = {
        str(name): frame[name].to_numpy(np.float64)
        for name in frame.columns
        if name != architecture and pd.api.types.is_numeric_dtype(frame[name])
    }
    for name in reported:
        if name not in columns or not np.isfinite(columns[name]).all():
            raise DataError(f"{path}: column {name!r} must hold a finite number in every row")
    return Table({text: row for row, text in enumerate(texts)}, columns, tuple(reported))
