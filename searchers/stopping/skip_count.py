"""Skip-count: ends when a derived cell has too many skip connections.

Liang, Zhang, Sun, He, Huang, Zhuang, Li: DARTS+: Improved Differentiable Architecture Search with
Early Stopping, 2019, section 3.3, criterion 1: two or more in one normal cell.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from searchers._base import StrictParams
from searchers.stopping._base import Evidence, Stopping


class SkipCount(Stopping):
    """Stops after the first epoch whose normal cell has ``skips`` skip connections or more."""

    class Params(StrictParams):
        """The paper's number."""

        skips: int = pydantic.Field(2, ge=1)

    smoke: ClassVar[dict[str, Any]] = {"skips": 1}

    def decide(self, evidence: Evidence) -> int | None:
        nodes = evidence.cells["normal"].nodes
        skips = sum(edge.operation == "skip_connect" for node in nodes for edge in node)
        return 0 if skips >= self.params.skips else None
