"""Mixtures: how much of each operation a supernet computes on each edge of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from search_space.genotype import Cell, Edge

# Edges into a node of a discrete cell.
INPUTS = 2


def edges(nodes: int) -> list[tuple[int, int]]:
    """List the edges of a cell as (node, source state), in the order of a mixture's rows."""
    return [(node, source) for node in range(nodes) for source in range(node + 2)]


@dataclass(frozen=True)
class Mixture:
    """What one kind of cell computes.

    Args:
        weights: ``[edges, operations]``, the factor of each operation's output.
        bypass: ``[edges]``, the factor of the channels that go round the operations where a
            supernet has such (PC-DARTS); ones where it is not given.
        active: for each edge the numbers of the operations that are computed at all; others add
            nothing, whatever their weight, and cost nothing. None: all.
    """

    weights: Tensor
    bypass: Tensor | None = None
    active: tuple[tuple[int, ...], ...] | None = None

    @classmethod
    def only(cls, choices: Sequence[Sequence[int]], weights: Tensor) -> Mixture:
        """The mixture in which each edge computes no more than its ``choices``."""
        return cls(weights, active=tuple(tuple(row) for row in choices))

    def computed(self, row: int) -> range | tuple[int, ...]:
        """Return the numbers of the operations that the edge of ``row`` computes."""
        return range(self.weights.shape[1]) if self.active is None else self.active[row]


Mixtures = Mapping[str, Mixture]
"""A mixture for each kind of cell, by its name."""


def derive(operations: Sequence[str], nodes: int, weights: Tensor) -> Cell:
    """Return the discrete cell of ``weights`` ``[edges, operations]``: a node's two best edges.

    The strength of an edge is the largest weight of an operation other than ``none`` (Liu et al.
    2019, section 2.4); equal strengths go to the earlier edge and the earlier operation.
    """
    table = weights.detach().cpu()
    allowed = [i for i, name in enumerate(operations) if name != "none"]
    strengths, best = table[:, allowed].max(dim=1)
    chosen, row = [], 0
    for node in range(nodes):
        strength = strengths[row : row + node + 2].tolist()
        ranked = sorted(range(node + 2), key=lambda j, s=strength: (-s[j], j))  # type: ignore[misc]
        kept = ranked[:INPUTS]
        chosen.append(tuple(Edge(operations[allowed[int(best[row + j])]], j) for j in kept))
        row += node + 2
    return Cell(tuple(chosen), tuple(range(2, nodes + 2)))


def of_cell(operations: Sequence[str], cell: Cell) -> Mixture:
    """Return the mixture that computes a discrete ``cell``: its operations with weight one."""
    rows = edges(len(cell.nodes))
    choices: list[list[int]] = [[] for _ in rows]
    weights = torch.zeros(len(rows), len(operations))
    for node, pair in enumerate(cell.nodes):
        for edge in pair:
            row, column = rows.index((node, edge.source)), operations.index(edge.operation)
            choices[row].append(column)
            weights[row, column] = 1.0
    return Mixture.only(choices, weights)
