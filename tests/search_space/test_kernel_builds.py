"""Which build of the kernels is loaded, and that all of them, and none, compute the same."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from search_space import kernels
from search_space.kernels import Depthwise, compiled
from search_space.spaces.darts import Darts
from search_space.task import Task

Absent = Callable[[str], None]
MakeTask = Callable[..., Task]

# What torch calls a CPU's instructions, and the builds that such a CPU can run, best first.
RUNS = {
    "AVX512": ("_avx512", "_avx2", "_baseline"),
    "AVX2": ("_avx2", "_baseline"),
    "DEFAULT": ("_baseline",),
}


def built(name: str) -> Path | None:
    """Return the file of a build, if there is one."""
    folder = Path(kernels.__file__).parent
    paths = [folder / (name + suffix) for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    return next((path for path in paths if path.exists()), None)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forgets which library was loaded, before a test and after it."""
    compiled.library.cache_clear()
    compiled.available.cache_clear()
    yield
    compiled.library.cache_clear()
    compiled.available.cache_clear()


@pytest.fixture
def elsewhere(fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the builds are looked for; it is empty."""
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    return tmp_path


def results(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return results and gradients of all kernels, on maps that fill several vectors and a part."""
    torch.manual_seed(0)
    x = torch.randn(4, 7, 5, 37, dtype=dtype, requires_grad=True)
    weight = torch.randn(3, 4, 9 + 25, dtype=dtype, requires_grad=True)
    shift = torch.randn(4, dtype=dtype, requires_grad=True)
    found = []
    for stride in (1, 2):
        y = kernels.depthwise(x, weight, Depthwise((3, 5), stride=stride), shift)
        z = kernels.depthwise(y, weight, Depthwise((3, 5), shared=False, dilation=2))
        pooled = kernels.pools(x, stride)
        loss = z.square().sum() + pooled.square().sum()
        found += [y, z, pooled, *torch.autograd.grad(loss, (x, weight, shift))]
    return found


def test_there_are_compiled_kernels_where_there_is_a_compiler(absent: Absent) -> None:
    if shutil.which("g++") is None:
        absent("there is no g++ to build kernels with")
    if built("_baseline") is None:
        absent("no kernels were built at installation")
    assert compiled.available()


@pytest.mark.parametrize("name", RUNS["AVX512"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_every_build_that_this_cpu_can_run_computes_what_plain_torch_does(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = built(name)
    if path is None:
        pytest.skip(f"{name} was not built at installation")
    if name not in RUNS.get(torch.backends.cpu.get_cpu_capability(), ()):
        pytest.skip(f"this CPU cannot run {name}")
    with kernels.in_plain_torch():
        wanted = results(dtype)
    library = ctypes.CDLL(os.fspath(path))
    monkeypatch.setattr(compiled, "available", lambda: True)
    monkeypatch.setattr(compiled, "library", lambda: library)
    for ours, theirs in zip(results(dtype), wanted, strict=True):
        error = float((ours - theirs).detach().norm() / theirs.detach().norm())
        assert error < (1e-13 if dtype is torch.float64 else 1e-5)


@pytest.mark.parametrize("capability", RUNS)
def test_no_build_is_loaded_that_the_cpu_has_no_instructions_for(
    capability: str, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if built("_baseline") is None:
        pytest.skip("no kernels were built at installation")
    if len(RUNS[capability]) > len(RUNS.get(torch.backends.cpu.get_cpu_capability(), ())):
        pytest.skip(f"this CPU does not have {capability}")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    best = next(path for name in RUNS[capability] if (path := built(name)) is not None)
    library = compiled.library()
    assert library is not None
    assert Path(library._name) == best


def test_an_unknown_cpu_gets_the_build_that_needs_nothing(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = built("_baseline")
    if path is None:
        pytest.skip("no kernels were built at installation")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "SVE256")
    library = compiled.library()
    assert library is not None
    assert Path(library._name) == path


def test_two_threads_compute_exactly_what_one_does() -> None:
    if compiled.library() is None:
        pytest.skip("no compiled kernels were built at installation")
    one = results()
    try:
        torch.set_num_threads(2)
        two = results()
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_without_a_build_one_warning_says_so_and_results_are_the_same(elsewhere: Path) -> None:
    with pytest.warns(UserWarning, match="not built at installation") as caught:
        without = results()
    assert len(caught) == 1
    assert "plain torch" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results(torch.float32)
    path = built("_baseline")
    if path is None:
        pytest.skip("no kernels were built at installation that could be compared")
    shutil.copy(path, elsewhere)
    compiled.library.cache_clear()
    compiled.available.cache_clear()
    assert compiled.available()
    for ours, theirs in zip(results(), without, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-11)


def test_a_build_that_cannot_be_loaded_is_named_and_passed_over(elsewhere: Path) -> None:
    name = "_baseline" + importlib.machinery.EXTENSION_SUFFIXES[0]
    (elsewhere / name).write_bytes(b"not a library")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kernels.pools(torch.zeros(1, 2, 2, 1))
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert messages[0].startswith(f"cannot load {name}")
    assert "not built" in messages[1]


def test_numbers_and_places_that_no_build_is_for_need_none(elsewhere: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        half = kernels.pools(torch.ones(1, 2, 2, 1, dtype=torch.bfloat16))
        wide = kernels.depthwise(torch.ones(1, 9, 9, 1), torch.ones(1, 1, 81), Depthwise((9,)))
    assert half.dtype == torch.bfloat16
    assert float(wide[0, 0, 0, 4, 4, 0]) == 81


@pytest.mark.parametrize("stride", [1, 2])
def test_shapes_are_known_without_computing(stride: int) -> None:
    x, weight = torch.empty(2, 7, 4, 5, device="meta"), torch.empty(3, 2, 34, device="meta")
    y = kernels.depthwise(x, weight, Depthwise((3, 5), stride=stride))
    z = kernels.depthwise(y, weight, Depthwise((3, 5), shared=False))
    size = (4, 2) if stride == 2 else (7, 4)
    assert y.shape == z.shape == (3, 2, 2, *size, 5)
    assert kernels.pools(x, stride).shape == (2, 2, *size, 5)
    assert {y.device.type, z.device.type, kernels.pools(x).device.type} == {"meta"}


def test_a_supernet_without_a_build_is_the_same_supernet(make_task: MakeTask) -> None:
    torch.manual_seed(0)
    supernet = Darts().supernet(make_task((1, 8, 8)), channels=4, layers=3).double()
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    found = []
    for context in (contextlib.nullcontext(), kernels.in_plain_torch()):
        with context:
            y = supernet(x)
            found.append([y, *torch.autograd.grad(y.square().sum(), list(supernet.parameters()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
