"""Analyses: questions to a store, answered from it alone. One file is one question.

A file defines ``table(store, *, ...) -> DataFrame`` and ``figure(store, *, ...) -> str``, an SVG.
The keyword arguments, the same of both, are the analysis' parameters, with types and defaults.
"""

from __future__ import annotations

from types import ModuleType

from search_space.shelf import Shelf


def _analysis(module: ModuleType) -> ModuleType:
    missing = [name for name in ("table", "figure") if not callable(getattr(module, name, None))]
    if missing:
        raise LookupError(f"it must define {' and '.join(missing)}")
    return module


ANALYSES = Shelf(__name__, "analysis", _analysis)
