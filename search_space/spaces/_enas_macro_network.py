"""The network of the ENAS macro space: a chain of layers with skip connections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_space.heads import Head, Stem
from search_space.operations import (
    OPERATIONS,
    FactorizedReduce,
    Factory,
    ReluConvNorm,
    depthwise,
)
from search_space.task import Task

Layers = Sequence[tuple[str, tuple[int, ...]]]
"""For each layer its operation and the states it skips from; 0 is the stem, i the i-th layer."""


def _separable_once(kernel: int) -> Factory:
    def factory(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
        return nn.Sequential(*depthwise(channels, kernel, stride, 1, ndim, affine))

    return factory


MACRO_OPERATIONS: dict[str, Factory] = {
    "conv_3x3": OPERATIONS["conv_3x3"],
    "sep_conv_3x3": _separable_once(3),
    "conv_5x5": OPERATIONS["conv_5x5"],
    "sep_conv_5x5": _separable_once(5),
    "avg_pool_3x3": OPERATIONS["avg_pool_3x3"],
    "max_pool_3x3": OPERATIONS["max_pool_3x3"],
}
"""Name -> factory, as in OPERATIONS; here a separable convolution is applied once, not twice."""


def reductions(layers: int) -> tuple[int, ...]:
    """Return after how many layers the maps are halved: one third and two thirds of the depth."""
    third = layers // 3
    return (third, 2 * third) if third else ()


def needed(sources: Sequence[tuple[int, ...]], number: int) -> list[int]:
    """Return the states that layer ``number`` (from 0) and those after it take.

    Args:
        sources: the states that each layer skips from.
        number: of the layer.
    """
    skipped = {state for skips in sources[number:] for state in skips if state <= number}
    return sorted(skipped | {number})


class MacroLayer(nn.Module):
    """A pointwise convolution, the operation, and what joins its result to skipped states."""

    def __init__(self, operation: str, skips: int, channels: int, *, ndim: int, joins: bool):
        super().__init__()
        self.body = nn.Sequential(
            ReluConvNorm(channels, channels, ndim),
            MACRO_OPERATIONS[operation](channels, 1, ndim),
        )
        self.join: nn.Module = nn.Identity()
        if joins:
            self.join = ReluConvNorm((skips + 1) * channels, channels, ndim)

    def forward(self, last: Tensor, skipped: Sequence[Tensor]) -> Tensor:
        return self.join(torch.cat([*skipped, self.body(last)], dim=1))


class EnasMacroNetwork(nn.Module):
    """Stem, layers, head; all states that are still needed are halved twice on the way.

    Args:
        layers: the architecture.
        task: gives the shapes of inputs and outputs.
        channels: width of the first third; doubled at each halving.
    """

    def __init__(self, layers: Layers, task: Task, *, channels: int):
        super().__init__()
        ndim = len(task.spatial)
        self.sources = [skips for _, skips in layers]
        self.stem = Stem(task, channels)
        self.layers = nn.ModuleList()
        self.halvings = nn.ModuleDict()
        for number, (operation, skips) in enumerate(layers):
            if number in reductions(len(layers)):
                for state in needed(self.sources, number):
                    halve = FactorizedReduce(channels, 2 * channels, ndim)
                    self.halvings[f"{number}_{state}"] = halve
                channels *= 2
            self.layers.append(
                MacroLayer(operation, len(skips), channels, ndim=ndim, joins=number > 0)
            )
        self.head = Head(task, channels)

    def forward(self, x: Tensor) -> Tensor:
        states = {0: self.stem(x)}
        for number, (layer, skips) in enumerate(zip(self.layers, self.sources, strict=True)):
            if number in reductions(len(self.layers)):
                states = {
                    state: self.halvings[f"{number}_{state}"](states[state])
                    for state in needed(self.sources, number)
                }
            states[number + 1] = layer(states[number], [states[state] for state in skips])
        return self.head(states[len(self.layers)])
