"""The network that a pair of cells stands for: stem, stacked cells, head (Liu et al. 2019, A.1)."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from search_space.genotype import Cell
from search_space.heads import Head, Stem, halvings
from search_space.operations import (
    OPERATIONS,
    FactorizedReduce,
    ReluConvNorm,
    convolution,
    normalisation,
)
from search_space.task import Task

STEM_MULTIPLIER = 3  # quark0/darts, model.py: stem_multiplier


def reductions(layers: int) -> set[int]:
    """Positions of the reduction cells: one third and two thirds of the depth."""
    return {layers // 3, 2 * layers // 3}


def preprocessing(
    before: int, last: int, channels: int, reduced: bool, ndim: int, affine: bool = True
) -> tuple[nn.Module, nn.Module]:
    """Return what fits the outputs of the two cells before to a cell's width and resolution."""
    fit = FactorizedReduce if reduced else ReluConvNorm
    return fit(before, channels, ndim, affine), ReluConvNorm(last, channels, ndim, affine)


def auxiliary_fits(task: Task) -> bool:
    """Whether an auxiliary head behind two reductions finds maps at least 8 wide.

    The paper's CIFAR networks, of 32 x 32 inputs, are the smallest; dense tasks have none.
    """
    # Two reductions divide by four: 8 positions there are 32 behind the stem.
    return not task.output.dense and min(task.spatial) // 2 ** halvings(task.spatial) >= 32


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Zero whole examples of a batch with ``probability`` and scale the rest.

    Larsson, Maire, Shakhnarovich: FractalNet, ICLR 2017, section 3.
    """
    keep = 1.0 - probability
    mask = torch.empty(x.shape[0], *[1] * (x.dim() - 1), device=x.device).bernoulli_(keep)
    return x * mask / keep


class CellModule(nn.Module):
    """One cell: each node combines its edges, and the chosen states are concatenated.

    A node that concatenates its edges brings them back to the cell's width by a pointwise
    convolution. Inputs of a reduction cell that are part of its output are halved.
    """

    def __init__(
        self,
        cell: Cell,
        widths: tuple[int, int],
        channels: int,
        *,
        reduction: bool,
        reduced: bool,
        ndim: int,
    ):
        super().__init__()
        self.cell = cell
        self.first, self.second = preprocessing(*widths, channels, reduced, ndim)
        self.edges = nn.ModuleList(
            OPERATIONS[edge.operation](channels, 2 if reduction and edge.source < 2 else 1, ndim)
            for node in cell.nodes
            for edge in node
        )
        self.joins = nn.ModuleDict(
            {
                str(node): ReluConvNorm(len(cell.nodes[node]) * channels, channels, ndim)
                for node in cell.joined
            }
        )
        self.outputs = nn.ModuleList(
            FactorizedReduce(channels, channels, ndim)
            if reduction and state < cell.inputs
            else nn.Identity()
            for state in cell.concat
        )

    def forward(self, before: Tensor, last: Tensor, drop: float) -> Tensor:
        states = [self.first(before), self.second(last)]
        modules = iter(self.edges)
        for node, edges in enumerate(self.cell.nodes):
            paths = []
            for edge in edges:
                module = next(modules)
                y = module(states[edge.source])
                if drop > 0 and not isinstance(module, nn.Identity):
                    y = drop_path(y, drop)
                paths.append(y)
            if node in self.cell.joined:
                states.append(self.joins[str(node)](torch.cat(paths, dim=1)))
            else:
                states.append(functools.reduce(torch.add, paths))
        chosen = zip(self.outputs, self.cell.concat, strict=True)
        return torch.cat([module(states[state]) for module, state in chosen], dim=1)


class Auxiliary(nn.Sequential):
    """A classifier on the maps at two thirds of the depth, which helps large networks to train.

    As in quark0/darts (AuxiliaryHeadCIFAR), with an adaptive pool to 2x2 instead of a 5x5 pool of
    stride 3, so that any resolution fits.
    """

    def __init__(self, task: Task, channels: int):
        ndim = len(task.spatial)
        pool = nn.AdaptiveAvgPool1d(2) if ndim == 1 else nn.AdaptiveAvgPool2d(2)
        super().__init__(
            nn.ReLU(),
            pool,
            convolution(ndim, channels, 128, 1),
            normalisation(ndim, 128),
            nn.ReLU(),
            convolution(ndim, 128, 768, 2),
            normalisation(ndim, 768),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(768, task.output.size),
        )


class CellNetwork(nn.Module):
    """A stack of normal cells with two reduction cells, between a stem and a head.

    Args:
        cells: the "normal" and the "reduce" cell.
        task: gives the shapes of inputs and outputs.
        channels: width of the first cells; doubled at each reduction.
        layers: number of cells.
        auxiliary: add an auxiliary head at two thirds of the depth where :func:`auxiliary_fits`.

    In training mode ``forward`` returns the outputs, or (outputs, auxiliary outputs) where there
    is an auxiliary head. Set ``drop_path`` to the probability with which a path is dropped.
    """

    def __init__(
        self,
        cells: Mapping[str, Cell],
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ):
        super().__init__()
        ndim = len(task.spatial)
        self.drop_path = 0.0
        width = STEM_MULTIPLIER * channels
        self.stem = Stem(task, width)
        self.cells = nn.ModuleList()
        widths, reduced = (width, width), False
        for layer in range(layers):
            reduction = layer in reductions(layers)
            channels *= 2 if reduction else 1
            cell = cells["reduce" if reduction else "normal"]
            self.cells.append(
                CellModule(cell, widths, channels, reduction=reduction, reduced=reduced, ndim=ndim)
            )
            widths, reduced = (widths[1], channels * len(cell.concat)), reduction
            if layer == 2 * layers // 3:
                auxiliary_width = widths[1]
        self.auxiliary_layer = -1
        if auxiliary and auxiliary_fits(task):
            self.auxiliary_layer = 2 * layers // 3
            self.auxiliary = Auxiliary(task, auxiliary_width)
        self.head = Head(task, widths[1])

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        before = last = self.stem(x)
        drop = self.drop_path if self.training else 0.0
        extra = None
        for layer, cell in enumerate(self.cells):
            before, last = last, cell(before, last, drop)
            if layer == self.auxiliary_layer and self.training:
                extra = self.auxiliary(last)
        outputs = self.head(last)
        return outputs if extra is None else (outputs, extra)
