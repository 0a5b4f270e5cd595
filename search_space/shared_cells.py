"""All networks of stacked cells with shared weights: search_space/network.py, any cells at a time.

Pham et al. 2018, section 2.4: an operation has weights of its own for each cell of the stack, each
node and each state that it can be applied to. Of the states that no node uses, which are the output
of a cell, those parts of the next cells' pointwise convolutions are taken that belong to them.

Deviation: the two operands of a node share the weights of an operation on a state (theirs have
each their own), so that two genotypes of one network are one network here, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from search_space.genotype import Cell, Genotype
from search_space.heads import Head, Stem
from search_space.network import STEM_MULTIPLIER, preprocessing, reductions
from search_space.operations import OPERATIONS, FactorizedReduce, ReluConvNorm
from search_space.shared import AnyMaps, SharedWeights
from search_space.task import Task

INPUTS = 2

Maps = tuple[int, int]
"""How many maps a cell, or the stem, may put out, and the width of each."""


class SharedCell(nn.Module):
    """All cells of a kind at one place of the stack.

    Args:
        operations: names of operations.
        nodes: of a cell.
        before, last: what the two cells before may put out.
        channels: width of the cell.
        operands: of a node; where nodes can concatenate them, ``joins`` is true.
        reduction: whether edges from the inputs have stride 2.
        reduced: whether the last cell was a reduction.
        ndim: number of spatial dimensions.
    """

    def __init__(
        self,
        operations: Sequence[str],
        nodes: int,
        before: Maps,
        last: Maps,
        channels: int,
        *,
        operands: int,
        joins: bool,
        reduction: bool,
        reduced: bool,
        ndim: int,
    ):
        super().__init__()
        self.reduction = reduction
        widths = before[0] * before[1], last[0] * last[1]
        first, second = preprocessing(*widths, channels, reduced, ndim)
        self.first, self.second = AnyMaps(first, before[0]), AnyMaps(second, last[0])
        self.edges = nn.ModuleDict()
        for node in range(nodes):
            for source in range(node + INPUTS):
                stride = 2 if reduction and source < INPUTS else 1
                for name in operations:
                    made = OPERATIONS[name](channels, stride, ndim)
                    self.edges[f"{node}_{source}_{name}"] = made
        self.joins = nn.ModuleList(
            ReluConvNorm(operands * channels, channels, ndim) for _ in range(nodes if joins else 0)
        )
        self.outputs = nn.ModuleList(
            FactorizedReduce(channels, channels, ndim) for _ in range(INPUTS if reduction else 0)
        )

    def forward(
        self,
        before: tuple[Tensor, Sequence[int]],
        last: tuple[Tensor, Sequence[int]],
        cell: Cell,
    ) -> tuple[Tensor, Sequence[int]]:
        """Return the states that ``cell`` puts out, side by side, and which they are."""
        states = [self.first(*before), self.second(*last)]
        for node, edges in enumerate(cell.nodes):
            paths = [
                self.edges[f"{node}_{edge.source}_{edge.operation}"](states[edge.source])
                for edge in edges
            ]
            if node in cell.joined:
                states.append(self.joins[node](torch.cat(paths, dim=1)))
            else:
                states.append(functools.reduce(torch.add, paths))
        chosen = [
            self.outputs[state](states[state])
            if self.reduction and state < INPUTS
            else states[state]
            for state in cell.concat
        ]
        return torch.cat(chosen, dim=1), cell.concat


class SharedCells(SharedWeights):
    """All stacks of a normal and a reduction cell, between a stem and a head.

    Args:
        cells: from a genotype to its "normal" and its "reduce" cell.
        task: gives the shapes of inputs and outputs.
        operations: names of operations.
        nodes: of a cell.
        channels: width of the first cells; doubled at each reduction.
        layers: number of cells.
        operands: of a node.
        joins: whether nodes can concatenate their operands.
    """

    def __init__(
        self,
        cells: Callable[[Genotype], Mapping[str, Cell]],
        task: Task,
        *,
        operations: Sequence[str],
        nodes: int,
        channels: int,
        layers: int,
        operands: int,
        joins: bool,
    ):
        super().__init__()
        self.of, ndim = cells, len(task.spatial)
        self.stem = Stem(task, STEM_MULTIPLIER * channels)
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        before = last = (1, STEM_MULTIPLIER * channels)
        reduced = False
        for layer in range(layers):
            reduction = layer in reductions(layers)
            channels *= 2 if reduction else 1
            cell = SharedCell(
                operations,
                nodes,
                before,
                last,
                channels,
                operands=operands,
                joins=joins,
                reduction=reduction,
                reduced=reduced,
                ndim=ndim,
            )
            self.cells.append(cell)
            self.kinds.append("reduce" if reduction else "normal")
            before, last, reduced = last, (nodes + INPUTS, channels), reduction
        self.head = AnyMaps(Head(task, last[0] * last[1]), last[0])

    def forward(self, x: Tensor, genotype: Genotype) -> Tensor:
        cells = self.of(genotype)
        before = last = self.stem(x), (0,)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            before, last = last, cell(before, last, cells[kind])
        return self.head(*last)
