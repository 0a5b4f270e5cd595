"""Isomorphism: cells that build the same network although they are written differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_space.genotype import Cell, Edge

Row = tuple[Any, ...]
"""What a node is: its edges in order, whether it joins them, whether it is part of the output."""


def canonical_cell(cell: Cell) -> Cell:
    """Return the representative of all cells that differ from ``cell`` in order only.

    In the order of a node's inputs, and in the order of nodes. Adding does not see the former; the
    latter, and what is concatenated in another order, changes the order of channels and nothing
    else. Nodes are placed one by one, each time one whose row is the smallest; where several have
    it and are used further on, all ways to go on are followed.
    """
    used = {edge.source - cell.inputs for node in cell.nodes for edge in node}
    start = {state: state for state in range(cell.inputs)}
    orders: list[tuple[tuple[Row, ...], dict[int, int]]] = [((), start)]
    for _ in cell.nodes:
        longer = []
        for rows, names in orders:
            ready = _ready(cell, names)
            smallest = min(ready.values())
            tied = [node for node, row in ready.items() if row == smallest]
            # What nothing uses can be exchanged: one of them stands for all.
            ends = [node for node in tied if node not in used][:1]
            for node in [*(node for node in tied if node in used), *ends]:
                state = {node + cell.inputs: len(names)}
                longer.append(((*rows, smallest), {**names, **state}))
        best = min(rows for rows, _ in longer)
        orders = [order for order in longer if order[0] == best]
    rows, names = orders[0]
    return Cell(
        nodes=tuple(tuple(Edge(name, source) for source, name in edges) for edges, _, _ in rows),
        concat=tuple(sorted(names[state] for state in cell.concat)),
        inputs=cell.inputs,
        joined=tuple(node for node, (_, joins, _) in enumerate(rows) if joins),
    )


def _ready(cell: Cell, names: Mapping[int, int]) -> dict[int, Row]:
    """Return the rows of the nodes that are not placed and whose inputs all are.

    Args:
        names: state of the cell -> its number among those that are placed.
    """
    rows = {}
    for node, edges in enumerate(cell.nodes):
        state = node + cell.inputs
        if state not in names and all(edge.source in names for edge in edges):
            ordered = tuple(sorted((names[edge.source], edge.operation) for edge in edges))
            rows[node] = (ordered, node in cell.joined, state in cell.concat)
    return rows
