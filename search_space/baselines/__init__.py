"""Baselines: hand-designed networks, and models that are not networks. One file is one baseline.

A file defines ``build(task) -> nn.Module``, or one class under :class:`Predictor`.
"""

from types import ModuleType
from typing import Any

from search_space.baselines._predictor import Predictor
from search_space.shelf import Shelf, only_subclass


def _entry(module: ModuleType) -> Any:
    """Return ``build`` where a file defines it, else its Predictor."""
    return module.build if hasattr(module, "build") else only_subclass(module, Predictor)


BASELINES = Shelf(__name__, "baseline", _entry)
