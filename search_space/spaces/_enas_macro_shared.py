"""All networks of the ENAS macro space with shared weights.

Pham et al. 2018, section 2.3; melodyguan/enas, general_child.py: each operation of a layer has its
own pointwise convolution before it.

Deviation: what joins a layer to the skipped states is a pointwise convolution of which those parts
are taken that belong to them, as it is in the final network; the published search sums them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from search_space.genotype import Genotype
from search_space.heads import Head, Stem
from search_space.operations import FactorizedReduce, ReluConvNorm
from search_space.shared import AnyMaps, SharedWeights
from search_space.spaces._enas_macro_network import (
    MACRO_OPERATIONS,
    Layers,
    needed,
    reductions,
)
from search_space.task import Task


class SharedLayers(SharedWeights):
    """All chains of ``layers`` layers with skip connections.

    Args:
        of: from a genotype to its layers.
        task: gives the shapes of inputs and outputs.
        operations: names of operations.
        layers: how many there are.
        channels: width of the first third; doubled at each halving.
    """

    def __init__(
        self,
        of: Callable[[Genotype], Layers],
        task: Task,
        *,
        operations: Sequence[str],
        layers: int,
        channels: int,
    ):
        super().__init__()
        self.of, ndim = of, len(task.spatial)
        self.stem = Stem(task, channels)
        self.bodies, self.joins = nn.ModuleList(), nn.ModuleList()
        self.halvings = nn.ModuleDict()
        for number in range(layers):
            if number in reductions(layers):
                for state in range(number + 1):
                    halve = FactorizedReduce(channels, 2 * channels, ndim)
                    self.halvings[f"{number}_{state}"] = halve
                channels *= 2
            bodies = {
                name: nn.Sequential(
                    ReluConvNorm(channels, channels, ndim),
                    MACRO_OPERATIONS[name](channels, 1, ndim),
                )
                for name in operations
            }
            self.bodies.append(nn.ModuleDict(bodies))
            # Of the states before the last one, and the layer's own result.
            join = ReluConvNorm((number + 1) * channels, channels, ndim)
            self.joins.append(AnyMaps(join, number + 1) if number else nn.Identity())
        self.head = Head(task, channels)

    def forward(self, x: Tensor, genotype: Genotype) -> Tensor:
        layers = self.of(genotype)
        sources = [skips for _, skips in layers]
        states = {0: self.stem(x)}
        for number, (operation, skips) in enumerate(layers):
            if number in reductions(len(layers)):
                states = {
                    state: self.halvings[f"{number}_{state}"](states[state])
                    for state in needed(sources, number)
                }
            bodies = self.bodies[number]
            assert isinstance(bodies, nn.ModuleDict)
            result = bodies[operation](states[number])
            if number:
                joined = torch.cat([*(states[state] for state in skips), result], dim=1)
                result = self.joins[number](joined, (*skips, number))
            states[number + 1] = result
        return self.head(states[len(layers)])
