"""Relaxations: from architecture parameters to mixture weights. One file is one relaxation."""

from search_space.shelf import Shelf, only_subclass
from searchers.relaxations._base import Relaxation

RELAXATIONS = Shelf(__name__, "relaxation", lambda module: only_subclass(module, Relaxation))

__all__ = ["RELAXATIONS", "Relaxation"]
