"""Supernets: all networks of a cell space at once, mixed by weights that somebody else owns.

The textbook form computes every operation on every edge, as the paper's own code does it (Liu et
al. 2019, equation 2; quark0/darts, model_search.py), for any set of operations. It is the oracle
for the faster form in search_space/wave.py.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_space.heads import Head, Stem
from search_space.mixture import Mixture, Mixtures, edges
from search_space.network import STEM_MULTIPLIER, preprocessing, reductions
from search_space.operations import OPERATIONS, normalisation
from search_space.task import Task


class CellShape(NamedTuple):
    """What a cell of a supernet is like.

    Args:
        operations: names, in the order of a mixture's columns.
        nodes: number of nodes.
        widths: channels of the cell before the last, and of the last one.
        channels: of its own states.
        ndim: number of spatial dimensions.
        partial: as for :class:`Supernet`.
        reduction: the cell halves its inputs.
        reduced: the last cell did.
    """

    operations: tuple[str, ...]
    nodes: int
    widths: tuple[int, int]
    channels: int
    ndim: int
    partial: int = 1
    reduction: bool = False
    reduced: bool = False


class Supernet(nn.Module, abc.ABC):
    """All networks of a cell space with shared weights.

    Args:
        task: gives the shapes of inputs and outputs.
        operations: names of operations, in the order of a mixture's columns.
        nodes: number of nodes of a cell.
        channels, layers: width of the first cells and number of cells.
        partial: one channel of ``partial`` goes through the operations, the others go round them
            (Xu et al.: PC-DARTS, ICLR 2020); 1: all go through. Must divide ``channels``.

    ``kinds`` names the kind of each cell, "normal" or "reduce". ``forward`` takes inputs and a
    mixture for each kind; without, all operations weigh the same. With ``checkpointing`` a fast
    supernet keeps no maps within cells; the textbook's does not know it.
    """

    checkpointing = False

    def __init__(
        self,
        task: Task,
        *,
        operations: Sequence[str],
        nodes: int,
        channels: int,
        layers: int,
        partial: int = 1,
    ):
        super().__init__()
        if channels % partial:
            raise ValueError(f"partial is {partial}; it must divide the {channels} channels")
        self.operations = tuple(operations)
        self.nodes, self.channels, self.partial = nodes, channels, partial
        width = STEM_MULTIPLIER * channels
        self.stem = Stem(task, width)
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        widths, reduced = (width, width), False
        for layer in range(layers):
            reduction = layer in reductions(layers)
            channels *= 2 if reduction else 1
            shape = (self.operations, nodes, widths, channels, len(task.spatial), partial)
            self.cells.append(self._cell(CellShape(*shape, reduction, reduced)))
            self.kinds.append("reduce" if reduction else "normal")
            widths, reduced = (widths[1], channels * nodes), reduction
        self.head = Head(task, widths[1])

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments that make another of the same shape, but for the task."""
        return {
            "operations": self.operations,
            "nodes": self.nodes,
            "channels": self.channels,
            "layers": len(self.cells),
            "partial": self.partial,
        }

    @abc.abstractmethod
    def _cell(self, shape: CellShape) -> nn.Module:
        """Make a cell."""

    def uniform(self) -> dict[str, Mixture]:
        """Return mixtures that prefer nothing."""
        rows, columns = len(edges(self.nodes)), len(self.operations)
        like = next(self.parameters())
        one = Mixture(like.new_full((rows, columns), 1.0 / columns))
        return {"normal": one, "reduce": one}


class MixedOperation(nn.Module):
    """The weighted sum of operations on one edge."""

    def __init__(self, operations: Sequence[str], channels: int, stride: int, ndim: int):
        super().__init__()
        self.operations = nn.ModuleList()
        for name in operations:
            module = OPERATIONS[name](channels, stride, ndim, affine=False)
            if "pool" in name:
                # Brings a pool's output to the scale of the others' (quark0/darts).
                module = nn.Sequential(module, normalisation(ndim, channels, affine=False))
            self.operations.append(module)

    def forward(self, x: Tensor, weights: Tensor, computed: Sequence[int]) -> Tensor | int:
        return sum(weights[i] * self.operations[i](x) for i in computed)


class MixedCell(nn.Module):
    """A cell in which each node takes every earlier state through a mixed operation."""

    def __init__(self, shape: CellShape):
        super().__init__()
        self.nodes, self.partial = shape.nodes, shape.partial
        self.inside = shape.channels // shape.partial
        self.first, self.second = preprocessing(
            *shape.widths, shape.channels, shape.reduced, shape.ndim, affine=False
        )
        self.strides = [
            2 if shape.reduction and source < 2 else 1 for _, source in edges(shape.nodes)
        ]
        self.edges = nn.ModuleList(
            MixedOperation(shape.operations, self.inside, stride, shape.ndim)
            for stride in self.strides
        )

    def forward(self, before: Tensor, last: Tensor, mixture: Mixture) -> Tensor:
        states = [self.first(before), self.second(last)]
        row = 0
        for _ in range(self.nodes):
            mixed = [self._edge(row + j, state, mixture) for j, state in enumerate(states)]
            row += len(states)
            states.append(functools.reduce(torch.add, mixed))
        return torch.cat(states[2:], dim=1)

    def _edge(self, row: int, state: Tensor, mixture: Mixture) -> Tensor:
        inside = state[:, : self.inside]
        computed = mixture.computed(row)
        mixed = self.edges[row](inside, mixture.weights[row], computed)
        if not isinstance(mixed, Tensor):
            stride = self.strides[row]
            part = (slice(None), slice(None), *[slice(None, None, stride)] * (state.dim() - 2))
            mixed = torch.zeros_like(inside[part])
        if self.partial == 1:
            return mixed
        around = go_round(state[:, self.inside :], self.strides[row])
        if mixture.bypass is not None:
            around = mixture.bypass[row] * around
        return shuffle(torch.cat([mixed, around], dim=1), self.partial)


def go_round(x: Tensor, stride: int) -> Tensor:
    """Bring channels ``[N, C, *spatial]`` that skip the operations to the operations' size.

    A 2x2 max pool where ``stride`` is 2, as in the code of PC-DARTS (yuhuixu1993/PC-DARTS).
    """
    if stride == 1:
        return x
    pool = functional.max_pool1d if x.dim() == 3 else functional.max_pool2d
    return pool(x, 2, ceil_mode=True)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of ``[N, C, *spatial]`` out, so that each of ``groups`` goes everywhere."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class TextbookSupernet(Supernet):
    """The supernet computed edge by edge, operation by operation."""

    def _cell(self, shape: CellShape) -> MixedCell:
        return MixedCell(shape)

    def forward(self, x: Tensor, mixtures: Mixtures | None = None) -> Tensor:
        mixtures = self.uniform() if mixtures is None else mixtures
        before = last = self.stem(x)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            before, last = last, cell(before, last, mixtures[kind])
        return self.head(last)


class MixedNetwork(nn.Module):
    """A supernet whose weights of operations are fixed ``[edges, operations]`` for each kind."""

    def __init__(self, supernet: Supernet, weights: Mapping[str, Tensor]):
        super().__init__()
        self.supernet = supernet
        for kind, table in weights.items():
            self.register_buffer(kind, table.clone())

    def forward(self, x: Tensor) -> Tensor:
        kinds = set(self.supernet.kinds)
        return self.supernet(x, {kind: Mixture(self.get_buffer(kind)) for kind in kinds})
