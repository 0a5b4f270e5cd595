"""Perturbation: an edge keeps the operation whose removal hurts the supernet most.

Wang, Cheng, Chen, Tang, Hsieh: Rethinking Architecture Selection in Differentiable NAS, ICLR 2021
(DARTS-PT), algorithm 1. Edges are decided one by one in a random order: every operation is removed
in turn, the others keeping their weights, and the supernet is measured on the architecture's half;
then the weights train on without what was dropped. At the end every node keeps, likewise, the two
edges whose removal hurts most.

Deviations: between two decisions the weights train for some batches and not some epochs, and the
architecture stays as it is; ``none`` is never chosen; no more than ``examples`` are measured on;
equal metrics are told apart by the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pydantic
import torch

from search_space.mixture import Mixture, edges
from searchers._architecture import KINDS, Architecture
from searchers._base import StrictParams
from searchers._chance import stream
from searchers._passes import Evaluation
from searchers.selections._base import Bench, Selection

# Edges into a node of a discrete cell.
INPUTS = 2

# What all of it takes, in epochs of training, about.
_EFFORT = 2.0

Question = tuple[str, str, int]
"""What is decided: "edge" or "node", the kind of cell, the number of the edge or node."""

Option = tuple[int, int]
"""What is removed: the number of an edge, and a column of its mask; of all columns: -1."""


class Perturbation(Selection):
    """Asks the supernet about each operation and each edge instead of reading weights."""

    class Params(StrictParams):
        """How much is measured and tuned; the paper tunes for epochs."""

        examples: int = pydantic.Field(1024, ge=1, description="that a removal is judged by")
        tuning: int = pydantic.Field(25, ge=0, description="batches between two decisions")
        rate: float = pydantic.Field(0.1, gt=0, description="of tuning, of the search's own")

    mixed: ClassVar[bool] = True
    smoke: ClassVar[dict[str, Any]] = {"examples": 4, "tuning": 1}

    def begin(self, bench: Bench) -> None:
        self.questions = questions(bench)
        self.answered = 0
        self.tuned = self.params.tuning  # nothing was dropped yet
        self.found: list[list[float]] = []
        self._judge(bench)

    def _judge(self, bench: Bench) -> None:
        rows = bench.architecture_rows[: self.params.examples]
        split = bench.task.train.rows(rows.to(bench.device))
        self.judge = Evaluation(bench.task, split)

    @property
    def finished(self) -> bool:
        return self.answered == len(self.questions) and self.tuned == self.params.tuning

    @property
    def share(self) -> float:
        return (self.answered + 0.5 * self.tuned / max(1, self.params.tuning)) / (
            len(self.questions) + 0.5
        )

    @property
    def effort(self) -> float:
        return _EFFORT

    def advance(self, bench: Bench) -> None:
        if self.tuned < self.params.tuning:
            bench.tune(self.params.rate)
            self.tuned += 1
            return
        question = self.questions[self.answered]
        choices = options(bench.architecture, question)
        if len(choices) > wanted(question):
            self._measure(bench, question, choices[len(self.found)])
            if len(self.found) < len(choices):
                return
            self.tuned = 0
        self._answer(bench, question, choices)
        self.found = []
        self.answered += 1

    def _measure(self, bench: Bench, question: Question, option: Option) -> None:
        mixtures = without(bench.architecture, question[1], option)
        bench.charge(mixtures, self.judge.next_rows)
        self.judge.advance(bench.network, lambda inputs: bench.network(inputs, mixtures))
        if self.judge.finished:
            score, loss = self.judge.results()
            better = 1.0 if bench.task.metric.higher_is_better else -1.0
            self.found.append([-better * score, loss])
            self.judge.restart()

    def _answer(self, bench: Bench, question: Question, choices: Sequence[Option]) -> None:
        """Keep what was missed most: by the metric, then by the loss, then the first."""
        kept = list(choices)
        if self.found:
            ranked = sorted(range(len(choices)), key=lambda i: ([-x for x in self.found[i]], i))
            kept = [choices[i] for i in ranked[: wanted(question)]]
        mask = bench.architecture.mask(question[1])
        for row, column in choices:
            if (row, column) not in kept:
                mask[row, slice(None) if column < 0 else column] = False
        if bench.architecture.none is not None and question[0] == "edge":
            row = question[2]
            mask[row] &= bench.architecture.kept(question[1])[row] != bench.architecture.none

    def state_dict(self) -> dict[str, Any]:
        return {
            "answered": self.answered,
            "tuned": self.tuned,
            "found": [list(pair) for pair in self.found],
            "judge": self.judge.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], bench: Bench) -> None:
        self.begin(bench)
        self.answered, self.tuned = state["answered"], state["tuned"]
        self.found = [list(pair) for pair in state["found"]]
        self.judge.load_state_dict(state["judge"])


def questions(bench: Bench) -> list[Question]:
    """Return every edge in random order, then every node in random order, of all kinds of cell."""
    kinds = [kind for kind in KINDS if kind in bench.network.kinds]
    nodes = bench.network.nodes
    every = [("edge", kind, row) for kind in kinds for row in range(len(edges(nodes)))]
    last = [("node", kind, node) for kind in kinds for node in range(nodes)]
    generator = stream(bench.seed, "perturbation")
    found: list[Question] = []
    for part in (every, last):
        found += [part[i] for i in torch.randperm(len(part), generator=generator).tolist()]
    return found


def wanted(question: Question) -> int:
    """Return how many options stay: one operation of an edge, two edges of a node."""
    return 1 if question[0] == "edge" else INPUTS


def options(architecture: Architecture, question: Question) -> list[Option]:
    """Return what can be removed to answer a question."""
    what, kind, number = question
    mask, kept = architecture.mask(kind), architecture.kept(kind)
    if what == "edge":
        columns = mask[number].nonzero().flatten().tolist()
        return [(number, c) for c in columns if int(kept[number, c]) != architecture.none]
    rows = [row for row, (node, _) in enumerate(edges(architecture.nodes)) if node == number]
    return [(row, -1) for row in rows if bool(mask[row].any())]


def without(architecture: Architecture, kind: str, option: Option) -> dict[str, Mixture]:
    """Return the mixtures that lack one operation of an edge, or an edge; nothing else changes."""
    mixtures, (row, column) = architecture.expected(), option
    before = mixtures[kind]
    choices = [tuple(before.computed(i)) for i in range(len(before.weights))]
    number = None if column < 0 else int(architecture.kept(kind)[row, column])
    choices[row] = tuple(i for i in choices[row] if number is not None and i != number)
    bypass = before.bypass
    if column < 0 and bypass is not None:
        bypass = bypass.index_fill(0, torch.tensor([row], device=bypass.device), 0.0)
    mixtures[kind] = Mixture(before.weights, bypass, tuple(choices))
    return mixtures
