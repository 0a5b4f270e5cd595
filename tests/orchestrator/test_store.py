"""The store, in a folder and on S3: written whole, read whatever else is damaged, each row once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator._files import Folder
from orchestrator._schemas import IDENTITY, SCHEMAS
from orchestrator.errors import StoreError
from orchestrator.store import DamagedPartWarning, Store

NOON = datetime(2024, 5, 17, 12, 0, 0, 123456, tzinfo=timezone.utc)

# Values that a table must give back as they were, by the type of the column.
VALUES: dict[pa.DataType, list[Any]] = {
    pa.string(): ["a", "Ä\n,\"'", "", None],
    pa.int64(): [0, 2**62, -1, None],
    pa.float64(): [0.1, 1e300, float("inf"), None],
    pa.timestamp("us", tz="UTC"): [NOON, NOON, NOON, None],
}


@pytest.fixture
def store(store_url: str) -> Store:
    """A store that is not there yet, in a folder and in a bucket."""
    return Store(store_url)


def metric(job: str, step: int, value: float, name: str = "loss") -> dict[str, Any]:
    """Return a row of the table of metrics."""
    return {"job": job, "step": step, "epoch": 1, "split": "valid", "name": name, "value": value}


def attempt(key: str, number: int, outcome: str, **more: Any) -> dict[str, Any]:
    """Return a row of the table of jobs."""
    return {"key": key, "attempt": number, "outcome": outcome, **more}


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


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_table_gives_back_what_was_written(table: str, store: Store) -> None:
    schema = SCHEMAS[table]
    rows = [{field.name: VALUES[field.type][i] for field in schema} for i in range(4)]
    store.add(table, "all", rows)
    read = store.arrow(table)
    assert read.schema == schema
    assert read.to_pylist() == rows


def test_parts_of_a_table_are_read_together(store: Store) -> None:
    for i in range(5):
        store.add("metrics", f"part-{i}", [metric(f"job{i}", s, i + s) for s in range(3)])
    read = silently(store, "metrics")
    assert sorted(zip(read["job"], read["step"], read["value"], strict=True)) == [
        (f"job{i}", s, float(i + s)) for i in range(5) for s in range(3)
    ]


def test_a_store_that_is_not_there_has_empty_tables_and_is_not_made_by_reading(
    store: Store,
) -> None:
    for table, schema in SCHEMAS.items():
        read = silently(store, table)
        assert read.empty
        assert list(read.columns) == schema.names
    assert store.jobs().empty
    assert store.genotype("abc") is None
    assert store.sql("select count(*) as n from jobs")["n"].tolist() == [0]
    if store.folder.local:
        assert not Path(store.url).exists()


def test_a_part_with_no_rows_changes_nothing(store: Store) -> None:
    store.add("metrics", "none", [])
    store.add("metrics", "one", [metric("a", 1, 0.5)])
    assert silently(store, "metrics")["job"].tolist() == ["a"]


def test_a_part_of_the_same_name_is_replaced(store: Store) -> None:
    store.add("metrics", "part", [metric("a", 1, 0.5), metric("a", 2, 0.25)])
    store.add("metrics", "part", [metric("a", 1, 0.75)])
    read = silently(store, "metrics")
    assert read[["step", "value"]].to_numpy().tolist() == [[1, 0.75]]


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_row_that_a_retry_wrote_again_is_read_once_in_its_last_form(
    table: str, store: Store
) -> None:
    schema, identity = SCHEMAS[table], IDENTITY[table]
    first = {field.name: VALUES[field.type][0] for field in schema}
    again = {f.name: VALUES[f.type][0 if f.name in identity else 1] for f in schema}
    store.add(table, "part-0", [first])
    store.add(table, "part-1", [again, again])
    assert store.arrow(table).to_pylist() == [again]


@pytest.mark.parametrize("table", SCHEMAS)
def test_rows_that_differ_in_any_part_of_their_identity_are_all_kept(
    table: str, store: Store
) -> None:
    schema = SCHEMAS[table]
    first = {field.name: VALUES[field.type][0] for field in schema}
    rows = [first]
    rows += [{**first, name: VALUES[schema.field(name).type][1]} for name in IDENTITY[table]]
    store.add(table, "part", rows)
    assert store.arrow(table).to_pylist() == rows


def damage(good: bytes, kind: str) -> bytes:
    """Return the content of a damaged part."""
    if kind == "truncated":
        return good[: len(good) // 2]
    if kind == "without its end":
        return good[:-1]
    if kind == "empty":
        return b""
    if kind == "garbage":
        return b"this is no Parquet file at all" * 10
    if kind == "overwritten in the middle":
        return good[:8] + bytes(len(good) - 60) + good[-52:]
    if kind == "another type":
        return parquet(pa.table({"job": ["x"], "step": ["one"], "value": [["a", "list"]]}))
    assert kind == "another table"
    return parquet(pa.table({"colour": ["red"], "price": [3]}))


@pytest.mark.parametrize(
    "kind",
    [
        "truncated",
        "without its end",
        "empty",
        "garbage",
        "overwritten in the middle",
        "another type",
        "another table",
    ],
)
def test_a_damaged_part_is_named_and_left_out_and_all_others_are_read(
    kind: str, store: Store
) -> None:
    for i in range(4):
        store.add("metrics", f"part-{i}", [metric(f"job{i}", 1, i)])
    good = store.folder.read("metrics/part-2.parquet")
    store.folder.write("metrics/part-2.parquet", damage(good, kind))
    with pytest.warns(DamagedPartWarning) as caught:
        read = store.table("metrics")
    assert sorted(read["job"]) == ["job0", "job1", "job3"]
    (said,) = [str(warning.message) for warning in caught]
    assert "metrics/part-2.parquet" in said
    assert "\n" not in said


def test_several_damaged_parts_are_each_named(store: Store) -> None:
    for i in range(4):
        store.add("metrics", f"part-{i}", [metric(f"job{i}", 1, i)])
    for i in (0, 3):
        store.folder.write(f"metrics/part-{i}.parquet", b"no")
    with pytest.warns(DamagedPartWarning) as caught:
        read = store.table("metrics")
    assert sorted(read["job"]) == ["job1", "job2"]
    said = " ".join(str(warning.message) for warning in caught)
    assert "part-0" in said
    assert "part-3" in said


def test_when_every_part_is_damaged_the_table_is_empty(store: Store) -> None:
    store.folder.write("jobs/a.parquet", b"no")
    with pytest.warns(DamagedPartWarning, match=r"jobs/a\.parquet"):
        assert store.jobs().empty


def test_a_damaged_part_of_one_table_does_not_touch_another(store: Store) -> None:
    store.add("metrics", "part", [metric("a", 1, 0.5)])
    store.folder.write("jobs/a.parquet", b"no")
    assert len(silently(store, "metrics")) == 1


def test_an_older_part_without_a_column_is_read_with_nulls(store: Store) -> None:
    store.add("metrics", "new", [metric("a", 1, 0.5)])
    old = pa.table({n: [metric("b", 2, 0.25)[n]] for n in ("job", "step", "split", "name")})
    store.folder.write("metrics/old.parquet", parquet(old))
    read = silently(store, "metrics").set_index("job")
    assert read.loc["b", "step"] == 2
    assert np.isnan(read.loc["b", "value"])
    assert read.loc["a", "value"] == 0.5


def test_an_older_part_without_a_column_is_read_beside_a_damaged_one(store: Store) -> None:
    old = pa.table({n: [metric("b", 2, 0.25)[n]] for n in ("job", "step", "split", "name")})
    store.folder.write("metrics/old.parquet", parquet(old))
    store.folder.write("metrics/bad.parquet", b"no")
    with pytest.warns(DamagedPartWarning, match="bad"):
        read = store.table("metrics")
    assert read["job"].tolist() == ["b"]
    assert np.isnan(read["value"].iloc[0])


def test_a_part_with_a_column_more_or_in_another_order_is_read(store: Store) -> None:
    row = {**metric("a", 1, 0.5), "colour": "red"}
    later = pa.Table.from_pylist([dict(reversed(row.items()))])
    store.folder.write("metrics/later.parquet", parquet(later))
    assert silently(store, "metrics").to_dict("records") == [metric("a", 1, 0.5)]


def test_files_that_are_no_parts_are_left_alone(store: Store) -> None:
    store.add("metrics", "part", [metric("a", 1, 0.5)])
    store.folder.write("metrics/README.txt", b"hello")
    store.folder.write("metrics/more/deep.parquet", b"no")
    assert len(silently(store, "metrics")) == 1


CRASH = """
import os, sys
from orchestrator._files import Folder


