"""The end of a search: a stopping rule, and the architectures that it can go back to."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from searchers._architecture import Architecture
from searchers.selections import Bench
from searchers.stopping import Evidence, Stopping


class Ending:
    """Asks ``rule`` after every epoch and keeps as many past architectures as it may want."""

    def __init__(self, rule: Stopping):
        self.rule = rule
        self.history: list[dict[str, Tensor]] = []
        self.verdict: int | None = None

    @property
    def finished(self) -> bool:
        """Whether this epoch's measuring is done."""
        return self.rule.finished

    def advance(self, bench: Bench) -> None:
        """Do one batch of this epoch's measuring."""
        self.rule.advance(bench)

    def ask(self, evidence: Evidence, architecture: Architecture) -> dict[str, float]:
        """Let the rule decide on an epoch; return what it measured, by name."""
        self.history.append({k: v.clone() for k, v in architecture.state_dict().items()})
        del self.history[: -self.rule.memory - 1]
        self.verdict = self.rule.decide(evidence)
        return self.rule.told()

    def stop(self, architecture: Architecture) -> bool:
        """Whether the rule said so; if it did, put back the architecture that it wants."""
        if self.verdict is None:
            return False
        # No further back than the stage's first epoch.
        back = min(self.verdict, len(self.history) - 1)
        architecture.load_state_dict(self.history[-1 - back])
        return True

    def forget(self) -> None:
        """Drop the past: another architecture begins."""
        self.history = []

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later verdicts depend on."""
        return {"rule": self.rule.state_dict(), "history": [dict(past) for past in self.history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to what :meth:`state_dict` returned."""
        self.rule.load_state_dict(state["rule"])
        self.history = [dict(past) for past in state["history"]]
