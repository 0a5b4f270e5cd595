"""Fixtures of all tests: where the sample data lies, and small tasks of every shape and kind."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import Tensor

from search_space.task import Output, Split, Task, classes, dense, multilabel, regression

Absent = Callable[[str], NoReturn]
MakeTask = Callable[..., Task]

OUTPUTS: dict[str, Callable[[int], Output]] = {
    "classes": classes,
    "multilabel": multilabel,
    "regression": regression,
    "dense": dense,
}


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


def _targets(kind: str, size: int, inputs: Tensor) -> Tensor:
    """Return targets that the mean of the channels decides, so that they can be learned."""
    n, level = len(inputs), inputs.mean(dim=1)  # [N, *spatial]
    if kind == "dense":
        return torch.stack([level * (i + 1) for i in range(size)], dim=1)
    mean = level.flatten(1).mean(dim=1)
    rank = mean.argsort().argsort()
    if kind == "classes":
        return rank * size // n
    if kind == "multilabel":
        return torch.stack([(rank + i) % n < n // 2 for i in range(size)], dim=1).float()
    return torch.stack([mean * (i + 1) + i for i in range(size)], dim=1)


@pytest.fixture(scope="session")
def make_task() -> MakeTask:
    """Factory of tasks of ``n`` examples a split: ``make_task(shape, kind, n=8, seed=0, size=3)``.

    ``kind`` is "classes", "multilabel", "regression" or "dense"; ``size`` is the number of outputs.
    Every example has its own level, which shows in the inputs and decides the targets. Every split
    holds both values of every label and, with ``n >= size``, every class.
    """

    def make(
        shape: tuple[int, ...], kind: str = "classes", n: int = 8, seed: int = 0, size: int = 3
    ) -> Task:
        generator = torch.Generator().manual_seed(seed)

        def split() -> Split:
            inputs = torch.randn(n, *shape, generator=generator)
            inputs += 2 * torch.randn(n, *[1] * len(shape), generator=generator)
            return Split(inputs, _targets(kind, size, inputs))

        name = f"made_{kind}_{'x'.join(map(str, shape))}"
        return Task.of(name, OUTPUTS[kind](size), split(), split(), split())

    return make
