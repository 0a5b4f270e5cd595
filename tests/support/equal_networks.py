"""Whether two architectures are the same network, found out by running them.

All weights are set by what a layer is and never by where it stands: a convolution's depend on the
position in its window, the output channel, and the number of inputs, so that networks that differ
in the order of their parts alone compute the same maps, in some order. No two positions and no two
output channels have the same, which shows other windows, strides, sums and alignments.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator

import torch
from torch import Tensor, nn

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Task


def sequences(space: SearchSpace) -> Iterator[tuple[int, ...]]:
    """Yield every complete sequence of decisions, found by trying all options of each."""
    open_ends: list[tuple[int, ...]] = [()]
    while open_ends:
        start = open_ends.pop()
        count = space.options(start)
        if count == 0:
            yield start
        open_ends += [(*start, option) for option in range(count)]


def chance(space: SearchSpace, decisions: tuple[int, ...]) -> float:
    """Return the probability of a sequence whose every decision is drawn uniformly."""
    return 1 / math.prod(space.options(decisions[:i]) for i in range(len(decisions)))


def _spread(n: int) -> Tensor:
    """Return ``n`` different numbers around 1: the golden ratio's multiples, modulo 1."""
    return 0.5 + (torch.arange(1, n + 1, dtype=torch.float64) * 0.6180339887) % 1.0


def _fill(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            outputs, inputs, *window = module.weight.shape
            # A depthwise one treats all channels alike, as their order means nothing. Of both
            # signs: a maximum would commute with what only rises.
            rows = outputs if module.groups == 1 else 1
            pattern = _spread(rows * math.prod(window)).view(rows, 1, *window) - 0.9
            # Not divided by the inputs: a mean would not show that a channel comes twice.
            module.weight.data = (pattern / inputs**0.9).expand_as(module.weight).clone()
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.weight.data.fill_(1.3)
            module.bias.data.fill_(0.2)


@torch.no_grad()
def fingerprint(space: SearchSpace, genotype: Genotype, task: Task, layers: int = 1) -> Hashable:
    """Return the number of parameters and what the head gets of 16 inputs, to 9 digits.

    Of every channel its mean and mean square, of all channels in no order.
    """
    network = space.build(genotype, task, channels=2, layers=layers).double().eval()
    _fill(network)
    features: list[Tensor] = []
    network.head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    network(torch.randn(16, *task.shape, generator=torch.Generator().manual_seed(0)).double())
    channels = features[0].transpose(0, 1).flatten(1)
    rows = zip(channels.mean(1).tolist(), channels.square().mean(1).tolist(), strict=True)
    count = sum(p.numel() for p in network.parameters())
    return count, tuple(features[0].shape), tuple(sorted(f"{m:.9g} {s:.9g}" for m, s in rows))


def partition(space: SearchSpace, genotypes: Iterable[Genotype], key: object) -> set[frozenset]:
    """Return the genotypes in groups of the same ``key(genotype)``."""
    groups = defaultdict(set)
    for genotype in genotypes:
        groups[key(genotype)].add(genotype)  # type: ignore[operator]
    return {frozenset(group) for group in groups.values()}
