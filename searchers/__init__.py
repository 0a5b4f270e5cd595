"""Search methods: how to look. One file is one method, a Search (runs) or a Sampler (chooses)."""

from search_space.shelf import Shelf, only_subclass
from searchers._base import Outcome, Program, Report, Sampler, Search, StrictParams

METHODS = Shelf(__name__, "search method", lambda module: only_subclass(module, Search, Sampler))

__all__ = ["METHODS", "Outcome", "Program", "Report", "Sampler", "Search", "StrictParams"]
