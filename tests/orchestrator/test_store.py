"""The store, in a folder and on S3: tables give back what was written, each row once."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestrator._schemas import IDENTITY, SCHEMAS
from orchestrator.errors import StoreError
from orchestrator.store import Store
from store_rows import metric, silently

NOON = datetime(2024, 5, 17, 12, 0, 0, 123456, tzinfo=timezone.utc)

# Values that a table must give back as they were, by the type of the column.
VALUES: dict[pa.DataType, list[Any]] = {
    pa.string(): ["a", "Ä\n,\"'", "", None],
    pa.int64(): [0, 2**62, -1, None],
    pa.float64(): [0.1, 1e300, float("inf"), None],
    pa.timestamp("us", tz="UTC"): [NOON, NOON, NOON, None],
}


def attempt(key: str, number: int, outcome: str, **more: Any) -> dict[str, Any]:
    """Return a row of the table of jobs."""
    return {"key": key, "attempt": number, "outcome": outcome, **more}


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
