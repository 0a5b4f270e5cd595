"""Penalties: a term on the architecture beside the validation loss. One file is one penalty."""

from search_space.shelf import Shelf, only_subclass
from searchers.penalties._base import Penalty

PENALTIES = Shelf(__name__, "penalty", lambda module: only_subclass(module, Penalty))

__all__ = ["PENALTIES", "Penalty"]
