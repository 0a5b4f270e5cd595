"""Fixtures of all tests: where the sample data lies, and what happens where it does not."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch

Absent = Callable[[str], NoReturn]


@pytest.fixture(scope="session")
def absent() -> Absent:
    """Ends a test whose data is not there, for the reason given: ``absent("no mnist")``.

    A skip, which NAS_REQUIRE_DATA=1 turns into a failure, so that a machine that should have the
    data cannot pass by having lost it.
    """

    def end(reason: str) -> NoReturn:
        if os.environ.get("NAS_REQUIRE_DATA") == "1":
            pytest.fail(f"NAS_REQUIRE_DATA=1 and {reason}", pytrace=False)
        pytest.skip(reason)

    return end


@pytest.fixture(scope="session")
def data_path() -> Path:
    """Folder of the sample data, which may not exist: NAS_TEST_DATA, or beside the checkout."""
    given = os.environ.get("NAS_TEST_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_root(data_path: Path, absent: Absent) -> Path:
    """Folder of the sample data; skips where there is none."""
    if not data_path.is_dir():
        absent(f"there is no sample data at {data_path}; NAS_TEST_DATA says where it is")
    return data_path


@pytest.fixture(scope="session")
def sample(data_root: Path, absent: Absent) -> Callable[[str], Path]:
    """Returns the folder of sample data where it holds what is asked for: ``sample("mnist")``."""

    def find(name: str) -> Path:
        if not (data_root / name).is_dir():
            absent(f"there is no {name} in {data_root}")
        return data_root

    return find


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses every download, as a machine without a network does."""

    def refuse(address: str, **_: object) -> NoReturn:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small convolutions are many times slower on several threads that share a core."""
    torch.set_num_threads(1)
