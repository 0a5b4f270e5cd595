"""Argmax: of each node the two edges whose best operation weighs most, with that operation.

Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, ICLR 2019, section 2.4.
"""

from __future__ import annotations

from searchers._base import StrictParams
from searchers.selections._base import Selection


class Argmax(Selection):
    """The selection of the paper, by weights alone."""

    class Params(StrictParams):
        """Argmax has no parameters."""
