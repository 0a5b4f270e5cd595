"""Looking a result up: a program of a single step, for tasks that are tables of results."""

from __future__ import annotations

from typing import Any

from searchers._base import Measurement, Outcome, Program, Report


class Lookup(Program):
    """Has its outcome already.

    Args:
        outcome: what it is.
        measured: further numbers of the test split, by name.
    """

    def __init__(self, outcome: Outcome, measured: dict[str, float] | None = None):
        self._outcome, self._measured = outcome, measured or {}
        self._progress = 0.0

    @property
    def progress(self) -> float:
        return self._progress

    def step(self) -> Report:
        self._progress = 1.0
        return Report(
            tuple(Measurement(0, 0, "test", name, value) for name, value in self._measured.items())
        )

    def state_dict(self) -> dict[str, Any]:
        return {"progress": self._progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._progress = state["progress"]

    def outcome(self) -> Outcome:
        return self._outcome
