"""Stopping rules: when a search ends before its epochs do. One file is one rule."""

from search_space.shelf import Shelf, only_subclass
from searchers.stopping._base import Evidence, Stopping

STOPPING = Shelf(__name__, "stopping rule", lambda module: only_subclass(module, Stopping))

__all__ = ["STOPPING", "Evidence", "Stopping"]
