"""Tables of numbers in text files: read fast, and say exactly where one is wrong."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search_space.task import DataError


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
