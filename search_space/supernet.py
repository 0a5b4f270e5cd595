"""The textbook supernet of DARTS: every operation on every edge, mixed by weights.

Computed edge by edge as the paper's own code does it (Liu et al. 2019, equation 2; quark0/darts,
model_search.py), for any set of operations. It is the oracle for faster ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from search_space.genotype import Cell, Edge
from search_space.heads import Head, Stem
from search_space.network import STEM_MULTIPLIER, preprocessing, reductions
from search_space.operations import OPERATIONS, normalisation
from search_space.task import Task

# Scale of the initial architecture parameters (quark0/darts, model_search.py).
INITIAL_SCALE = 1e-3


def edges(nodes: int) -> list[tuple[int, int]]:
    """List the edges of a cell as (node, source state), in the order of the architecture's rows."""
    return [(node, source) for node in range(nodes) for source in range(node + 2)]


class MixedOperation(nn.Module):
    """The weighted sum of all operations on one edge."""

    def __init__(self, operations: Sequence[str], channels: int, stride: int, ndim: int):
        super().__init__()
        self.operations = nn.ModuleList()
        for name in operations:
            module = OPERATIONS[name](channels, stride, ndim, affine=False)
            if "pool" in name:
                # Brings a pool's output to the scale of the others' (quark0/darts).
                module = nn.Sequential(module, normalisation(ndim, channels, affine=False))
            self.operations.append(module)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return sum(w * module(x) for w, module in zip(weights, self.operations, strict=True))


class MixedCell(nn.Module):
    """A cell in which each node takes every earlier state through a mixed operation."""

    def __init__(
        self,
        operations: Sequence[str],
        nodes: int,
        widths: tuple[int, int],
        channels: int,
        *,
        reduction: bool,
        reduced: bool,
        ndim: int,
    ):
        super().__init__()
        self.nodes = nodes
        self.first, self.second = preprocessing(*widths, channels, reduced, ndim, affine=False)
        self.edges = nn.ModuleList(
            MixedOperation(operations, channels, 2 if reduction and source < 2 else 1, ndim)
            for _, source in edges(nodes)
        )

    def forward(self, before: Tensor, last: Tensor, weights: Tensor) -> Tensor:
        states = [self.first(before), self.second(last)]
        row = 0
        for _ in range(self.nodes):
            mixed = [self.edges[row + j](state, weights[row + j]) for j, state in enumerate(states)]
            row += len(states)
            states.append(torch.stack(mixed).sum(dim=0))
        return torch.cat(states[2:], dim=1)


class Supernet(nn.Module):
    """All networks of a cell space at once, and one architecture parameter for each choice.

    Args:
        task: gives the shapes of inputs and outputs.
        operations: names of operations, in the order of the architecture's columns.
        nodes: number of nodes of a cell.
        channels, layers: width of the first cells and number of cells.

    ``architecture`` holds the parameters ``[edges, operations]`` of the "normal" and the "reduce"
    cell. Their softmax mixes the operations unless ``forward`` is given other weights.
    """

    def __init__(
        self, task: Task, *, operations: Sequence[str], nodes: int, channels: int, layers: int
    ):
        super().__init__()
        self.operations = tuple(operations)
        self.nodes = nodes
        ndim = len(task.spatial)
        rows = len(edges(nodes))
        self.architecture = nn.ParameterDict(
            {
                cell: nn.Parameter(INITIAL_SCALE * torch.randn(rows, len(self.operations)))
                for cell in ("normal", "reduce")
            }
        )
        width = STEM_MULTIPLIER * channels
        self.stem = Stem(task, width)
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        widths, reduced = (width, width), False
        for layer in range(layers):
            reduction = layer in reductions(layers)
            channels *= 2 if reduction else 1
            self.cells.append(
                MixedCell(
                    self.operations,
                    nodes,
                    widths,
                    channels,
                    reduction=reduction,
                    reduced=reduced,
                    ndim=ndim,
                )
            )
            self.kinds.append("reduce" if reduction else "normal")
            widths, reduced = (widths[1], channels * nodes), reduction
        self.head = Head(task, widths[1])

    def mixture(self) -> dict[str, Tensor]:
        """Return the weights ``[edges, operations]`` of each cell; rows sum to one."""
        return {cell: alpha.softmax(dim=-1) for cell, alpha in self.architecture.items()}

    def forward(self, x: Tensor, mixture: Mapping[str, Tensor] | None = None) -> Tensor:
        weights = self.mixture() if mixture is None else mixture
        before = last = self.stem(x)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            before, last = last, cell(before, last, weights[kind])
        return self.head(last)

    def architecture_parameters(self) -> list[nn.Parameter]:
        """The architecture parameters, "normal" first."""
        return list(self.architecture.parameters())

    def weight_parameters(self) -> list[nn.Parameter]:
        """All other parameters."""
        return [p for name, p in self.named_parameters() if not name.startswith("architecture.")]

    def derive(self, mixture: Mapping[str, Tensor] | None = None) -> dict[str, Cell]:
        """Return the discrete cells: for each node the two strongest edges.

        The strength of an edge is the largest weight of an operation other than ``none``
        (section 2.4); equal strengths go to the earlier edge and the earlier operation.
        """
        weights = self.mixture() if mixture is None else mixture
        return {kind: self._derive(table.detach().cpu()) for kind, table in weights.items()}

    def _derive(self, table: Tensor) -> Cell:
        allowed = [i for i, name in enumerate(self.operations) if name != "none"]
        strengths, best = table[:, allowed].max(dim=1)
        nodes, row = [], 0
        for node in range(self.nodes):
            sources = range(node + 2)
            ranked = sorted(sources, key=lambda j, r=row: (-float(strengths[r + j]), j))  # type: ignore[misc]
            nodes.append(
                tuple(Edge(self.operations[allowed[int(best[row + j])]], j) for j in ranked[:2])
            )
            row += len(sources)
        return Cell(tuple(nodes), tuple(range(2, self.nodes + 2)))
