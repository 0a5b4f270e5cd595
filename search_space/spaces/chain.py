"""Chains of layers: how many, and of each its type, then the width, kernel and stride it calls for.

Elsken, Metzen, Hutter: Neural Architecture Search: A Survey, JMLR 2019, section 2; in the manner of
Baker, Gupta, Naik, Raskar: Designing Neural Network Architectures using Reinforcement Learning,
ICLR 2017, table 1.

Deviations from Baker et al.: no fully connected layers, which fit neither an output for each
position nor any size of input; depthwise-separable and dilated convolutions, average pooling and
identity as Elsken et al. name them; convolutions are strided too, and have a batch norm instead of
dropout; windows are of odd size; widths are multiples of the width that is built with.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor, nn

from search_space.genotype import Genotype, GenotypeError
from search_space.graph import Box, Graph
from search_space.heads import Head, Stem
from search_space.spaces._layers import (
    IDENTITY,
    TYPES,
    Layer,
    LayeredSpace,
    layer_from_data,
    layer_module,
)
from search_space.spaces._questions import Questions
from search_space.task import Task

_LETTERS = dict(zip(("C", "P", "A", "S", "D", "I"), TYPES, strict=True))


@dataclass(frozen=True)
class Chain(LayeredSpace):
    """A chain of layers between a stem and a head.

    The decisions are the number of layers; then of each its type, and the width, kernel and stride
    where the type has them. Each is drawn uniformly, so that all lengths are equally likely, and
    short chains, which are fewer, are each likelier than long ones.
    """

    def questions(self) -> Questions[Genotype]:
        count = 1 + (yield self.most_layers)
        layers = []
        for _ in range(count):
            layers.append((yield from self.layer_questions()))
        return self.genotype(layers)

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        layers = self.layers(genotype)
        decisions = [self.length_answer(layers)]
        for number, layer in enumerate(layers):
            decisions += self.layer_answers(layer, f"layer {number}")
        return tuple(decisions)

    def size(self) -> int:
        """Sum over the lengths of (different layers) to the power of the length."""
        return sum(self.choices() ** length for length in range(1, self.most_layers + 1))

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return the chain without what changes nothing.

        Identity layers are left out unless there is nothing else, and a run of max poolings
        becomes the shortest that takes the maximum over the same window with the same stride, as
        two of 3 do for one of 5. Exact for every size of input.
        """
        self.check(genotype)
        layers: list[Layer] = []
        working = (layer for layer in self.layers(genotype) if layer.type != IDENTITY)
        for type_, run in groupby(working, key=lambda layer: layer.type):
            alike = list(run)
            layers += self._shortest(alike) if type_ == "max_pool" else alike
        return self.genotype(layers or [Layer(IDENTITY)])

    def parse(self, text: str) -> Genotype:
        """Read JSON or :meth:`text`."""
        if not text.lstrip().startswith("["):
            return super().parse(text)
        genotype = self.genotype(list(_read(text)))
        self.check(genotype)
        return genotype

    def text(self, genotype: Genotype) -> str:
        """Write the layers as Baker et al. do: ``[C(2,3,1), P(3,2)]``.

        C, S and D stand for convolutions, plain, separable and dilated, with (width, kernel,
        stride); P and A for max and average pooling with (kernel, stride); I for identity.
        """
        letters = {name: letter for letter, name in _LETTERS.items()}
        parts = []
        for layer in self.layers(genotype):
            numbers = ",".join(map(str, layer.parameters))
            parts.append(letters[layer.type] + (f"({numbers})" if numbers else ""))
        return f"[{', '.join(parts)}]"

    def genotype(self, layers: Sequence[Layer]) -> Genotype:
        """Make a genotype of this space from its layers."""
        data = [[layer.type, *layer.parameters] for layer in layers]
        return Genotype.of(self.name, {"layers": data})

    def layers(self, genotype: Genotype) -> list[Layer]:
        """Return the layers of a genotype. Raises GenotypeError."""
        data = self.layer_list(genotype)
        return [layer_from_data(layer, f"layer {i}") for i, layer in enumerate(data)]

    def build(
        self,
        genotype: Genotype,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> nn.Module:
        """Build the chain, ``channels`` wide where its width is 1.

        ``layers`` changes nothing: how deep a chain is belongs to its architecture. There are no
        auxiliary heads and no paths to drop.
        """
        self.check(genotype)
        return ChainNetwork(self.layers(genotype), task, channels)

    def drawing(self, genotype: Genotype) -> dict[str, Graph]:
        layers = self.layers(genotype)
        boxes = [Box(layer.label, layer.operation) for layer in layers]
        arrows = tuple((i, i + 1) for i in range(len(boxes) + 1))
        return {"Chain": Graph((Box("stem"), *boxes, Box("head")), arrows)}

    def _shortest(self, run: list[Layer]) -> list[Layer]:
        """Return the shortest run of max poolings, the first of its length, that equals ``run``.

        Poolings of radius r and stride s, then r' and s', take the maximum of all within r + s r'
        with stride s s'. With r >= s - 1 the windows leave no gaps, not at the end of the input
        either; where they do, the run stays.
        """
        if any(layer.kernel // 2 < layer.stride - 1 for layer in run):
            return run
        moves = [
            Layer("max_pool", 0, kernel, stride)
            for kernel in self.windows("max_pool")
            for stride in self.strides
            if kernel // 2 >= stride - 1
        ]
        wanted = _window(run)
        ways: dict[tuple[int, int], list[Layer]] = {(0, 1): []}
        open_ends = deque(ways)
        while wanted not in ways:
            start = open_ends.popleft()
            for move in moves:
                way = [*ways[start], move]
                if (window := _window(way)) not in ways and window <= wanted:
                    ways[window] = way
                    open_ends.append(window)
        return ways[wanted]


class ChainNetwork(nn.Module):
    """Stem, layers, head."""

    def __init__(self, layers: Sequence[Layer], task: Task, channels: int):
        super().__init__()
        ndim = len(task.spatial)
        self.stem = Stem(task, channels)
        self.layers = nn.Sequential()
        width = channels
        for layer in layers:
            module, width = layer_module(layer, width, channels, ndim)
            self.layers.append(module)
        self.head = Head(task, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(x)))


def _window(run: Sequence[Layer]) -> tuple[int, int]:
    """Return radius and stride of the single max pooling that a run of them amounts to."""
    radius, stride = 0, 1
    for layer in run:
        radius += stride * (layer.kernel // 2)
        stride *= layer.stride
    return radius, stride


def _read(text: str) -> Iterator[Layer]:
    """Yield the layers of ``[C(2,3,1), P(3,2), I]``. Raises GenotypeError."""
    if not (inner := re.fullmatch(r"\s*\[(.*)\]\s*", text, re.DOTALL)):
        raise GenotypeError("a chain in text is a list such as [C(2,3,1), P(3,2), I]")
    for part in re.split(r",\s*(?![^(]*\))", inner[1]):
        found = re.fullmatch(r"\s*([A-Z])(?:\(([\d,\s]+)\))?\s*", part)
        if not found or found[1] not in _LETTERS:
            raise GenotypeError(f"{part!r:.40} is no layer; a letter of {', '.join(_LETTERS)}")
        try:
            numbers = [int(number) for number in (found[2] or "").split(",") if found[2]]
        except ValueError:
            raise GenotypeError(f"{part!r:.40} does not hold whole numbers") from None
        yield layer_from_data([_LETTERS[found[1]], *numbers], f"the layer {part.strip()}")
