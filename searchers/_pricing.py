"""Costs of candidates, counted or measured, and the limits that none of them may break."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pydantic
import torch

from search_space.cost import cost, count_parameters
from search_space.genotype import Genotype
from search_space.measure import latency, peak_memory
from search_space.space import SearchSpace
from search_space.task import DataError, Task
from searchers._base import Sampler, StrictParams

# So many candidates in a row that break a limit end the search: where one in 100 keeps it, so many
# in a row that don't are drawn by chance once in 150 times.
REDRAWS = 500

# Candidates whose counts are remembered; searches of one study come back to the same ones.
_REMEMBERED = 1 << 15


class LimitError(DataError):
    """No candidate within the limits could be found; says by how much they were missed."""


class Limits(StrictParams):
    """The most that a network may cost; what is not given is not limited."""

    parameters: float | None = pydantic.Field(None, gt=0)
    multiply_adds: float | None = pydantic.Field(None, gt=0, description="of one example")
    peak_memory: float | None = pydantic.Field(None, gt=0, description="bytes, one example")
    latency: float | None = pydantic.Field(None, gt=0, description="seconds, one example on a CPU")

    def given(self) -> dict[str, float]:
        """Return the limits that were given, by name."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True)
class Blueprint:
    """What decides the costs of a genotype: its space, the shapes of a task, and a size."""

    space: SearchSpace
    shape: tuple[int, ...]
    outputs: tuple[int, bool]
    channels: int
    layers: int
    task: Task = field(compare=False, repr=False)

    @classmethod
    def of(cls, space: SearchSpace, task: Task, size: tuple[int, int]) -> Blueprint:
        """Return the blueprint of networks of ``size``, channels and layers."""
        return cls(space, task.shape, (task.output.size, task.output.dense), *size, task=task)

    def build(self, genotype: Genotype) -> torch.nn.Module:
        """Build a network without weights, on the meta device."""
        with torch.device("meta"):
            return self.space.build(genotype, self.task, channels=self.channels, layers=self.layers)


@functools.lru_cache(maxsize=_REMEMBERED)
def _parameters(blueprint: Blueprint, genotype: Genotype) -> float:
    return float(count_parameters(blueprint.build(genotype)))


@functools.lru_cache(maxsize=_REMEMBERED)
def _multiply_adds(blueprint: Blueprint, genotype: Genotype) -> float:
    return float(cost(blueprint.build(genotype), blueprint.task).multiply_adds)


@functools.lru_cache(maxsize=_REMEMBERED)
def _memory(blueprint: Blueprint, genotype: Genotype) -> float:
    return float(peak_memory(blueprint.build(genotype), blueprint.task))


_COUNTED: dict[str, Callable[[Blueprint, Genotype], float]] = {
    "parameters": _parameters,
    "multiply_adds": _multiply_adds,
    "peak_memory": _memory,
}


class Pricing:
    """The costs of candidates, by name: ``pricing(genotype)``.

    Args:
        blueprint: of their networks.
        names: of the costs to tell; counting and measuring takes time.
        measured: latencies that were measured before, by genotype key. A measurement is never
            repeated, so that what hangs on it stays as it is.
        remember: called with (genotype key, latency) for each new measurement.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        names: Iterable[str],
        measured: Callable[[str], float | None],
        remember: Callable[[str, float], None],
    ):
        self.blueprint, self.names = blueprint, tuple(names)
        self.measured, self.remember = measured, remember

    def __call__(self, genotype: Genotype) -> dict[str, float]:
        return {name: self._price(name, genotype) for name in self.names}

    def _price(self, name: str, genotype: Genotype) -> float:
        if name == "latency":
            known = self.measured(genotype.key)
            if known is None:
                known = latency(self.blueprint.build(genotype), self.blueprint.task)
                self.remember(genotype.key, known)
            return known
        return _COUNTED[name](self.blueprint, genotype)


class Admission:
    """Asks a sampler until it proposes a candidate within the limits.

    One that breaks a limit is never handed out; the sampler is told that it failed.

    Args:
        sampler: who proposes.
        limits: by name.
        pricings: of the networks that are built of a candidate, each of which has to keep the
            limits: as it is scored, and as it is evaluated in the end.
    """

    def __init__(self, sampler: Sampler, limits: Mapping[str, float], pricings: Sequence[Pricing]):
        self.sampler, self.limits, self.pricings = sampler, limits, pricings

    def ask(self) -> Genotype | None:
        """Return the next candidate, or None where the sampler has no more.

        Raises:
            LimitError: too many candidates in a row break the limits.
        """
        nearest: tuple[float, str] = (float("inf"), "")
        for _ in range(REDRAWS):
            genotype = self.sampler.ask()
            if genotype is None:
                return None
            broken = self._broken(genotype)
            if broken is None:
                return genotype
            nearest = min(nearest, broken)
            self.sampler.tell(genotype, float("-inf"))
        raise LimitError(
            f"{REDRAWS} candidates in a row break a limit, the nearest one {nearest[1]}; raise the "
            "limit, or make networks smaller (channels and layers of the estimator and of "
            "`evaluate`)"
        )

    def _broken(self, genotype: Genotype) -> tuple[float, str] | None:
        """Return how many times over its limit a candidate is, and in words; None if within."""
        for pricing in self.pricings if self.limits else ():
            costs = pricing(genotype)
            for name, most in self.limits.items():
                if costs[name] > most:
                    return costs[name] / most, f"with {name} {costs[name]:.6g} of at most {most:g}"
        return None
