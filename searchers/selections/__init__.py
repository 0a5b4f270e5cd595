"""Selections: from a trained supernet to an architecture. One file is one selection."""

from search_space.shelf import Shelf, only_subclass
from searchers.selections._base import Bench, Selection

SELECTIONS = Shelf(__name__, "selection", lambda module: only_subclass(module, Selection))

__all__ = ["SELECTIONS", "Bench", "Selection"]
