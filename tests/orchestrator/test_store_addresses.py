"""Where a store can be: folders, buckets, and what cannot be written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator._files import Folder
from orchestrator.errors import StoreError
from orchestrator.store import Store
from store_rows import metric, silently


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
