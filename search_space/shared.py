"""Shared weights: all networks of a space in one, of which any single one can be computed.

Bender, Kindermans, Zoph, Vasudevan, Le: Understanding and Simplifying One-Shot Architecture Search,
ICML 2018; Pham et al.: Efficient Neural Architecture Search via Parameter Sharing, ICML 2018,
section 2. What a search trains on one architecture serves every other that has a part in common.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torch.func import functional_call

from search_space.genotype import Cell, Genotype
from search_space.mixture import of_cell
from search_space.supernet import Supernet


class SharedWeights(nn.Module, abc.ABC):
    """A network that is any one architecture of a space, with weights that all of them share.

    Running statistics of batch norms are those of whatever went through them last: before one
    architecture is evaluated they have to be measured anew for it.
    """

    @abc.abstractmethod
    def forward(self, x: Tensor, genotype: Genotype) -> Tensor:
        """Return the outputs of the network of ``genotype``; nothing else is computed."""


class SupernetPaths(SharedWeights):
    """The single paths through a supernet, which is as fast as that is.

    Args:
        supernet: of the space.
        cells: from a genotype to its cells; ``SearchSpace.cells``.
    """

    def __init__(self, supernet: Supernet, cells: Callable[[Genotype], Mapping[str, Cell]]):
        super().__init__()
        self.supernet, self.cells = supernet, cells

    def forward(self, x: Tensor, genotype: Genotype) -> Tensor:
        mixtures = {}
        for kind, cell in self.cells(genotype).items():
            mixture = of_cell(self.supernet.operations, cell)
            mixtures[kind] = dataclasses.replace(mixture, weights=mixture.weights.to(x.device))
        return self.supernet(x, mixtures)


class AnyMaps(nn.Module):
    """A module whose input is any of several maps of one width, side by side.

    Of its weights, those are taken that belong to the maps which are there. It is the module that
    a single architecture has, made for all maps.

    Args:
        module: of ``maps`` maps; weights of two and more dimensions have the inputs in the second.
        maps: how many there are.
    """

    def __init__(self, module: nn.Module, maps: int):
        super().__init__()
        self.module, self.maps = module, maps

    def forward(self, x: Tensor, chosen: Sequence[int]) -> Tensor:
        """Return what the module makes of ``x``, which holds the maps ``chosen`` in this order."""
        if list(chosen) == list(range(self.maps)):
            return self.module(x)
        return functional_call(self.module, self.weights(chosen), x)

    def weights(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Return the parameters of the module for the maps ``chosen``, by name."""
        return {
            name: weight.unflatten(1, (self.maps, -1))[:, list(chosen)].flatten(1, 2)
            if weight.dim() > 1
            else weight
            for name, weight in self.module.named_parameters()
        }
