"""The store: append-only tables of write-once Parquet parts, in a folder or on S3."""

from __future__ import annotations

import io
import re
import uuid
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from orchestrator._files import Folder
from orchestrator._schemas import IDENTITY, SCHEMAS
from orchestrator.errors import StoreError
from orchestrator.jobs import FINISHED
from search_space.shelf import nearest

Rows = Sequence[Mapping[str, Any]]


class DamagedPartWarning(UserWarning):
    """A part of the store could not be read and was left out."""


class Store:
    """Results of jobs: ``jobs``, ``metrics``, ``genotypes``, ``architecture_weights`` and more.

    Parts are named for what they hold, so that writing one again replaces it; nothing is ever
    changed in place and readers drop rows that a retry wrote twice. It needs no cluster.

    Args:
        url: a folder, or ``s3://bucket/prefix`` (credentials and endpoint from the usual AWS
            environment variables).

    Raises:
        StoreError: the address is not one of these.
    """

    def __init__(self, url: str = "results"):
        self.url = url
        try:
            self.folder = Folder(url)
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot open the store {url}: {error}") from None

    def check_writable(self) -> None:
        """Write and delete a probe. Raises StoreError."""
        probe = f"probe-{uuid.uuid4().hex}"
        try:
            self.folder.write(probe, b"")
            self.folder.remove(probe)
        except OSError as error:
            raise StoreError(
                f"cannot write to the store {self.url}: {error}; "
                "give another one with --store, or `store:` in the plan"
            ) from None

    def add(self, table: str, part: str, rows: Rows) -> None:
        """Write ``rows`` as the part called ``part``; the same name replaces it. Raises OSError."""
        content = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMAS[table]), content)
        self.folder.write(f"{table}/{part}.parquet", content.getvalue())

    def arrow(self, table: str) -> pa.Table:
        """Return all rows of a table, each once. Damaged parts are named in a warning.

        Raises:
            StoreError: no such table, or the store cannot be reached.
        """
        if table not in SCHEMAS:
            raise _no_table(table)
        try:
            names = [f"{table}/{name}" for name in self.folder.names(table)]
        except OSError as error:
            raise StoreError(f"cannot read the store {self.url}: {error}") from None
        rows = self._read([name for name in names if name.endswith(".parquet")], table)
        return _distinct(rows, IDENTITY[table])

    def table(self, table: str) -> pd.DataFrame:
        """Return all rows of a table, each once, as a data frame."""
        return self.arrow(table).to_pandas()

    def sql(self, query: str) -> pd.DataFrame:
        """Run a DuckDB query over the tables, by their names.

        >>> Store("results").sql("select kind, count(*) from jobs group by kind")  # doctest: +SKIP
        """
        with duckdb.connect() as connection:
            for table in SCHEMAS:
                if re.search(rf"\b{table}\b", query, re.IGNORECASE):
                    connection.register(table, self.arrow(table))
            try:
                found = connection.execute(query)
                if found is None:
                    raise StoreError("the query is empty")
                return found.df()
            except duckdb.Error as error:
                if missing := re.match(r"Catalog Error: Table with name (.+?) does", str(error)):
                    raise _no_table(missing[1]) from None
                reason = "; ".join(str(error).partition("\n\n")[0].splitlines())
                raise StoreError(f"the query failed: {reason}") from None

    def jobs(self) -> pd.DataFrame:
        """Return one row for each job: its finished attempt if there is one, else the latest."""
        rows = self.table("jobs")
        order = rows.assign(finished_well=rows["outcome"].isin(FINISHED))
        order = order.sort_values(["finished_well", "attempt"], kind="stable")
        best = order.drop_duplicates("key", keep="last").sort_index()
        return best.drop(columns="finished_well").reset_index(drop=True)

    def genotype(self, key: str) -> str | None:
        """Return the genotype, as JSON, whose key begins with ``key``, or None.

        Raises:
            StoreError: the beginning fits several.
        """
        rows = self.table("genotypes")
        rows = rows[rows["key"].str.startswith(key)]
        if len(rows) > 1:
            raise StoreError(f"{key!r} is the beginning of {len(rows)} genotypes; give more of it")
        return None if rows.empty else str(rows["genotype"].iloc[0])

    def _read(self, names: list[str], table: str) -> pa.Table:
        schema = SCHEMAS[table]
        if not names:
            return schema.empty_table()
        paths = [self.folder.path(name) for name in names]
        try:
            dataset = ds.dataset(
                paths, schema=schema, format="parquet", filesystem=self.folder.system
            )
            rows = dataset.to_table()
            # Nulls there come from a part that is none of this table.
            if not any(rows[name].null_count for name in IDENTITY[table]):
                return rows
        except (OSError, pa.ArrowException):
            pass
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda path: self._read_part(path, table), paths))
        return pa.concat_tables([schema.empty_table(), *(p for p in parts if p is not None)])

    def _read_part(self, path: str, table: str) -> pa.Table | None:
        schema = SCHEMAS[table]
        try:
            part = pq.read_table(path, filesystem=self.folder.system)
            missing = [name for name in IDENTITY[table] if name not in part.column_names]
            if missing:
                raise pa.ArrowInvalid(f"it has no column {missing[0]!r}")
            columns = [
                part[f.name].cast(f.type)
                if f.name in part.column_names
                else pa.nulls(len(part), f.type)
                for f in schema
            ]
            return pa.table(columns, schema=schema)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            message = f"left out a damaged part of the store: {path} ({reason})"
            warnings.warn(message, DamagedPartWarning, stacklevel=2)
            return None


def _no_table(name: str) -> StoreError:
    return StoreError(f"no table {name!r}; {nearest(name.lower(), SCHEMAS)}")


def _distinct(rows: pa.Table, identity: list[str]) -> pa.Table:
    """Keep the last of the rows that agree in the columns ``identity``."""
    frame = rows.select(identity).to_pandas()
    twice = frame.duplicated(keep="last")
    return rows.filter(pa.array(~twice)) if twice.any() else rows
