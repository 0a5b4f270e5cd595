"""Layers that each take some of the layers before them, and the network that they make."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_space.heads import Head, Stem
from search_space.operations import ReluConvNorm
from search_space.spaces._layers import CONVOLUTIONS, Layer, layer_module
from search_space.task import Task

JOINS = ("sum", "concat")


class Branch(NamedTuple):
    """A layer and what it takes: 0 is the stem, 1 the first layer; ``join`` is empty for one."""

    sources: tuple[int, ...]
    join: str
    layer: Layer


def loose_ends(branches: Sequence[Branch]) -> tuple[int, ...]:
    """Return the layers that no layer takes; they go to the head."""
    taken = {source for branch in branches for source in branch.sources}
    return tuple(number for number in range(1, len(branches) + 1) if number not in taken)


class Join(nn.Module):
    """What a layer takes of several: all at the lowest resolution, added or concatenated.

    Args:
        widths: channels of each input.
        join: "sum", "concat", or empty where there is one input.
        mixes: whether what follows computes each of its outputs of all channels; if not, a
            concatenation becomes as wide as its widest part.
        ndim: spatial dimensions.
    """

    def __init__(self, widths: Sequence[int], join: str, mixes: bool, ndim: int):
        super().__init__()
        self.join = join
        self.width = sum(widths) if join == "concat" and mixes else max(widths)
        self.fits = nn.ModuleList()
        if join == "sum":
            for width in widths:
                same = width == self.width
                self.fits.append(nn.Identity() if same else ReluConvNorm(width, self.width, ndim))
        elif join == "concat" and not mixes:
            self.fits.append(ReluConvNorm(sum(widths), self.width, ndim))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        size = min(tuple(x.shape[2:]) for x in inputs)
        level = [x if tuple(x.shape[2:]) == size else _average_to(x, size) for x in inputs]
        if self.join == "sum":
            fitted = [fit(x) for fit, x in zip(self.fits, level, strict=True)]
            return functools.reduce(torch.add, fitted)
        x = torch.cat(level, dim=1) if len(level) > 1 else level[0]
        for fit in self.fits:
            x = fit(x)
        return x


class BranchNetwork(nn.Module):
    """Stem, layers that each take some of what is before them, head."""

    def __init__(self, branches: Sequence[Branch], task: Task, channels: int):
        super().__init__()
        ndim = len(task.spatial)
        self.sources = [branch.sources for branch in branches]
        self.stem = Stem(task, channels)
        self.joins, self.layers = nn.ModuleList(), nn.ModuleList()
        widths = [channels]
        for sources, join, layer in branches:
            taken = [widths[source] for source in sources]
            joined = Join(taken, join, layer.type in CONVOLUTIONS, ndim)
            module, width = layer_module(layer, joined.width, channels, ndim)
            self.joins.append(joined)
            self.layers.append(module)
            widths.append(width)
        self.ends = loose_ends(branches)
        self.join = Join([widths[end] for end in self.ends], "concat", True, ndim)
        self.head = Head(task, self.join.width)

    def forward(self, x: Tensor) -> Tensor:
        states = [self.stem(x)]
        for sources, join, layer in zip(self.sources, self.joins, self.layers, strict=True):
            states.append(layer(join([states[source] for source in sources])))
        return self.head(self.join([states[end] for end in self.ends]))


def _average_to(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Average ``[N, C, ...]`` down to a smaller size."""
    if len(size) == 1:
        return functional.adaptive_avg_pool1d(x, size[0])
    return functional.adaptive_avg_pool2d(x, (size[0], size[1]))
