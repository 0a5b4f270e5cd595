"""Residual networks of basic blocks, of any width and depth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1

from search_space.baselines._adapt import first_convolution, first_pools, fitted
from search_space.task import Task


def residual_network(task: Task, widths: Sequence[int], blocks: int) -> nn.Module:
    """Return stem, one stage of ``blocks`` basic blocks for each of ``widths``, and head.

    Each stage but the first halves the maps (He et al. 2016, table 1).
    """
    with torch.device("meta"):
        stages = [
            _stage(before, width, blocks, stride=1 if i == 0 else 2)
            for i, (before, width) in enumerate(zip((widths[0], *widths), widths, strict=False))
        ]
        body = nn.Sequential(
            first_convolution(task, widths[0]),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            first_pools(task, partial(nn.MaxPool2d, 3, stride=2, padding=1)),
            *stages,
        )
    he = partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu")
    return fitted(body, task, widths[-1], he)


def _stage(before: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or before != width:
        shortcut = nn.Sequential(conv1x1(before, width, stride), nn.BatchNorm2d(width))
    first = BasicBlock(before, width, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))
