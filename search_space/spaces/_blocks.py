"""Cells made of blocks, as in NASNet: two operations on earlier states, whose results combine."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from search_space.genotype import Cell, Edge, Genotype, GenotypeError
from search_space.isomorphism import canonical_cell
from search_space.network import CellNetwork
from search_space.shared import SharedWeights
from search_space.shared_cells import SharedCells
from search_space.space import SearchSpace
from search_space.spaces._parameters import index_of
from search_space.task import Task

INPUTS = 2  # of a cell: the outputs of the two cells before
OPERANDS = 2  # of a block


def cell_count(nodes: int, options: int, *, inputs: int = INPUTS, operands: int = OPERANDS) -> int:
    """Number of sequences in which each node chooses so many operands: a state, an operation.

    With one input and one operand it is the 4^N N! of Pham et al. 2018, section 2.1, for N nodes
    and 4 operations.
    """
    return math.prod(((node + inputs) * options) ** operands for node in range(nodes))


class BlockSpace(SearchSpace):
    """A space of cells of blocks; networks are stacks of them, as in DARTS.

    A block's decisions are: first state, its operation, second state, its operation and, where
    there is a choice, how the two combine.
    """

    nodes: int
    operations: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the cells; a single one serves for both kinds."""
        return ("normal", "reduce")

    @property
    def combinations(self) -> tuple[str, ...]:
        """The ways in which a block can combine its two results: "add", "concat"."""
        return ("add",)

    @abc.abstractmethod
    def output(self, used: set[int]) -> tuple[int, ...]:
        """Return the states that a cell puts out, in order, given those that its blocks use."""

    def options(self, decisions: Sequence[int]) -> int:
        cell, place = divmod(len(decisions), self._width * self.nodes)
        if cell == len(self.kinds):
            return 0
        node, part = divmod(place, self._width)
        if part == 2 * OPERANDS:
            return len(self.combinations)
        return node + INPUTS if part % 2 == 0 else len(self.operations)

    def decode(self, decisions: Sequence[int]) -> Genotype:
        self._complete_or_raise(decisions)
        chosen = iter(decisions)
        return self.genotype({kind: self._cell(chosen) for kind in self.kinds})

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        decisions: list[int] = []
        cells = self.cells(genotype)
        if set(cells) != set(self.kinds):
            raise GenotypeError(f"a genotype of this space has the cells {list(self.kinds)}")
        for kind, cell in cells.items():
            try:
                decisions += self._decisions(cell)
            except GenotypeError as error:
                raise GenotypeError(f"the {kind} cell: {error}") from None
        return tuple(decisions)

    def size(self) -> int:
        """Product over blocks of (states x operations) squared x combinations, for each cell."""
        combined = len(self.combinations) ** self.nodes
        return (cell_count(self.nodes, len(self.operations)) * combined) ** len(self.kinds)

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return one genotype for all that differ in the order of blocks or within a block."""
        self.encode(genotype)
        cells = self.cells(genotype)
        return self.genotype({kind: canonical_cell(cell) for kind, cell in cells.items()})

    def genotype(self, cells: Mapping[str, Cell]) -> Genotype:
        """Make a genotype of this space from its cells."""
        return Genotype.of(self.name, {kind: cells[kind].to_data() for kind in self.kinds})

    def cells(self, genotype: Genotype) -> dict[str, Cell]:
        """Return the cells of a genotype. Raises GenotypeError."""
        self._own(genotype)
        data = genotype.data
        if set(data) not in ({"normal"}, {"normal", "reduce"}):
            raise GenotypeError("a genotype of this space has a normal and maybe a reduce cell")
        return {kind: Cell.from_data(data[kind]) for kind in sorted(data)}

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
        both = self._both(genotype)
        return CellNetwork(both, task, channels=channels, layers=layers, auxiliary=auxiliary)

    def shared(self, task: Task, *, channels: int, layers: int, fast: bool = True) -> SharedWeights:
        return SharedCells(
            self._both,
            task,
            operations=self.operations,
            nodes=self.nodes,
            channels=channels,
            layers=layers,
            operands=OPERANDS,
            joins="concat" in self.combinations,
        )

    def _both(self, genotype: Genotype) -> dict[str, Cell]:
        """Return the cells of the two kinds, which are the same one where there is one only."""
        cells = self.cells(genotype)
        return {"normal": cells["normal"], "reduce": cells.get("reduce", cells["normal"])}

    @property
    def _width(self) -> int:
        """Number of a block's decisions."""
        return 2 * OPERANDS + (len(self.combinations) > 1)

    def _cell(self, decisions: Iterator[int]) -> Cell:
        nodes, joined = [], []
        for node in range(self.nodes):
            edges = []
            for _ in range(OPERANDS):
                source = next(decisions)
                edges.append(Edge(self.operations[next(decisions)], source))
            nodes.append(tuple(edges))
            combination = next(decisions) if len(self.combinations) > 1 else 0
            if self.combinations[combination] == "concat":
                joined.append(node)
        concat = self.output({edge.source for edges in nodes for edge in edges})
        return Cell(tuple(nodes), concat, INPUTS, tuple(joined))

    def _decisions(self, cell: Cell) -> Iterator[int]:
        """Yield the decisions that make ``cell``. Raises GenotypeError."""
        if len(cell.nodes) != self.nodes or cell.inputs != INPUTS:
            raise GenotypeError(
                f"{cell.inputs} inputs and {len(cell.nodes)} nodes; "
                f"here it must be {INPUTS} and {self.nodes}"
            )
        output = self.output({edge.source for edges in cell.nodes for edge in edges})
        if cell.concat != output:
            raise GenotypeError(f"concat is {list(cell.concat)}; here it must be {list(output)}")
        if list(cell.joined) != sorted(set(cell.joined)):
            raise GenotypeError(f"joined is {list(cell.joined)}; it must be in order, each once")
        for node, edges in enumerate(cell.nodes):
            if len(edges) != OPERANDS:
                raise GenotypeError(f"node {node} has {len(edges)} inputs; it must be {OPERANDS}")
            for edge in edges:
                yield edge.source
                yield index_of("operation", edge.operation, self.operations)
            combination = "concat" if node in cell.joined else "add"
            place = index_of("combination", combination, self.combinations)
            if len(self.combinations) > 1:
                yield place
