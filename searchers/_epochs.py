"""Epoch after epoch: what a training and a one-shot search have in common."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_space.task import Task
from searchers._base import ArchitectureWeight, Deadline, Measurement, Program, Report
from searchers._passes import Evaluation, Pass

# A backward pass costs about two forward passes (gradients of weights and of activations).
PASSES_OF_A_STEP = 3

Row = tuple[str, str, float]
"""Split, name and value of a measurement."""


class EpochProgram(Program):
    """A program that trains ``network`` in epochs and measures it on the validation split.

    The last epoch's validation metric is the score: nothing is chosen by looking at the curve. A
    loss that is not finite ends the program at the next step boundary or, where steps are long,
    before the epoch is measured; what is measured and counted is the same either way.

    Whoever derives from it sets ``network``, ``task``, ``batches`` (of an epoch) and ``valid``,
    calls :meth:`_begin`, and says in :meth:`_train` what is done with a batch.
    """

    network: nn.Module
    task: Task
    batches: Pass
    valid: Evaluation

    def _begin(self, device: torch.device) -> None:
        """Stand before the first epoch."""
        self.epoch = 0
        self.loss = torch.zeros((), device=device)  # sum over the batches of this epoch
        self.score = float("nan")
        self.diverged = False

    @abc.abstractmethod
    def _train(self, rows: Tensor) -> Tensor:
        """Take a training step on the examples ``rows`` and return their loss, detached."""

    def _measure(self) -> bool:
        """Do one batch of what is measured after an epoch; return whether all of it is done."""
        self.valid.advance(self.network)
        return self.valid.finished

    def _remarks(self) -> Sequence[Row]:
        """Return what else the finished epoch has to say."""
        return ()

    def _weights(self) -> Sequence[ArchitectureWeight]:
        """Return the architecture's weights at the end of an epoch."""
        return ()

    def _after_epoch(self) -> None:
        """Do what follows a finished epoch, when it has been measured; it takes no time."""

    def _advance(self) -> Report | None:
        """Do one batch of work; return a report where that ended something."""
        return self._advance_epoch()

    def step(self) -> Report:
        deadline = Deadline()
        while True:
            report = self._advance()
            if report is not None:
                return report
            if deadline.over or self.done:
                break
        if not torch.isfinite(self.loss):
            self.diverged = True
        return Report()

    def _advance_epoch(self) -> Report | None:
        if not self.batches.finished:
            self.loss += self._train(self.batches.next())
            if self.batches.finished and not torch.isfinite(self.loss):
                # As in a shorter step, which would have seen it in the middle of the epoch.
                self.diverged = True
                return Report()
            return None
        return self._end_epoch() if self._measure() else None

    def _end_epoch(self) -> Report:
        found = self.valid.measured()
        self.score = found[self.task.metric.name]
        self.epoch += 1
        self.diverged = not math.isfinite(found["loss"])
        rows = (
            ("train", "loss", float(self.loss) / self.batches.length),
            *self._remarks(),
            *(("valid", name, value) for name, value in found.items()),
        )
        report = self._report(rows, tuple(self._weights()))
        self.batches.restart()
        self.valid.restart()
        self.loss.zero_()
        self._after_epoch()
        return report

    def _report(self, rows: Sequence[Row], weights: tuple[ArchitectureWeight, ...] = ()) -> Report:
        step = self.epoch * self.batches.length
        return Report(tuple(Measurement(step, self.epoch, *row) for row in rows), weights)

    def _record(self) -> dict[str, Any]:
        """Return the part of the state that is kept here."""
        return {
            "batches": self.batches.state_dict(),
            "valid": self.valid.state_dict(),
            "epoch": self.epoch,
            "loss": self.loss,
            "score": self.score,
            "diverged": self.diverged,
        }

    def _load_record(self, state: dict[str, Any]) -> None:
        self.batches.load_state_dict(state["batches"])
        self.valid.load_state_dict(state["valid"])
        self.epoch, self.score = state["epoch"], state["score"]
        self.loss, self.diverged = state["loss"].to(self.loss.device), state["diverged"]
