"""Stems and heads: how any network takes a task's inputs and puts out what it asks for."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from search_space.operations import convolution, normalisation
from search_space.task import Task

# An input of more positions than this (64 x 64) is first made smaller by the stem.
POSITIONS = 4096


def halvings(spatial: tuple[int, ...]) -> int:
    """Number of times a stem halves an input so that at most POSITIONS positions are left."""
    excess = math.prod(spatial) / POSITIONS
    return max(0, math.ceil(math.log2(excess) / sum(n > 1 for n in spatial))) if excess > 1 else 0


class Stem(nn.Sequential):
    """3x3 convolutions from the task's channels to ``channels``; halves large inputs as needed.

    Without halving it is the CIFAR stem of DARTS: one convolution and a batch norm.
    """

    def __init__(self, task: Task, channels: int):
        ndim = len(task.spatial)
        layers: list[nn.Module] = []
        inputs = task.channels
        for _ in range(halvings(task.spatial)):
            layers += [
                convolution(ndim, inputs, channels, 3, stride=2, padding=1),
                normalisation(ndim, channels),
                nn.ReLU(),
            ]
            inputs = channels
        layers += [
            convolution(ndim, inputs, channels, 3, padding=1),
            normalisation(ndim, channels),
        ]
        super().__init__(*layers)


class Head(nn.Module):
    """From feature maps ``[N, channels, *spatial]`` to the outputs that the task's loss wants.

    Values for the whole input: global average, then a linear layer. Values for each position: a
    pointwise convolution, then (bi)linear interpolation to the size of the input.
    """

    def __init__(self, task: Task, channels: int):
        super().__init__()
        self.spatial = task.spatial if task.output.dense else None
        if self.spatial is None:
            self.project: nn.Module = nn.Linear(channels, task.output.size)
        else:
            kind = nn.Conv1d if len(self.spatial) == 1 else nn.Conv2d
            self.project = kind(channels, task.output.size, 1)

    def forward(self, features: Tensor) -> Tensor:
        if self.spatial is None:
            return self.project(features.flatten(2).mean(dim=2))
        mode = "linear" if len(self.spatial) == 1 else "bilinear"
        outputs = self.project(features)
        return functional.interpolate(outputs, size=self.spatial, mode=mode, align_corners=False)