class Dies:
    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        return self

    def __exit__(self, *error):
        raise SystemError("not reached")

    def write(self, content):
        self.stream.write(content[: len(content) // 2])
        if hasattr(self.stream, "flush"):
            self.stream.flush()
        os._exit(9)


class System:
    def __init__(self, system):
        self.system = system

    def create_dir(self, *given, **named):
        self.system.create_dir(*given, **named)

    def open_output_stream(self, path):
        return Dies(self.system.open_output_stream(path))


url, name = sys.argv[1:]
folder = Folder(url)
folder.system = System(folder.system)
folder.write(name, b"x" * 1000)
"""


def test_a_write_that_dies_in_the_middle_leaves_what_was_there(
    store: Store, tmp_path: Path
) -> None:
    store.add("metrics", "part", [metric("a", 1, 0.5)])
    script = tmp_path / "crash.py"
    script.write_text(textwrap.dedent(CRASH), "utf-8")
    root = Path(__file__).resolve().parents[2]
    for name in ("part", "another"):
        ended = subprocess.run(
            [sys.executable, str(script), store.url, f"metrics/{name}.parquet"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 9, ended.stderr
    assert silently(store, "metrics").to_dict("records") == [metric("a", 1, 0.5)]
    assert store.folder.names("metrics") == ["part.parquet"]


def test_a_disk_that_is_full_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "results"))
    store.add("metrics", "part", [metric("a", 1, 0.5)])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orchestrator._files.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        store.add("metrics", "part", [metric("a", 1, 0.75)])
    assert silently(store, "metrics").to_dict("records") == [metric("a", 1, 0.5)]


def test_an_unknown_table_is_answered_with_all_names(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.table("job")
    assert "no table 'job'" in str(caught.value)
    assert all(table in str(caught.value) for table in SCHEMAS)


@pytest.mark.parametrize(
    ("name", "near"),
    [("job", "jobs"), ("metric", "metrics"), ('"genotype"', "genotypes"), ("MEMBER", "members")],
)
def test_a_query_of_a_misspelt_table_is_answered_with_the_nearest_and_all_names(
    name: str, near: str, store: Store
) -> None:
    with pytest.raises(StoreError) as caught:
        store.sql(f"select * from {name} where value = 3")
    written = name.strip('"')
    assert f"no table '{written}'; did you mean '{near}'" in str(caught.value)
    assert all(table in str(caught.value) for table in SCHEMAS)
    assert "\n" not in str(caught.value)


def test_a_query_may_write_tables_in_capitals(store: Store) -> None:
    store.add("metrics", "part", [metric("a", 1, 0.5)])
    assert store.sql("SELECT COUNT(*) AS n FROM METRICS")["n"].tolist() == [1]


def test_a_query_joins_tables_by_their_names(store: Store) -> None:
    store.add("jobs", "a", [attempt("a", 0, "done", kind="search")])
    store.add("jobs", "b", [attempt("b", 0, "bug", kind="candidate")])
    store.add("metrics", "a", [metric("a", s, 1 / s) for s in (1, 2, 4)])
    store.add("genotypes", "g", [{"key": "g", "space": "darts", "genotype": "{}", "text": "t"}])
    found = store.sql(
        "select kind, count(*) as n, min(value) as least, "
        "(select count(*) from genotypes) as genotypes "
        "from jobs join metrics on metrics.job = jobs.key group by kind"
    )
    assert found.to_dict("records") == [{"kind": "search", "n": 3, "least": 0.25, "genotypes": 1}]


def test_a_query_sees_each_row_once(store: Store) -> None:
    for i in range(2):
        store.add("metrics", f"part-{i}", [metric("a", 1, 0.5)])
    assert store.sql("select count(*) as n from metrics")["n"].tolist() == [1]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("selec 1", "selec"),
        ("select colour from jobs", "colour"),
        ("select * from job", "job"),
        ("select 1 +", "syntax"),
        ("", "query"),
    ],
)
def test_a_query_that_fails_is_one_clean_line(query: str, said: str, store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.sql(query)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_job_counts_with_its_finished_attempt_else_with_the_latest(store: Store) -> None:
    rows = [
        attempt("finished first", 0, "done", score=0.5),
        attempt("finished first", 1, "bug", score=0.1),
        attempt("diverged", 0, "lost"),
        attempt("diverged", 1, "diverged"),
        attempt("diverged", 2, "out_of_memory"),
        attempt("failed", 0, "bug"),
        attempt("failed", 10, "lost"),
        attempt("failed", 9, "bad_input"),
        attempt("twice", 0, "done", score=0.25),
        attempt("twice", 1, "done", score=0.75),
    ]
    for i, row in enumerate(rows):
        store.add("jobs", f"part-{i:02d}", [row])
    found = store.jobs().set_index("key")
    assert found.index.is_unique
    assert found["attempt"].to_dict() == {
        "finished first": 0,
        "diverged": 1,
        "failed": 10,
        "twice": 1,
    }
    assert found.loc["twice", "score"] == 0.75
    assert list(store.jobs().columns) == SCHEMAS["jobs"].names


def test_a_genotype_is_found_by_the_beginning_of_its_key(store: Store) -> None:
    for key in ("abc1", "abd2", "f"):
        row = {"key": key, "space": "darts", "genotype": f'"{key}"', "text": key}
        for part in range(2):
            store.add("genotypes", f"{key}-{part}", [row])
    assert store.genotype("abc") == '"abc1"'
    assert store.genotype("abc1") == '"abc1"'
    assert store.genotype("f") == '"f"'
    assert store.genotype("bc") is None
    with pytest.raises(StoreError, match="'ab' is the beginning of 2 genotypes"):
        store.genotype("ab")


def test_the_beginning_of_a_key_is_no_pattern(store: Store) -> None:
    row = {"key": "abc", "space": "darts", "genotype": "{}", "text": "t"}
    store.add("genotypes", "a", [row])
    assert store.genotype("a.c") is None


def test_a_store_can_be_tried_and_keeps_nothing_of_it(store: Store) -> None:
    store.check_writable()
    assert store.folder.names("") == []


def test_a_file_that_is_removed_twice_is_no_error(store: Store) -> None:
    store.folder.write("checkpoints/a/1", b"1")
    for name in ("checkpoints/a/1", "checkpoints/a/1", "checkpoints/a", "checkpoints"):
        store.folder.remove(name)
    assert store.folder.names("checkpoints/a") == []


def unwritable(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Return a URL that nobody can write to, not even root."""
    (tmp_path / "file").write_text("", "utf-8")
    if place == "no such bucket":
        request.getfixturevalue("s3")
        return "s3://nobody-made-this-bucket/results"
    return {"a file": f"{tmp_path}/file", "under a file": f"{tmp_path}/file/results"}.get(
        place, "/proc/results"
    )


@pytest.mark.parametrize("place", ["a file", "under a file", "proc", "no such bucket"])
def test_a_store_that_cannot_be_written_is_one_line_that_says_what_to_do(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = unwritable(place, tmp_path, request)
    with pytest.raises(StoreError) as caught:
        Store(url).check_writable()
    assert url in str(caught.value)
    assert "--store" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://host/results", "s3://", "https://host/results", "gs://bucket/results", ""]
)
def test_an_address_that_is_neither_a_folder_nor_s3_is_refused(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert "s3://" in str(caught.value)


def test_a_slash_at_the_end_of_an_address_changes_nothing(store_url: str) -> None:
    Store(f"{store_url}/").add("metrics", "a", [metric("a", 1, 0.5)])
    assert len(silently(Store(store_url), "metrics")) == 1


def test_a_whole_bucket_can_be_a_store(s3: str) -> None:
    Store(s3).add("decisions", "a", [{"key": "a", "name": "n", "value": 0.5}])
    assert silently(Store(f"{s3}/"), "decisions")["key"].tolist() == ["a"]


def test_a_folder_may_be_given_from_home_or_as_a_file_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Store("~/results").add("metrics", "a", [metric("a", 1, 0.5)])
    for url in (str(tmp_path / "results"), f"file://{tmp_path}/results"):
        assert len(silently(Store(url), "metrics")) == 1


def test_a_folder_with_blanks_quotes_and_other_letters_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my 'résults' %20 [red] #1"
    store = Store(str(folder))
    store.add("metrics", "a", [metric("a", 1, 0.5)])
    assert len(silently(Store(str(folder)), "metrics")) == 1
    assert (folder / "metrics" / "a.parquet").is_file()


def test_what_is_being_written_is_not_listed(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("metrics/a.parquet", b"1")
    (tmp_path / "metrics" / ".b.parquet.123-abc").write_bytes(b"half")
    assert folder.names("metrics") == ["a.parquet"]
