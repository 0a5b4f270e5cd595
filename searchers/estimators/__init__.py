"""Estimators: how to score a candidate. One file is one estimator."""

from search_space.shelf import Shelf, only_subclass
from searchers.estimators._base import Estimator

ESTIMATORS = Shelf(__name__, "estimator", lambda module: only_subclass(module, Estimator))

__all__ = ["ESTIMATORS", "Estimator"]
