"""Fixed: the search has all its epochs, as in Liu et al. 2019."""

from __future__ import annotations

from searchers._base import StrictParams
from searchers.stopping._base import Stopping


class Fixed(Stopping):
    """Never stops."""

    class Params(StrictParams):
        """Fixed has no parameters."""
