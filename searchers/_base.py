"""The contracts of this floor: Program (work inside a trial) and Sampler (only chooses)."""

from __future__ import annotations

import abc
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

import pydantic
import torch

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Task

# A step of a program ends after the batch in which this much time is up, so that a two-minute
# notice of interruption always finds a step boundary. How long steps are changes no result.
STEP_SECONDS: ContextVar[float] = ContextVar("step_seconds", default=5.0)


class StrictParams(pydantic.BaseModel):
    """Parameters of an entry as they stand in a plan: frozen, unknown names refused.

    Numbers are finite: jobs are named by their JSON, which has no others. They are not written as
    true or false, which Python takes for 1 and 0.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @pydantic.field_validator("*", mode="wrap")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, handler: Any) -> Any:
        result = handler(value)
        if _turned(value, result):
            raise ValueError(f"must be a number, not true or false (given: {value!r:.60})")
        return result


def _turned(value: Any, result: Any) -> bool:
    """Whether a truth value, or one within a list or a mapping, was taken for a number."""
    if isinstance(value, bool):
        return isinstance(result, int | float) and not isinstance(result, bool)
    if isinstance(value, list | tuple) and isinstance(result, list | tuple):
        return any(map(_turned, value, result))
    if isinstance(value, Mapping) and isinstance(result, Mapping):
        return any(_turned(value[key], result[key]) for key in value.keys() & result.keys())
    return False


@dataclass(frozen=True)
class Measurement:
    """A number measured on a split after ``step`` optimiser steps, at the end of ``epoch``."""

    step: int
    epoch: int
    split: str
    name: str
    value: float


@dataclass(frozen=True)
class ArchitectureWeight:
    """The weight of one operation on one edge of a supernet's cell at the end of ``epoch``.

    ``edge`` is written "source->node" in state numbers (0 and 1 are the cell's inputs).
    """

    epoch: int
    cell: str
    edge: str
    operation: str
    weight: float


@dataclass(frozen=True)
class Candidate:
    """A candidate that a search has scored itself, the ``step``-th that it asked for, from 1.

    ``score`` is the task's metric, NaN where it failed; ``outcome`` says how: done, diverged or
    out_of_memory. ``costs`` are those that somebody wanted to know, by name.
    """

    step: int
    genotype: Genotype
    score: float
    outcome: str
    costs: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """What one step of a program has to say; empty in the middle of an epoch."""

    measurements: tuple[Measurement, ...] = ()
    weights: tuple[ArchitectureWeight, ...] = ()
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a finished program leaves behind.

    Args:
        score: the task's metric on the validation split; NaN where the program diverged.
        test: the metric on the test split, where the task came with one.
        genotype: what a search found.
        parameters, multiply_adds: of the network (a search: of its supernet); 0 if not a network.
        compute: multiply-adds spent in all, a backward pass counted as two forward ones; where it
            diverged, in the epochs that were finished.
        diverged: the loss stopped being finite. A result, not an error.
    """

    score: float
    test: float | None = None
    genotype: Genotype | None = None
    parameters: int = 0
    multiply_adds: int = 0
    compute: float = 0.0
    diverged: bool = False


class Program(abc.ABC):
    """Work that runs inside a trial, in steps of bounded length, and can be stopped after any.

    The same constructor arguments give the same sequence of states, whatever the length of the
    steps; a program that loads the ``state_dict`` of another goes on bit for bit like it.
    """

    @property
    @abc.abstractmethod
    def progress(self) -> float:
        """Share of the work that is done, from 0 to 1."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do and :meth:`outcome` can be asked for."""
        return self.progress >= 1.0

    @abc.abstractmethod
    def step(self) -> Report:
        """Do at least one batch of work, and no more than STEP_SECONDS and the batch begun then."""

    @abc.abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the work depends on: tensors and plain values."""

    @abc.abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""

    @abc.abstractmethod
    def outcome(self) -> Outcome:
        """Return the result of the finished work."""


class Search(Program):
    """A search that is itself a training run: it trains a supernet and ends with a genotype.

    Args:
        space: must have a supernet, or shared weights: what the method ``needs``.
        task: without its test split.
        params: the method's own ``Params``.
        seed: of all chance in it.
        device: where it computes.
    """

    class Params(StrictParams):
        """Parameters of the method; the paper's numbers are the defaults."""

    # What the space must have: the name of the method of SearchSpace that makes it.
    needs: ClassVar[Literal["supernet", "shared"]] = "supernet"

    # The smallest parameters that still exercise the method; for contract tests.
    smoke: ClassVar[dict[str, Any]] = {}

    @abc.abstractmethod
    def __init__(
        self, space: SearchSpace, task: Task, params: Any, *, seed: int, device: torch.device
    ): ...


# What is known of a candidate's costs where nobody says any.
NO_COSTS: Final[Mapping[str, float]] = MappingProxyType({})


class Sampler(abc.ABC):
    """A method that only chooses; somebody else scores its choices, in any order.

    Many can be asked for before the first is told, results come back in any order, one that was
    asked for may never be told, and one that was not may be: a store remembers other runs.

    Args:
        space: what to choose from.
        params: the method's own ``Params``.
        seed: of all chance in it.

    Raises:
        ValueError: it cannot choose from this space.
    """

    class Params(StrictParams):
        """Parameters of the method; the paper's numbers are the defaults."""

    smoke: ClassVar[dict[str, Any]] = {}

    # Whether scores change what is asked for next.
    guided: ClassVar[bool] = True

    def __init__(self, space: SearchSpace, params: Any, *, seed: int):
        self.space, self.params, self.seed = space, params, seed

    @property
    def weighs(self) -> tuple[str, ...]:
        """The names of the costs that it wants to be told; counting costs takes time."""
        return ()

    @abc.abstractmethod
    def ask(self) -> Genotype | None:
        """Return the next architecture to score, or None when there is none left."""

    @abc.abstractmethod
    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        """Take in a score, higher is better; minus infinity for a candidate that failed.

        Args:
            genotype: of the space.
            score: finite or minus infinity.
            costs: what is known of the candidate and should be low: ``parameters`` and
                ``multiply_adds`` (of one example), and where measured ``peak_memory`` (bytes) and
                ``latency`` (seconds). Empty where nothing is known, as of one that failed.
        """

    @abc.abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return everything that later choices depend on, as plain values."""

    @abc.abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""


class Deadline:
    """The end of a step: STEP_SECONDS after it was made."""

    def __init__(self) -> None:
        self.end = time.monotonic() + STEP_SECONDS.get()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.end
