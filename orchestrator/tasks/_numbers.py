"""Tables of numbers in text files: read fast, and say exactly where one is wrong."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from search_space.task import DataError

Columns = dict[str, NDArray[np.float64]]


def read_numbers(path: Path, columns: int) -> NDArray[np.float64]:
    """Read ``[rows, columns]`` separated by blanks; ``#`` starts a comment.

    Raises:
        DataError: a wrong number of columns, a text, NaN or infinity, or no row at all; names the
            file, the line or row and the column.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on a file without data
            # Latin-1 reads any byte, so that a file that is no text ends below as a bad number.
            rows = np.loadtxt(path, ndmin=2, encoding="latin-1")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    except ValueError as error:
        raise DataError(_fault(path, columns) or f"{path} cannot be read ({error})") from error
    if rows.size == 0:
        raise DataError(f"{path} holds no data; replace it")
    if rows.shape[1] != columns:
        raise DataError(_fault(path, columns) or f"{path} does not have {columns} columns")
    wrong = np.argwhere(~np.isfinite(rows))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{path}, row {row} (from 0), column {column}: {rows[row, column]}; "
            "every number must be finite"
        )
    return rows


def read_columns(path: Path, columns: Mapping[str, tuple[str, ...]]) -> Columns:
    """Read named columns of a file of comma-separated values with a header; packed by gzip or not.

    Args:
        path: ``.csv``, or ``.csv.gz`` where it is packed.
        columns: what to read, and how else each may be called in the header.

    Returns:
        ``[rows]`` for each of ``columns``, NaN where a field is empty. The first row stands in line
        2 of the file.

    Raises:
        DataError: it cannot be read, lacks a column, has no row, or a field is no number; names the
            file and what is wrong.
    """
    header = _header(path)
    found = {}
    for column, others in columns.items():
        names = [name for name in (column, *others) if name in header]
        if not names:
            has = ", ".join(header)[:200]
            raise DataError(f"{path} has no column {column!r}; its first line is {has!r}")
        found[column] = names[0]
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(found.values(), pa.float64()),
        include_columns=list(found.values()),
    )
    try:
        table = csv.read_csv(path, convert_options=convert)
    except (OSError, pa.ArrowException):
        try:  # again in order: only then the message says in which row it is
            table = csv.read_csv(path, csv.ReadOptions(use_threads=False), convert_options=convert)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read ({error}); replace it") from error
    if table.num_rows == 0:
        raise DataError(f"{path} holds no data; replace it")
    return {column: table[name].to_numpy() for column, name in found.items()}


def check_column(
    path: Path, rows: Columns, column: str, good: NDArray[np.bool_], allowed: str
) -> None:
    """Raise DataError for the first row of :func:`read_columns` that is not ``good``."""
    if not good.all():
        row = np.flatnonzero(~good)[0]
        value = rows[column][row]
        raise DataError(f"{path}, line {row + 2}, {column}: {value:.10g}; allowed: {allowed}")


def _header(path: Path) -> list[str]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(10_000)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); replace it") from error
    return [name.strip().strip('"') for name in line.decode("latin-1").split(",")]


def _fault(path: Path, columns: int) -> str | None:
    """Return what is wrong in the first line that is."""
    with path.open(encoding="latin-1") as file:
        for number, line in enumerate(file, start=1):
            words = line.partition("#")[0].split()
            for column, word in enumerate(words):
                try:
                    float(word)
                except ValueError:
                    return f"{path}, line {number}, column {column}: {word[:40]!r} is no number"
            if words and len(words) != columns:
                return f"{path}, line {number}: {len(words)} columns, expected {columns}"
    return None
