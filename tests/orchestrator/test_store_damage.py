"""A store with damage: parts that are cut, strange or old, and writes that die."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.store import DamagedPartWarning, Store
from store_rows import metric, parquet, silently


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
