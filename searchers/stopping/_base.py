"""The contract of a stopping rule: when a search ends, and which epoch's architecture it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from search_space.genotype import Cell
from searchers._base import StrictParams
from searchers.selections import Bench


@dataclass(frozen=True)
class Evidence:
    """What is known at the end of an epoch: its number, from 1, and the cells derived then."""

    epoch: int
    cells: Mapping[str, Cell]


class Stopping:
    """Looks at a search after every epoch and says when it should end; this one never does.

    ``mixed``: it needs a supernet that is trained on mixtures, not on single paths.
    """

    class Params(StrictParams):
        """Parameters of the rule; the paper's numbers are the defaults."""

    mixed: ClassVar[bool] = False
    smoke: ClassVar[dict[str, Any]] = {}

    def __init__(self, params: Any):
        self.params = params

    @property
    def memory(self) -> int:
        """How many epochs back the architecture can lie that it wants to keep."""
        return 0

    @property
    def finished(self) -> bool:
        """Whether this epoch's measuring is done."""
        return True

    @property
    def share(self) -> float:
        """Share of this epoch's measuring that is done."""
        return 1.0

    def advance(self, bench: Bench) -> None:
        """Do one batch of this epoch's measuring."""

    def decide(self, evidence: Evidence) -> int | None:
        """Return None to go on, or end with the architecture of so many epochs before (0: this).

        Called once an epoch, when :attr:`finished`; the next epoch's measuring begins after it.
        """
        return None

    def told(self) -> dict[str, float]:
        """Return what was measured, by name, for the report of the epoch just decided."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later decisions depend on."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to what :meth:`state_dict` returned."""
