"""The ENAS macro space: a chain of layers, each with one of six operations and any skips to it.

Pham, Guan, Zoph, Le, Dean: Efficient Neural Architecture Search via Parameter Sharing, ICML 2018,
section 2.3; melodyguan/enas, general_child.py, whole channels. Twelve layers were searched; the
maps are halved and the width is doubled after one and two thirds of them. ``channels`` is the
width of the first third (36 in the paper's search). The depth is part of the architecture, so
that a plan's ``layers`` of the training, meant for networks of cells, is not used.

As in the published code, the bits of a layer stand for the stem and all layers before the last
one, whose output it takes anyway; and every layer but the first ends in a pointwise convolution
that joins its result to the skipped states.

Deviations: in the published code's retraining, separable convolutions are full ones and pools are
missing, here they are what they are called, as in its search; states that no later layer takes
are not carried along when maps are halved; there is no dropout before the head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from search_space.genotype import Cell, Edge, Genotype, GenotypeError
from search_space.shared import SharedWeights
from search_space.space import SearchSpace
from search_space.spaces._arcs import parse_arcs, print_arcs
from search_space.spaces._enas_macro_network import MACRO_OPERATIONS, EnasMacroNetwork, Layers
from search_space.spaces._enas_macro_shared import SharedLayers
from search_space.spaces._parameters import at_least, different_names, index_of
from search_space.task import Task


@dataclass(frozen=True)
class EnasMacro(SearchSpace):
    """Layers that take the one before them and any of those before that.

    Args:
        layers: number of layers.
        operations: names of operations, in the order of ENAS's numbers.

    A layer's decisions are its operation and, for the stem and each layer but the one before it, 1
    for a skip connection and 0 for none. No two sequences build the same network.
    """

    layers: int = 12
    operations: tuple[str, ...] = tuple(MACRO_OPERATIONS)

    def __post_init__(self) -> None:
        at_least(1, layers=self.layers)
        different_names("operation", self.operations, MACRO_OPERATIONS)

    def options(self, decisions: Sequence[int]) -> int:
        place = len(decisions)
        if place >= self.layers * (self.layers + 1) // 2:
            return 0
        return len(self.operations) if self._begins_layer(place) else 2

    def decode(self, decisions: Sequence[int]) -> Genotype:
        self._complete_or_raise(decisions)
        chosen = iter(decisions)
        layers = []
        for layer in range(self.layers):
            operation = self.operations[next(chosen)]
            layers.append([operation, [state for state in range(layer) if next(chosen)]])
        return Genotype.of(self.name, {"layers": layers})

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        layers = self._layers(genotype)
        if len(layers) != self.layers:
            raise GenotypeError(f"{len(layers)} layers; here it must be {self.layers}")
        return tuple(number for row in self._rows(layers) for number in row)

    def size(self) -> int:
        """Operations to the power of layers, times 2 to the power of possible skips."""
        return len(self.operations) ** self.layers * 2 ** (self.layers * (self.layers - 1) // 2)

    def parse(self, text: str) -> Genotype:
        """Read JSON, or the rows ``[operation skip skip ...]`` of the layers."""
        decisions = parse_arcs(text, range(1, self.layers + 1))
        if decisions is None:
            return super().parse(text)
        try:
            return self.decode(decisions)
        except ValueError as error:
            raise GenotypeError(f"not an architecture of {self.layers} layers: {error}") from None

    def text(self, genotype: Genotype) -> str:
        return print_arcs(self._rows(self._layers(genotype)))

    def cells(self, genotype: Genotype) -> dict[str, Cell]:
        """Return the chain as one cell; its nodes are the layers."""
        layers = self._layers(genotype)
        nodes = tuple(
            (Edge(operation, number), *(Edge("", state) for state in skips))
            for number, (operation, skips) in enumerate(layers)
        )
        joined = tuple(number for number, (_, skips) in enumerate(layers) if skips)
        return {"network": Cell(nodes, (len(layers),), inputs=1, joined=joined)}

    def build(
        self,
        genotype: Genotype,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> nn.Module:
        """Build the network. Its depth is the genotype's; there is no auxiliary head."""
        self.encode(genotype)
        return EnasMacroNetwork(self._layers(genotype), task, channels=channels)

    def shared(self, task: Task, *, channels: int, layers: int, fast: bool = True) -> SharedWeights:
        """Build all networks with shared weights; ``layers`` is not used."""
        return SharedLayers(
            self._layers,
            task,
            operations=self.operations,
            layers=self.layers,
            channels=channels,
        )

    def skips(self) -> frozenset[int]:
        return frozenset(
            place
            for place in range(self.layers * (self.layers + 1) // 2)
            if not self._begins_layer(place)
        )

    def _layers(self, genotype: Genotype) -> Layers:
        """Return the operation and the skips of each layer. Raises GenotypeError."""
        self._own(genotype)
        layers = genotype.data.get("layers")
        if not isinstance(layers, list) or not layers:
            raise GenotypeError('a genotype of this space has "layers": [operation, skips] of each')
        for number, layer in enumerate(layers):
            skips = layer[1] if isinstance(layer, list) and len(layer) == 2 else None
            if not isinstance(skips, list) or not all(type(state) is int for state in skips):
                raise GenotypeError(f"layer {number} is {layer!r}; it must be [operation, skips]")
            if skips != [state for state in range(number) if state in skips]:
                raise GenotypeError(
                    f"layer {number} skips from {skips}; allowed: 0 to {number - 1}, in order"
                )
        return [(operation, tuple(skips)) for operation, skips in layers]

    def _begins_layer(self, place: int) -> bool:
        """Whether the decision at ``place`` is a layer's operation, and not one of its skips."""
        # Layer i, from 0, starts after 1 + 2 + ... + i decisions.
        layer = (math.isqrt(8 * place + 1) - 1) // 2
        return place == layer * (layer + 1) // 2

    def _rows(self, layers: Layers) -> list[list[int]]:
        """Return operation number and skip bits of each layer."""
        return [
            [index_of("operation", operation, self.operations)]
            + [int(state in skips) for state in range(number)]
            for number, (operation, skips) in enumerate(layers)
        ]
