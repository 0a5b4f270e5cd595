"""The skeleton of NAS-Bench-201: three stages of one cell, with residual blocks between them.

Dong, Yang 2020, section 2.1 and figure 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from search_space.genotype import Cell
from search_space.heads import Head, Stem
from search_space.operations import OPERATIONS, ReluConvNorm, convolution, normalisation
from search_space.task import Task

STAGES = 3


class SummingCell(nn.Module):
    """A cell of one input whose nodes sum their edges; a node without edges is zero."""

    def __init__(self, cell: Cell, channels: int, ndim: int):
        super().__init__()
        self.cell = cell
        self.edges = nn.ModuleList(
            OPERATIONS[edge.operation](channels, 1, ndim) for node in cell.nodes for edge in node
        )

    def forward(self, x: Tensor) -> Tensor:
        states, modules = [x], iter(self.edges)
        for node in self.cell.nodes:
            terms = [next(modules)(states[edge.source]) for edge in node]
            states.append(functools.reduce(torch.add, terms) if terms else torch.zeros_like(x))
        return states[-1]


class Reduction(nn.Module):
    """A residual block that halves the resolution; odd sizes are rounded up.

    Its shortcut is an average pool and a pointwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, ndim: int):
        super().__init__()
        self.body = nn.Sequential(
            ReluConvNorm(inputs, outputs, ndim, kernel=3, stride=2),
            ReluConvNorm(outputs, outputs, ndim, kernel=3),
        )
        pool = nn.AvgPool1d if ndim == 1 else nn.AvgPool2d
        self.shortcut = nn.Sequential(
            # The part of a window that lies beyond the edge of an odd size is not counted.
            pool(2, stride=2, ceil_mode=True),
            convolution(ndim, inputs, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.body(x)


def skeleton(
    cell: Callable[[int], nn.Module], task: Task, *, channels: int, layers: int
) -> Iterator[nn.Module]:
    """Yield stem; three stages of cells, each twice as wide as the last; batch norm, ReLU, head.

    Args:
        cell: makes a cell of a width.
        task: gives the shapes of inputs and outputs.
        channels: width of the first stage.
        layers: number of cells, dealt out to the stages; the later ones get what is left over.
    """
    ndim = len(task.spatial)
    yield Stem(task, channels)
    for stage in range(STAGES):
        if stage > 0:
            yield Reduction(channels, 2 * channels, ndim)
            channels *= 2
        count = layers * (stage + 1) // STAGES - layers * stage // STAGES
        yield from (cell(channels) for _ in range(count))
    yield normalisation(ndim, channels)
    yield nn.ReLU()
    yield Head(task, channels)


class NasBench201Network(nn.Sequential):
    """The benchmark's skeleton around ``cell``, which has one input; see :func:`skeleton`."""

    def __init__(self, cell: Cell, task: Task, *, channels: int, layers: int):
        ndim = len(task.spatial)
        super().__init__(
            *skeleton(
                lambda width: SummingCell(cell, width, ndim),
                task,
                channels=channels,
                layers=layers,
            )
        )
