"""The DARTS space: a normal and a reduction cell of four nodes, two inputs each, seven operations.

Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, ICLR 2019, section 3.1. The eighth
operation of the paper, ``none``, exists in the supernet only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import nn

from search_space.genotype import Cell, Edge, Genotype, GenotypeError, parse_cells, print_cells
from search_space.network import CellNetwork
from search_space.operations import OPERATIONS
from search_space.shelf import nearest
from search_space.space import SearchSpace
from search_space.supernet import Supernet
from search_space.task import Task

_CELLS = ("normal", "reduce")


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
        decisions: list[int] = []
        for name, cell in self.cells(genotype).items():
            if len(cell.nodes) != self.nodes:
                raise GenotypeError(
                    f"the {name} cell has {len(cell.nodes)} nodes, not {self.nodes}"
                )
            if cell.concat != tuple(range(2, self.nodes + 2)):
                raise GenotypeError(
                    f"concat of the {name} cell is {list(cell.concat)}; in this space all nodes "
                    f"are concatenated: {list(range(2, self.nodes + 2))}"
                )
            for node, edges in enumerate(cell.nodes):
                edges = tuple(sorted(edges, key=lambda edge: edge.source))
                sources = tuple(edge.source for edge in edges)
                pairs = list(combinations(range(node + 2), 2))
                if sources not in pairs:
                    raise GenotypeError(
                        f"node {node} of the {name} cell takes the states {list(sources)}; "
                        f"allowed: two different ones of 0 to {node + 1}"
                    )
                decisions.append(pairs.index(sources))
                decisions += [self._operation(edge.operation, name) for edge in edges]
        return tuple(decisions)

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
        """Return the "normal" and the "reduce" cell of a genotype. Raises GenotypeError."""
        self._own(genotype)
        data = genotype.data
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
        self.encode(genotype)
        cells = self.cells(genotype)
        return CellNetwork(cells, task, channels=channels, layers=layers, auxiliary=auxiliary)

    def supernet(self, task: Task, *, channels: int, layers: int) -> Supernet:
        return Supernet(
            task, operations=self.operations, nodes=self.nodes, channels=channels, layers=layers
        )

    def discretise(self, supernet: Supernet) -> Genotype:
        # By decisions: edges in the order of their sources, so that one architecture has one key.
        return self.decode(self.encode(self.genotype(supernet.derive())))

    def _operation(self, name: str, cell: str) -> int:
        if name not in self.choices:
            raise GenotypeError(
                f"unknown operation {name!r} in the {cell} cell; {nearest(name, self.choices)}"
            )
        return self.choices.index(name)
