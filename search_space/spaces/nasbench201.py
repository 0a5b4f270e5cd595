"""NAS-Bench-201: cells of four nodes with one of five operations on each edge; 15,625 of them.

Dong, Yang: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR
2020, section 2.1. ``channels: 16, layers: 15`` is the benchmark's network (16 channels, N = 5 cells
a stage): ``layers`` counts the cells of all three stages; the two residual blocks come on top.

On the benchmark's own inputs, 3 x 32 x 32, this is its network: parameters and multiply-adds are
those of its tables. Other inputs need what the paper does not say: more than 64 x 64 positions are
halved by the stem, odd sizes are rounded up by a reduction.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from search_space.genotype import Cell, Edge, Genotype, GenotypeError
from search_space.operations import OPERATIONS
from search_space.shared import SharedWeights
from search_space.space import SearchSpace
from search_space.spaces._nasbench201_network import NasBench201Network
from search_space.spaces._nasbench201_shared import SharedSummingCells
from search_space.spaces._parameters import at_least, different_names, index_of
from search_space.task import Task

Rows = tuple[tuple[str, ...], ...]
"""For each node but the first, the operations on its edges from node 0, 1, ..."""

_ZERO = "#"  # the expression of what is always zero
_ROW = re.compile(r"\|(?:[^|~+\s]+~\d+\|)+")
_CELL = re.compile(rf"{_ROW.pattern}(?:\+{_ROW.pattern})*")


@dataclass(frozen=True)
class NasBench201(SearchSpace):
    """One cell: each node sums an operation on every earlier one; the last is the output.

    Args:
        nodes: nodes of the cell; the first is its input.
        operations: names of operations, in the benchmark's order.

    The decisions are the operations of the edges, in the order of the text form.
    """

    nodes: int = 4
    operations: tuple[str, ...] = (
        "none",
        "skip_connect",
        "nor_conv_1x1",
        "nor_conv_3x3",
        "avg_pool_3x3",
    )

    def __post_init__(self) -> None:
        at_least(2, nodes=self.nodes)
        different_names("operation", self.operations, OPERATIONS)

    def options(self, decisions: Sequence[int]) -> int:
        return len(self.operations) if len(decisions) < self._edges else 0

    def decode(self, decisions: Sequence[int]) -> Genotype:
        self._complete_or_raise(decisions)
        chosen = iter(decisions)
        return self._genotype(
            tuple(
                tuple(self.operations[next(chosen)] for _ in range(node))
                for node in range(1, self.nodes)
            )
        )

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        rows = self._rows(genotype)
        if [len(row) for row in rows] != list(range(1, self.nodes)):
            raise GenotypeError(
                f"nodes with {[len(row) for row in rows]} edges; a cell of {self.nodes} nodes has "
                f"{list(range(1, self.nodes))}, one from each earlier node"
            )
        return tuple(index_of("operation", name, self.operations) for row in rows for name in row)

    def size(self) -> int:
        """Operations to the power of edges."""
        return len(self.operations) ** self._edges

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return the first genotype, in the order of decisions, with the same expression.

        The expression is the benchmark's own (section 2.1; D-X-Y/AutoDL-Projects, genotypes.py,
        ``to_unique_str``): each node is the sorted sum of its edges, an edge is its operation
        applied to its source's expression, a skip connection that expression itself, and ``none``,
        or anything applied to a first node that is ``none``, a zero that stays in the sum. It
        has 6,466 values.

        It isn't exactly "the same network": a sum within a sum has no brackets, and it does not
        tell a map that is used twice from two maps that are made alike. 578 of the 6,466 classes
        hold networks of different numbers of parameters.
        """
        self.encode(genotype)
        target = _expressions(self._rows(genotype))[-1]
        return self._genotype(_first(target, self.nodes, self.operations))

    def parse(self, text: str) -> Genotype:
        stripped = text.strip()
        if not stripped.startswith("|"):
            return super().parse(text)
        if not _CELL.fullmatch(stripped):
            raise GenotypeError(f"{text!r:.120} is no cell; one is |nor_conv_3x3~0|+|none~0|...~1|")
        rows = []
        for written in stripped.split("+"):
            edges = [edge.split("~") for edge in written.strip("|").split("|")]
            if [int(source) for _, source in edges] != list(range(len(edges))):
                raise GenotypeError(f"{written} must name the sources 0, 1, ... in their order")
            rows.append(tuple(name for name, _ in edges))
        genotype = self._genotype(tuple(rows))
        self.encode(genotype)
        return genotype

    def text(self, genotype: Genotype) -> str:
        return "+".join(
            "|" + "".join(f"{name}~{source}|" for source, name in enumerate(row))
            for row in self._rows(genotype)
        )

    def cells(self, genotype: Genotype) -> dict[str, Cell]:
        """Return the cell, without the edges that are ``none``."""
        nodes = tuple(
            tuple(Edge(name, source) for source, name in enumerate(row) if name != "none")
            for row in self._rows(genotype)
        )
        return {"cell": Cell(nodes, (len(nodes),), inputs=1)}

    def build(
        self,
        genotype: Genotype,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> nn.Module:
        """Build the network; the benchmark has no auxiliary head, so there is never one."""
        self.encode(genotype)
        cell = self.cells(genotype)["cell"]
        return NasBench201Network(cell, task, channels=channels, layers=layers)

    def shared(self, task: Task, *, channels: int, layers: int, fast: bool = True) -> SharedWeights:
        return SharedSummingCells(
            lambda genotype: self.cells(genotype)["cell"],
            task,
            operations=tuple(name for name in self.operations if name != "none"),
            nodes=self.nodes,
            channels=channels,
            layers=layers,
        )

    @property
    def _edges(self) -> int:
        return self.nodes * (self.nodes - 1) // 2

    def _genotype(self, rows: Rows) -> Genotype:
        return Genotype.of(self.name, {"edges": rows})

    def _rows(self, genotype: Genotype) -> Rows:
        self._own(genotype)
        rows = genotype.data.get("edges")
        if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
            raise GenotypeError('a genotype of this space has "edges": a list for each node')
        return tuple(tuple(row) for row in rows)


def _term(operation: str, source: str) -> str:
    """Return the expression of an edge."""
    if operation == "none" or source == _ZERO:
        return _ZERO
    return source if operation == "skip_connect" else f"({source})@{operation}"


def _expressions(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the expressions of node 0, 1, ... of a cell or of its beginning."""
    found = ["0"]
    for row in rows:
        terms = [_term(name, found[source]) for source, name in enumerate(row)]
        found.append("+".join(sorted(terms)))
    return found


@functools.lru_cache(maxsize=1 << 14)
def _first(target: str, nodes: int, operations: tuple[str, ...]) -> Rows:
    """Return the first cell, in the order of decisions, whose output is ``target``."""

    def completions(rows: Rows, expressions: list[str]) -> Iterator[Rows]:
        if len(rows) == nodes - 1:
            if expressions[-1] == target:
                yield rows
            return
        # What is no part of the target can't be used, and is best made of first options.
        unused = (operations[0],) * len(expressions)
        possible = [
            [name for name in operations if name == unused[0] or _term(name, x) in target]
            for x in expressions
        ]
        for row in itertools.product(*possible):
            value = _expressions((*rows, row))[-1]
            if row == unused or value in target:
                yield from completions((*rows, row), [*expressions, value])

    return next(completions((), ["0"]))
