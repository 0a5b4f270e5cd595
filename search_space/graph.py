"""Graphs: how an architecture that is not made of cells is laid out for a drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Box(NamedTuple):
    """A box of a drawing: its text and, where it computes something, the name of the operation.

    The operation decides the colour; a box without one is white.
    """

    label: str
    operation: str | None = None


@dataclass(frozen=True)
class Graph:
    """Boxes and arrows between them, by their numbers, from the first input to the output."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]
