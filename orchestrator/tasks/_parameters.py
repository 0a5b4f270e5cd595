"""Parameters of a task: check a choice, and name a task by what differs from the defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

from search_space.shelf import nearest
from search_space.task import DataError, Task

T = TypeVar("T")


def choose(parameter: str, value: str, allowed: Mapping[str, T]) -> T:
    """Return what ``value`` stands for.

    Raises:
        DataError: it is not among ``allowed``; names the nearest.
    """
    if value not in allowed:
        raise DataError(f"{parameter} is {value!r}; {nearest(value, allowed)}")
    return allowed[value]


def task_name(load: Callable[..., Task], **parameters: object) -> str:
    """Return the entry's name, with those of ``parameters`` that differ from ``load``'s defaults.

    ``graphene_kirigami``, or ``graphene_kirigami(resolution=fine)``.
    """
    defaults = {name: p.default for name, p in inspect.signature(load).parameters.items()}
    changed = [f"{name}={value}" for name, value in parameters.items() if value != defaults[name]]
    entry = load.__module__.rpartition(".")[2]
    return f"{entry}({', '.join(changed)})" if changed else entry
