"""Checks of parameters that several search spaces have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from search_space.genotype import GenotypeError
from search_space.shelf import nearest


def at_least(least: int, **given: int) -> None:
    """Raise ValueError where a parameter is smaller than ``least``."""
    for name, value in given.items():
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")


def different_names(what: str, given: Sequence[str], allowed: Iterable[str]) -> None:
    """Raise ValueError unless ``given`` holds one or more of ``allowed``, each once."""
    allowed = list(allowed)
    for name in given:
        if name not in allowed:
            raise ValueError(f"unknown {what} {name!r}; {nearest(name, allowed)}")
    if not given or len(set(given)) < len(given):
        raise ValueError(f"{what}s must be different, and at least one; given: {list(given)}")


def index_of(what: str, given: object, allowed: Sequence[str]) -> int:
    """Return the place of ``given`` among ``allowed``. Raises GenotypeError."""
    if not isinstance(given, str) or given not in allowed:
        raise GenotypeError(f"unknown {what} {given!r}; {nearest(given, allowed)}")
    return allowed.index(given)
