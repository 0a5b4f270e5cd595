"""Samplers by name, as the tests of all of them make them."""

from __future__ import annotations

import pytest

from search_space.space import SearchSpace
from searchers import METHODS, Sampler

SAMPLERS = [name for name in METHODS.names() if issubclass(METHODS.load(name), Sampler)]


def make_sampler(name: str, space: SearchSpace, seed: int = 0) -> Sampler:
    """Make a sampler by its smoke parameters; skip the test where it needs a missing library."""
    cls = METHODS.load(name)
    try:
        return cls(space, cls.Params(**cls.smoke), seed=seed)
    except ImportError as error:
        pytest.skip(str(error))
