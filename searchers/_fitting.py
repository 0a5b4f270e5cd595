"""Fitting of a baseline that is not a network, as a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from search_space.baselines._predictor import Predictor
from search_space.task import Split, Task
from searchers._base import Measurement, Outcome, Program, Report


class Fitting(Program):
    """Fit a predictor round by round, then score it on the validation and the test split.

    A checkpoint holds the number of rounds and the scores only, since a fitted model of another
    library can't be stored without pickle. Loading one fits those rounds again, which gives the
    same model.

    Args:
        make: makes the unfitted predictor, seeded.
        task: what to fit.
    """

    def __init__(self, make: Callable[[Task], Predictor], task: Task):
        self.make, self.task = make, task
        self.predictor = make(task)
        self.rounds = 0
        self.result: Outcome | None = None

    @property
    def progress(self) -> float:
        if self.result is not None:
            return 1.0
        return 0.999 * self.rounds / self.predictor.rounds

    def step(self) -> Report:
        if self.rounds < self.predictor.rounds:
            self.predictor.fit_round()
            self.rounds += 1
        if self.rounds < self.predictor.rounds:
            return Report()
        metric = self.task.metric.name
        valid = self._measure(self.task.valid)
        test = {} if self.task.test is None else self._measure(self.task.test)
        self.result = Outcome(score=valid[metric], test=test.pop(metric, None))
        rows = [("test", *item) for item in test.items()]  # its metric is in the outcome
        rows += [("valid", *item) for item in valid.items()]
        return Report(tuple(Measurement(self.rounds, 1, *row) for row in rows))

    def outcome(self) -> Outcome:
        assert self.result is not None, "outcome() before the program is done"
        return self.result

    def state_dict(self) -> dict[str, Any]:
        scores = None if self.result is None else [self.result.score, self.result.test]
        return {"rounds": self.rounds, "scores": scores}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.predictor = self.make(self.task)
        self.result = None
        for _ in range(state["rounds"]):
            self.predictor.fit_round()
        self.rounds = state["rounds"]
        if state["scores"] is not None:
            score, test = state["scores"]
            self.result = Outcome(score=score, test=test)

    def _measure(self, split: Split) -> dict[str, float]:
        inputs, targets = self.task.batch(split, torch.arange(len(split)))
        return self.task.measure(self.predictor.predict(inputs), targets)
