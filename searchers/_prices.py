"""What a pass through a supernet costs, by what its mixtures compute: multiply-adds and memory.

Counted on the textbook supernet, whatever form computes: a search is charged for the mathematics
and not for how cleverly it is done, so that budgets mean the same everywhere.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from search_space.heads import halvings
from search_space.mixture import Mixture, Mixtures, edges
from search_space.network import STEM_MULTIPLIER, reductions
from search_space.operations import OPERATIONS
from search_space.supernet import MixedCell, TextbookSupernet
from search_space.task import Task


@dataclass(frozen=True)
class Shape:
    """What decides the size of a supernet, as ``SearchSpace.supernet`` and ``Supernet`` take it."""

    operations: tuple[str, ...]
    nodes: int
    channels: int
    layers: int
    partial: int


@dataclass(frozen=True)
class Prices:
    """Multiply-adds of one example's forward pass, part by part.

    Args:
        fixed: stem, head and what fits the cells' inputs.
        operations: for each kind ``[edges, operations]``, summed over its cells.
    """

    fixed: int
    operations: Mapping[str, Tensor]

    def of(self, mixtures: Mixtures) -> int:
        """Return the multiply-adds of a pass with ``mixtures``."""
        total = self.fixed
        for kind, table in self.operations.items():
            for row, prices in enumerate(table.tolist()):
                total += sum(prices[i] for i in mixtures[kind].computed(row))
        return total


def prices(task: Task, shape: Shape) -> Prices:
    """Count the parts of a supernet of this shape, without computing anything."""
    with torch.device("meta"):
        network = TextbookSupernet(task, **vars(shape)).eval()
        nothing = torch.zeros(len(edges(shape.nodes)), len(shape.operations))
    spent, sizes = [0], []

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        spent[0] += output.numel() * math.prod(module.get_parameter("weight").shape[1:])

    for module in network.modules():
        if isinstance(module, _ConvNd | nn.Linear):
            module.register_forward_hook(count)
    cells = [cell for cell in network.cells if isinstance(cell, MixedCell)]
    for cell in cells:
        cell.second.register_forward_hook(lambda _, __, output: sizes.append(output.shape[2:]))
    empty = Mixture(nothing, active=((),) * len(nothing))
    with torch.no_grad():
        network(torch.zeros(1, *task.shape, device="meta"), {"normal": empty, "reduce": empty})
    fixed = spent[0]

    @functools.cache
    def price(name: str, channels: int, stride: int, size: tuple[int, ...]) -> int:
        with torch.device("meta"), torch.no_grad():
            operation = OPERATIONS[name](channels, stride, len(size), affine=False).eval()
            before = spent[0]
            for module in operation.modules():
                if isinstance(module, _ConvNd):
                    module.register_forward_hook(count)
            operation(torch.zeros(1, channels, *size))
        return spent[0] - before

    tables = {kind: torch.zeros(nothing.shape, dtype=torch.int64) for kind in network.kinds}
    for kind, cell, size in zip(network.kinds, cells, sizes, strict=True):
        halved = tuple(math.ceil(n / max(cell.strides)) for n in size)
        for row, (_, source) in enumerate(edges(shape.nodes)):
            given = tuple(size) if source < 2 else halved
            for column, name in enumerate(shape.operations):
                tables[kind][row, column] += price(name, cell.inside, cell.strides[row], given)
    return Prices(fixed, tables)


# Maps of an edge's width that a backward pass needs of each operation, its product with a weight
# included: relu, depthwise and pointwise of each block; of a max pool, indices of eight bytes too.
_KEPT_MAPS = {"none": 0, "skip_connect": 1, "avg_pool_3x3": 2, "max_pool_3x3": 4}
_KEPT_MAPS |= {"dil_conv_3x3": 4, "dil_conv_5x5": 4}
_KEPT_MAPS_OTHERS = 7  # two blocks: the separable convolutions

# Maps of a cell's width for each input of a cell: relu at full width, convolution.
_PREPROCESSING_MAPS = 8

# What else a step holds at its peak, as a factor of what a forward pass keeps; differentiating
# twice keeps the graph of the backward pass too.
_PEAK, _PEAK_TWICE = 1.5, 4.0


def example_bytes(task: Task, shape: Shape, *, twice: bool = False) -> float:
    """Estimate the memory that each example of a batch needs in a training step, in bytes.

    Args:
        task: gives the size of the inputs.
        shape: of the supernet.
        twice: whether a step differentiates twice.
    """
    maps = sum(_KEPT_MAPS.get(name, _KEPT_MAPS_OTHERS) for name in shape.operations) / shape.partial
    if shape.partial > 1:
        maps += 2  # what goes round, and the shuffle
    sizes = [math.ceil(n / 2 ** halvings(task.spatial)) for n in task.spatial]
    channels = shape.channels
    floats = 3.0 * STEM_MULTIPLIER * channels * math.prod(sizes)
    for layer in range(shape.layers):
        before = math.prod(sizes)
        after = before
        from_inputs, reduction = 2 * shape.nodes, layer in reductions(shape.layers)
        if reduction:
            channels *= 2
            sizes = [math.ceil(n / 2) for n in sizes]
            after = math.prod(sizes)
        inner = len(edges(shape.nodes)) - from_inputs
        # An edge that halves the resolution begins at the full one: about half of its maps.
        floats += channels * maps * (inner * after + from_inputs * (before + after) / 2)
        floats += 2 * _PREPROCESSING_MAPS * channels * before
    return 4 * floats * (_PEAK_TWICE if twice else _PEAK)
