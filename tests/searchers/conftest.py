"""Fixtures of the searchers' tests: programs run to their end, and compared bit for bit."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from search_space.task import Split, Task
from searchers._base import STEP_SECONDS, ArchitectureWeight, Measurement, Outcome, Program

Drive = Callable[..., "Trace"]
Differences = Callable[[Any, Any], list[str]]

# More steps than any program of the tests has.
ENDLESS = 500


@dataclass
class Trace:
    """What a program did from where it stood to its end."""

    program: Program
    measurements: list[Measurement] = field(default_factory=list)
    weights: list[ArchitectureWeight] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)  # before the first step, after each step
    states: list[bytes] = field(default_factory=list)  # after each step, where they were asked for

    @property
    def outcome(self) -> Outcome:
        return self.program.outcome()

    @property
    def end(self) -> dict[str, Any]:
        """All that a program leaves behind: two runs are one if this is equal bit for bit."""
        return {
            "state": self.program.state_dict(),
            "outcome": self.outcome,
            "measurements": self.measurements,
            "weights": self.weights,
            "progress": self.program.progress,
        }


def save(program: Program) -> bytes:
    """Return a program's state as a checkpoint holds it."""
    content = io.BytesIO()
    torch.save(program.state_dict(), content)
    return content.getvalue()


def load(program: Program, state: bytes) -> Program:
    """Give ``program`` the state of a checkpoint, read as checkpoints are read."""
    program.load_state_dict(torch.load(io.BytesIO(state), weights_only=True, map_location="cpu"))
    return program


@contextmanager
def step_seconds(seconds: float) -> Iterator[None]:
    token = STEP_SECONDS.set(seconds)
    try:
        yield
    finally:
        STEP_SECONDS.reset(token)


def _drive(
    program: Program,
    *,
    seconds: float = 0.0,
    fresh: Callable[[], Program] | None = None,
    between: Callable[[], object] | None = None,
    states: bool = False,
) -> Trace:
    trace = Trace(program, progress=[program.progress])
    with step_seconds(seconds):
        while not trace.program.done:
            report = trace.program.step()
            trace.measurements += report.measurements
            trace.weights += report.weights
            trace.progress.append(trace.program.progress)
            assert len(trace.progress) < ENDLESS, "it goes round in circles"
            if between is not None:
                between()
            if states or fresh is not None:
                trace.states.append(save(trace.program))
            if fresh is not None:
                trace.program = load(fresh(), trace.states[-1])
                assert trace.program.progress == trace.progress[-1], "after a restart"
    return trace


@pytest.fixture(scope="session")
def drive() -> Drive:
    """Runs a program to its end and returns its :class:`Trace`.

    ``seconds`` is the length of a step: 0 makes one batch of it. ``between`` is called after every
    step. With ``states`` the state after every step is kept. With ``fresh``, which makes the
    program anew, the run is killed after every step, the last one too, and another one goes on.
    """
    return _drive


@pytest.fixture(scope="session")
def resume() -> Callable[[Program, bytes], Program]:
    """Gives a program the state of a checkpoint and returns it: ``resume(program, state)``."""
    return load


@pytest.fixture(scope="session")
def differences() -> Differences:
    """Lists where two nests of plain values, tensors and records are not equal bit for bit."""

    def compare(a: Any, b: Any) -> list[str]:
        return list(_differences(a, b, ""))

    return compare


def _differences(a: Any, b: Any, path: str) -> Iterator[str]:
    if type(a) is not type(b):
        yield f"{path}: {type(a).__name__} and {type(b).__name__}"
    elif isinstance(a, Tensor):
        if a.dtype != b.dtype or a.shape != b.shape or not torch.equal(_bits(a), _bits(b)):
            yield path
    elif dataclasses.is_dataclass(a):
        for item in dataclasses.fields(a):
            one, other = getattr(a, item.name), getattr(b, item.name)
            yield from _differences(one, other, f"{path}.{item.name}")
    elif isinstance(a, Mapping):
        if list(a) != list(b):
            yield f"{path}: keys {list(a)} and {list(b)}"
        for key in a.keys() & b.keys():
            yield from _differences(a[key], b[key], f"{path}[{key!r}]")
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            yield f"{path}: {len(a)} and {len(b)} items"
        for i, (one, other) in enumerate(zip(a, b, strict=False)):
            yield from _differences(one, other, f"{path}[{i}]")
    elif a != b and not (isinstance(a, float) and math.isnan(a) and math.isnan(b)):
        yield f"{path}: {a!r} and {b!r}"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


@pytest.fixture
def small_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes evaluations take three examples a batch, so that small splits have a middle."""
    monkeypatch.setattr("searchers._passes.EVALUATION_BATCH", 3)


@pytest.fixture
def textbook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes supernets compute as the textbook does, whose operations torch's counter knows."""
    monkeypatch.setattr("search_space.spaces.darts.faster", lambda supernet, task: supernet)


@pytest.fixture
def recorded() -> Callable[[Task], tuple[Task, list[tuple[list[int], Tensor, Tensor]]]]:
    """Makes a task give float64 and keep the training batches it gave: rows, inputs, targets."""

    def record(task: Task) -> tuple[Task, list[tuple[list[int], Tensor, Tensor]]]:
        batches = []

        class Recorded(Task):
            def batch(
                self, split: Split, indices: Tensor, generator: torch.Generator | None = None
            ) -> tuple[Tensor, Tensor]:
                inputs, targets = super().batch(split, indices, generator)
                inputs = inputs.double()
                targets = targets.double() if targets.is_floating_point() else targets
                if split is self.train:
                    batches.append((indices.tolist(), inputs, targets))
                return inputs, targets

        fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
        return Recorded(**fields), batches

    return record
