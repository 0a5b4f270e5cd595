"""The DARTS space: a normal and a reduction cell of four nodes, two inputs each, seven operations.

Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, ICLR 2019, section 3.1. The eighth
operation of the paper, ``none``, exists in the supernet only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from search_space.genotype import Cell, Edge, Genotype, GenotypeError, parse_cells, print_cells
from search_space.isomorphism import canonical_cell
from search_space.mixture import derive, edges
from search_space.network import CellNetwork
from search_space.operations import OPERATIONS
from search_space.shared import SharedWeights, SupernetPaths
from search_space.shelf import nearest
from search_space.space import SearchSpace
from search_space.stacking import faster
from search_space.supernet import MixedNetwork, Supernet, TextbookSupernet
from search_space.task import Task

_CELLS = ("normal", "reduce")
_MIXTURE = "mixture"  # key of a genotype that stands for the supernet itself
_DECIMALS = 6  # of its weights: more than float32 tells apart after a search


@dataclass(frozen=True)
class Darts(SearchSpace):
    """Two cells; each node takes two different earlier states through one operation each.

    Args:
        nodes: nodes of a cell.
        operations: names of operations; ``none`` counts in the supernet only.

    A node's decisions are: which pair of states, the operation of the lower one, of the higher.
    """

    nodes: int = 4
    operations: tuple[str, ...] = (
        "none",
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    )

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ValueError(f"nodes is {self.nodes}; it must be at least 1")
        for name in self.operations:
            if name not in OPERATIONS:
                raise ValueError(f"unknown operation {name!r}; {nearest(name, OPERATIONS)}")
        if not self.choices or len(set(self.operations)) < len(self.operations):
            raise ValueError("operations must be different, and at least one other than 'none'")

    @property
    def choices(self) -> tuple[str, ...]:
        """The operations that a genotype can hold."""
        return tuple(name for name in self.operations if name != "none")

    def options(self, decisions: Sequence[int]) -> int:
        cell, place = divmod(len(decisions), 3 * self.nodes)
        if cell == len(_CELLS):
            return 0
        node, part = divmod(place, 3)
        return math.comb(node + 2, 2) if part == 0 else len(self.choices)

    def decode(self, decisions: Sequence[int]) -> Genotype:
        self._complete_or_raise(decisions)
        it = iter(decisions)
        cells = {}
        for name in _CELLS:
            nodes = []
            for node in range(self.nodes):
                sources = list(combinations(range(node + 2), 2))[next(it)]
                nodes.append(tuple(Edge(self.choices[next(it)], source) for source in sources))
            cells[name] = Cell(tuple(nodes), tuple(range(2, self.nodes + 2)))
        return self.genotype(cells)

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        if _MIXTURE in genotype.data:
            raise GenotypeError("a mixture of operations is not a sequence of decisions")
        decisions: list[int] = []
        for name, cell in self.cells(genotype).items():
            if len(cell.nodes) != self.nodes:
                raise GenotypeError(
                    f"the {name} cell has {len(cell.nodes)} nodes, not {self.nodes}"
                )
            if cell.inputs != 2 or cell.joined:
                raise GenotypeError(f"the {name} cell must have two inputs, and nodes that add")
            if cell.concat != tuple(range(2, self.nodes + 2)):
                raise GenotypeError(
                    f"concat of the {name} cell is {list(cell.concat)}; in this space all nodes "
                    f"are concatenated: {list(range(2, self.nodes + 2))}"
                )
            for node, inputs in enumerate(cell.nodes):
                inputs = tuple(sorted(inputs, key=lambda edge: edge.source))
                sources = tuple(edge.source for edge in inputs)
                pairs = list(combinations(range(node + 2), 2))
                if sources not in pairs:
                    raise GenotypeError(
                        f"node {node} of the {name} cell takes the states {list(sources)}; "
                        f"allowed: two different ones of 0 to {node + 1}"
                    )
                decisions.append(pairs.index(sources))
                decisions += [self._operation(edge.operation, name) for edge in inputs]
        return tuple(decisions)

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return one genotype for all that differ in the order of nodes only."""
        self.check(genotype)
        if _MIXTURE in genotype.data:
            return genotype
        cells = self.cells(genotype)
        return self.genotype({name: canonical_cell(cell) for name, cell in cells.items()})

    def size(self) -> int:
        """Product over nodes of (pairs of states) x (operations squared), for both cells."""
        pairs = math.prod(math.comb(node + 2, 2) for node in range(self.nodes))
        return (pairs * len(self.choices) ** (2 * self.nodes)) ** len(_CELLS)

    def parse(self, text: str) -> Genotype:
        if "Genotype(" not in text:
            return super().parse(text)
        genotype = self.genotype(parse_cells(text))
        self.encode(genotype)
        return genotype

    def text(self, genotype: Genotype) -> str:
        return print_cells(self.cells(genotype))

    def genotype(self, cells: dict[str, Cell]) -> Genotype:
        """Make a genotype of this space from its "normal" and "reduce" cells."""
        return Genotype.of(self.name, {name: cells[name].to_data() for name in _CELLS})

    def cells(self, genotype: Genotype) -> dict[str, Cell]:
        """Return the "normal" and the "reduce" cell of a genotype. Raises GenotypeError.

        Of a continuous one the cells that its weights prefer.
        """
        self._own(genotype)
        data = genotype.data
        if _MIXTURE in data:
            weights = self._weights(genotype)
            return {name: derive(self.operations, self.nodes, weights[name]) for name in _CELLS}
        if set(data) != set(_CELLS):
            raise GenotypeError(f"a genotype of this space has the cells {list(_CELLS)}")
        return {name: Cell.from_data(data[name]) for name in _CELLS}

    def build(
        self,
        genotype: Genotype,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> nn.Module:
        if _MIXTURE in genotype.data:
            supernet = self.supernet(task, channels=channels, layers=layers)
            return MixedNetwork(supernet, self._weights(genotype))
        self.encode(genotype)
        cells = self.cells(genotype)
        return CellNetwork(cells, task, channels=channels, layers=layers, auxiliary=auxiliary)

    def supernet(
        self, task: Task, *, channels: int, layers: int, partial: int = 1, fast: bool = True
    ) -> Supernet:
        textbook = TextbookSupernet(
            task,
            operations=self.operations,
            nodes=self.nodes,
            channels=channels,
            layers=layers,
            partial=partial,
        )
        return faster(textbook, task) if fast else textbook

    def shared(self, task: Task, *, channels: int, layers: int, fast: bool = True) -> SharedWeights:
        supernet = self.supernet(task, channels=channels, layers=layers, fast=fast)
        return SupernetPaths(supernet, self.cells)

    def discretise(self, weights: Mapping[str, Tensor]) -> Genotype:
        cells = {name: derive(self.operations, self.nodes, weights[name]) for name in _CELLS}
        # By decisions: edges in the order of their sources, so that one architecture has one key.
        return self.decode(self.encode(self.genotype(cells)))

    def continuous(self, weights: Mapping[str, Tensor]) -> Genotype:
        tables = {
            name: [[round(w, _DECIMALS) for w in row] for row in weights[name].tolist()]
            for name in _CELLS
        }
        return Genotype.of(self.name, {_MIXTURE: tables})

    def check(self, genotype: Genotype) -> None:
        self._own(genotype)
        if _MIXTURE in genotype.data:
            self._weights(genotype)
        else:
            self.encode(genotype)

    def _weights(self, genotype: Genotype) -> dict[str, Tensor]:
        """Return the weights of a continuous genotype. Raises GenotypeError."""
        self._own(genotype)
        wanted = (len(edges(self.nodes)), len(self.operations))
        try:
            data = genotype.data[_MIXTURE]
            tables = {name: torch.tensor(data[name], dtype=torch.float32) for name in _CELLS}
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise GenotypeError(f"a mixture needs a table for each of {list(_CELLS)}") from error
        for name, table in tables.items():
            if tuple(table.shape) != wanted or not torch.isfinite(table).all():
                raise GenotypeError(
                    f"the mixture of the {name} cell is {list(table.shape)}; it must hold "
                    f"{wanted[0]} edges of {wanted[1]} finite weights"
                )
        return tables

    def _operation(self, name: str, cell: str) -> int:
        if name not in self.choices:
            raise GenotypeError(
                f"unknown operation {name!r} in the {cell} cell; {nearest(name, self.choices)}"
            )
        return self.choices.index(name)
