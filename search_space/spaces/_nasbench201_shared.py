"""All networks of NAS-Bench-201 with shared weights.

Dong, Yang 2020, section 4: each edge of each cell of the stack has weights for each operation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from search_space.genotype import Cell, Genotype
from search_space.operations import OPERATIONS
from search_space.shared import SharedWeights
from search_space.spaces._nasbench201_network import skeleton
from search_space.task import Task


class SharedSummingCell(nn.Module):
    """All cells of ``nodes`` nodes, the first of which is the input."""

    def __init__(self, operations: Sequence[str], nodes: int, channels: int, ndim: int):
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                f"{node}_{source}_{name}": OPERATIONS[name](channels, 1, ndim)
                for node in range(nodes - 1)
                for source in range(node + 1)
                for name in operations
            }
        )

    def forward(self, x: Tensor, cell: Cell) -> Tensor:
        states = [x]
        for node, edges in enumerate(cell.nodes):
            terms = [
                self.edges[f"{node}_{edge.source}_{edge.operation}"](states[edge.source])
                for edge in edges
            ]
            states.append(functools.reduce(torch.add, terms) if terms else torch.zeros_like(x))
        return states[-1]


class SharedSummingCells(SharedWeights):
    """The benchmark's skeleton around any cell.

    Args:
        cell: from a genotype to its cell.
        task: gives the shapes of inputs and outputs.
        operations: names of operations.
        nodes: of a cell.
        channels: width of the first stage.
        layers: number of cells.
    """

    def __init__(
        self,
        cell: Callable[[Genotype], Cell],
        task: Task,
        *,
        operations: Sequence[str],
        nodes: int,
        channels: int,
        layers: int,
    ):
        super().__init__()
        self.of, ndim = cell, len(task.spatial)
        self.body = nn.ModuleList(
            skeleton(
                lambda width: SharedSummingCell(operations, nodes, width, ndim),
                task,
                channels=channels,
                layers=layers,
            )
        )

    def forward(self, x: Tensor, genotype: Genotype) -> Tensor:
        cell = self.of(genotype)
        for module in self.body:
            x = module(x, cell) if isinstance(module, SharedSummingCell) else module(x)
        return x
