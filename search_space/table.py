"""Published results: what others measured of every architecture of a space, to be looked up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.shelf import nearest


class TableError(LookupError):
    """A table has no such column, or no row for an architecture; the message says what it has."""


@dataclass(frozen=True)
class Table:
    """Columns of numbers, with a row for each architecture, by its published text form.

    Args:
        rows: number of the row of each architecture.
        columns: ``[rows]`` numbers each; NaN where the table has none.
        reported: columns that say how good an architecture is in the end, as a test split does; the
            first is what results are compared by. Search code gets a table without them.
    """

    rows: Mapping[str, int]
    columns: Mapping[str, NDArray[np.float64]]
    reported: tuple[str, ...] = ()

    def value(self, architecture: str, column: str) -> float:
        """Return a number of the table. Raises TableError."""
        return float(self.column(column)[self._row(architecture)])

    def column(self, name: str) -> NDArray[np.float64]:
        """Return a column. Raises TableError."""
        if name not in self.columns:
            hint = nearest(name, self.columns)
            raise TableError(f"the table has no column {name!r} that can be searched on; {hint}")
        return self.columns[name]

    def report(self, architecture: str) -> dict[str, float]:
        """Return what the table reports of an architecture, by column. Raises TableError."""
        return {name: self.value(architecture, name) for name in self.reported}

    def best(self, higher_is_better: bool) -> float:
        """Return the best number of the first reported column: what a search can reach at most."""
        values = self.column(self.reported[0])
        return float(np.nanmax(values) if higher_is_better else np.nanmin(values))

    def without_report(self) -> Table:
        """Return the table as search code may see it."""
        columns = {n: c for n, c in self.columns.items() if n not in self.reported}
        return Table(self.rows, columns)

    def digest(self) -> bytes:
        """Return a digest of the content."""
        sha = hashlib.sha256(repr((list(self.rows.items()), self.reported)).encode())
        for name, values in sorted(self.columns.items()):
            sha.update(name.encode() + values.tobytes())
        return sha.digest()

    def _row(self, architecture: str) -> int:
        if architecture not in self.rows:
            example = next(iter(self.rows), "nothing")
            raise TableError(
                f"the table has no row for {architecture!r:.200}; it has {len(self.rows):,} rows "
                f"such as {example!r:.200}"
            )
        return self.rows[architecture]
