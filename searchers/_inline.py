"""A search within one trial: a sampler asks, an estimator scores, the sampler is told, in a loop.

For estimators whose scores take well under a second. Neither the sampler nor the estimator knows:
with the same seed the same candidates are asked for as when each is a trial of its own, one after
the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Task
from searchers._base import (
    Candidate,
    Deadline,
    Measurement,
    Outcome,
    Program,
    Report,
    Sampler,
)
from searchers._pricing import Admission, Blueprint, Pricing
from searchers.estimators._base import Estimator

# So many draws in a row that bring nothing new mean that the space is as good as exhausted: while
# one draw in 20 is of an unseen candidate, so many miss all of these once in 170 times.
DRAWS_WITHOUT_NEWS = 100


class InlineSearch(Program):
    """Spends a budget on the candidates of a sampler and ends with the best of them.

    A candidate that is drawn twice is scored once, and told and reported twice.

    Args:
        sampler: who chooses, from ``space``.
        estimator: who scores.
        task: without its test split.
        budget: one of ``samples`` (draws), ``compute`` (multiply-adds of different candidates) and
            ``seconds`` (by the clock); the draw that reaches it may overrun it.
        limits: the most that a candidate may cost, by name.
        evaluated: channels and layers of the network that is evaluated in the end, which has to
            keep the limits too.
        seed: of all chance in scoring.
        device: where the estimator computes.
    """

    def __init__(
        self,
        sampler: Sampler,
        estimator: Estimator,
        task: Task,
        *,
        budget: Mapping[str, float],
        limits: Mapping[str, float] | None = None,
        evaluated: tuple[int, int] | None = None,
        seed: int,
        device: torch.device,
    ):
        self.sampler, self.estimator, self.task = sampler, estimator, task
        self.space: SearchSpace = sampler.space
        (self.unit, self.budget), self.seed, self.device = *budget.items(), seed, device
        self.sign = 1.0 if task.metric.higher_is_better else -1.0
        self.latencies: dict[str, float] = {}
        limits = limits or {}
        sizes = dict.fromkeys([estimator.size, evaluated or estimator.size] if limits else [])
        pricings = [self._pricing(size, limits) for size in sizes]
        self.admission = Admission(sampler, limits, pricings)
        self.known: dict[str, Candidate] = {}  # by key; the first of each
        self.best: Candidate | None = None
        self.asked = self.stale = 0
        self.announced = self.compute = self.seconds = 0.0
        self.over = False

    def _pricing(self, size: tuple[int, int], names: Iterable[str]) -> Pricing:
        channels, layers = size

        def remember(key: str, value: float) -> None:
            self.latencies[f"{key} {channels} {layers}"] = value

        def measured(key: str) -> float | None:
            return self.latencies.get(f"{key} {channels} {layers}")

        return Pricing(Blueprint.of(self.space, self.task, size), names, measured, remember)

    @property
    def progress(self) -> float:
        if self.over:
            return 1.0
        spent = {"samples": self.asked, "compute": self.announced, "seconds": self.seconds}
        return min(0.999, spent[self.unit] / self.budget)

    def step(self) -> Report:
        deadline, scored, measured = Deadline(), list[Candidate](), list[Measurement]()
        while not self.over and not (scored and deadline.over):
            begun = time.monotonic()
            genotype = self.admission.ask()
            if genotype is None:
                self.over = True
                break
            scored.append(self._score(genotype, measured))
            if self.unit == "seconds":  # else the clock has no say in anything
                self.seconds += time.monotonic() - begun
            self.over = not self._more()
        return Report(tuple(measured), candidates=tuple(scored))

    def _more(self) -> bool:
        if self.unit == "samples":
            return self.asked < self.budget
        if self.stale >= DRAWS_WITHOUT_NEWS:
            return False
        return (self.announced if self.unit == "compute" else self.seconds) < self.budget

    def _score(self, genotype: Genotype, measured: list[Measurement]) -> Candidate:
        """Score a candidate, unless its score is known, and tell the sampler.

        What the estimator measures is added to ``measured``, under the candidate's step.
        """
        self.asked += 1
        self.stale += 1
        known = self.known.get(genotype.key)
        if known is None:
            self.stale = 0
            known = self.known[genotype.key] = self._run(genotype, measured)
            if math.isfinite(known.score) and (
                self.best is None or self.sign * known.score > self.sign * self.best.score
            ):
                self.best = known
        told = self.sign * known.score if math.isfinite(known.score) else -math.inf
        self.sampler.tell(genotype, told, known.costs)
        return Candidate(self.asked, genotype, known.score, known.outcome, known.costs)

    def _run(self, genotype: Genotype, measured: list[Measurement]) -> Candidate:
        self.announced += self.estimator.compute(self.space, genotype, self.task)
        program = self.estimator.program(
            self.space, genotype, self.task, seed=self.seed, device=self.device
        )
        try:
            while not program.done:
                told = program.step().measurements
                measured += [replace(one, step=self.asked) for one in told]
        except (MemoryError, torch.cuda.OutOfMemoryError):
            return Candidate(self.asked, genotype, math.nan, "out_of_memory", {})
        outcome = program.outcome()
        self.compute += outcome.compute
        counted = {"parameters": outcome.parameters, "multiply_adds": outcome.multiply_adds}
        costs = {name: float(count) for name, count in counted.items() if count > 0}
        if not costs.keys() >= set(self.sampler.weighs):
            costs = {**self._pricing(self.estimator.size, self.sampler.weighs)(genotype), **costs}
        kind = "diverged" if outcome.diverged else "done"
        return Candidate(self.asked, genotype, outcome.score, kind, costs)

    def outcome(self) -> Outcome:
        best = self.best
        score, genotype = (math.nan, None) if best is None else (best.score, best.genotype)
        return Outcome(score, genotype=genotype, compute=self.compute)

    def state_dict(self) -> dict[str, Any]:
        return {
            "sampler": self.sampler.state_dict(),
            "known": [_to_data(candidate) for candidate in self.known.values()],
            "best": None if self.best is None else self.best.genotype.key,
            "latencies": dict(self.latencies),
            **{name: getattr(self, name) for name in _COUNTERS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sampler.load_state_dict(state["sampler"])
        self.known = {(c := _from_data(data)).genotype.key: c for data in state["known"]}
        self.best = None if state["best"] is None else self.known[state["best"]]
        self.latencies.update(state["latencies"])
        for name in _COUNTERS:
            setattr(self, name, state[name])


_COUNTERS = ("asked", "stale", "announced", "compute", "seconds", "over")


def _to_data(candidate: Candidate) -> list[Any]:
    return [
        candidate.step,
        candidate.genotype.to_json(),
        candidate.score,
        candidate.outcome,
        dict(candidate.costs),
    ]


def _from_data(data: list[Any]) -> Candidate:
    step, genotype, score, outcome, costs = data
    return Candidate(step, Genotype.from_json(genotype), score, outcome, costs)
