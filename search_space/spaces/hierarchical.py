"""Motifs of motifs: six small graphs of primitives, and a cell that is a graph of these.

Liu, Simonyan, Vinyals, Fernando, Kavukcuoglu: Hierarchical Representations for Efficient
Architecture Search, ICLR 2018, sections 2 and 4.1.

Deviations: the pointwise convolution that follows a level-2 motif puts out the channels of the
present cell and not as many as the motif's input has, which would grow eightfold with every cell.
What the paper leaves open: a node that nothing leads to holds nothing, a motif that puts out
nothing is no edge, and a cell that puts out nothing gives zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from search_space.genotype import Genotype, GenotypeError
from search_space.graph import Box, Graph
from search_space.operations import average_pooling, convolution, max_pooling, normalisation
from search_space.shelf import nearest
from search_space.spaces._motifs import MotifModule, Place, live, normal_form, places
from search_space.spaces._questions import AskingSpace, Questions, option
from search_space.spaces._stack import StackedNetwork
from search_space.task import Task

NONE, IDENTITY = "none", "identity"
# Section 2.3.
PRIMITIVES = (
    "conv_1x1",
    "depthwise_conv_3x3",
    "sep_conv_3x3",
    "max_pool_3x3",
    "avg_pool_3x3",
    IDENTITY,
)


@dataclass(frozen=True)
class Hierarchical(AskingSpace):
    """Level-2 motifs of primitives, and one level-3 motif of these, which is the cell.

    Args:
        motifs: number of level-2 motifs.
        motif_nodes, cell_nodes: nodes of a level-2 motif and of the cell, with input and output.
        primitives: level-1 operations.

    The decisions are the operations of all edges, of the cell, then of the level-2 motifs one after
    the other: none, or one of the level below. All are drawn uniformly, so that every sequence
    is as likely; the paper's random architectures are long chains of mutations instead.
    """

    # Section 4.1: L = 3, M1 = 6, M2 = 6, M3 = 1, |G2| = 4, |G3| = 5.
    motifs: int = 6
    motif_nodes: int = 4
    cell_nodes: int = 5
    primitives: tuple[str, ...] = PRIMITIVES

    def __post_init__(self) -> None:
        least = {"motifs": 1, "motif_nodes": 2, "cell_nodes": 2}
        for field, value in least.items():
            if getattr(self, field) < value:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at least {value}")
        for name in self.primitives:
            if name not in PRIMITIVES:
                raise ValueError(f"unknown primitive {name!r}; {nearest(name, PRIMITIVES)}")
        if not self.primitives or len(set(self.primitives)) < len(self.primitives):
            raise ValueError("primitives must be different, and at least one")

    def questions(self) -> Questions[Genotype]:
        cell = []
        for _ in places(self.cell_nodes):
            cell.append((yield self.motifs + 1))
        choices = (NONE, *self.primitives)
        motifs = []
        for _ in range(self.motifs):
            motif = []
            for _ in places(self.motif_nodes):
                motif.append(choices[(yield len(choices))])
            motifs.append(motif)
        return self.genotype(motifs, cell)

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        motifs, cell = self.levels(genotype)
        _long(motifs, self.motifs, '"motifs"')
        for number, motif in enumerate(motifs, start=1):
            _long(motif, len(places(self.motif_nodes)), f"motif {number}")
        _long(cell, len(places(self.cell_nodes)), '"cell"')
        choices, decisions = (NONE, *self.primitives), [*cell]
        for number, motif in enumerate(motifs, start=1):
            decisions += [option(held, choices, f"an edge of motif {number}") for held in motif]
        return tuple(decisions)

    def size(self) -> int:
        """(primitives + 1) to the power of the motifs' edges, (motifs + 1) to the cell's."""
        edges = self.motifs * len(places(self.motif_nodes))
        cell = len(places(self.cell_nodes))
        return (len(self.primitives) + 1) ** edges * (self.motifs + 1) ** cell

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return the representative, as far as it can be found by rules.

        Motifs and cell in their :func:`normal_form`; equal motifs are one, those that the cell
        does not hold have no edges, and the others are in order. Exact for every size of input.
        Left as they are: a node that concatenates before a pooling or after it.
        """
        self.check(genotype)
        motifs, cell = self.levels(genotype)
        empty = (NONE,) * len(places(self.motif_nodes))
        forms = [empty, *(normal_form(m, self.motif_nodes, NONE, IDENTITY) for m in motifs)]
        held = [forms[number] for number in cell]
        # No motif is the identity: a convolution follows it.
        graph = normal_form(held, self.cell_nodes, none=empty, identity=None)
        used = sorted(set(graph) - {empty})
        numbers = {empty: 0, **{form: number for number, form in enumerate(used, start=1)}}
        rest = [empty] * (self.motifs - len(used))
        return self.genotype([*used, *rest], [numbers[form] for form in graph])

    def genotype(self, motifs: Sequence[Sequence[str]], cell: Sequence[int]) -> Genotype:
        """Make a genotype of this space from the operations of all edges; see :func:`places`."""
        return Genotype.of(self.name, {"motifs": [list(m) for m in motifs], "cell": list(cell)})

    def levels(self, genotype: Genotype) -> tuple[list[list[str]], list[int]]:
        """Return the operations of the level-2 motifs and of the cell. Raises GenotypeError.

        The cell's are numbers of motifs, 1 and up; 0 is none.
        """
        self._own(genotype)
        data = genotype.data
        if set(data) != {"motifs", "cell"}:
            raise GenotypeError('a genotype of this space is {"motifs": [...], "cell": [...]}')
        motifs, cell = data["motifs"], data["cell"]
        if not isinstance(motifs, list) or not motifs:
            raise GenotypeError('"motifs" must be a list of motifs')
        for number, motif in enumerate(motifs, start=1):
            _nodes(motif, f"motif {number}")
            for held in motif:
                option(held, (NONE, *PRIMITIVES), f"an edge of motif {number}")
        _nodes(cell, '"cell"')
        for held in cell:
            option(held, range(len(motifs) + 1), "an edge of the cell")
        return motifs, cell

    def build(
        self,
        genotype: Genotype,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> nn.Module:
        """Build ``layers`` cells, the first ``channels`` wide, with two reductions between.

        A reduction, a 3x3 separable convolution of stride 2 that doubles the channels, stands
        before the cells at one third and two thirds of the depth. There are no paths to drop.
        """
        self.check(genotype)
        motifs, held = self.levels(genotype)
        edges, cell = _live_levels(motifs, held)

        def block(inputs: int, channels: int, ndim: int) -> tuple[nn.Module, int]:
            def motif(number: int, inputs: int) -> tuple[nn.Module, int]:
                def primitive(name: str, inputs: int) -> tuple[nn.Module, int]:
                    return primitive_module(name, inputs, channels, ndim)

                graph = MotifModule(edges[number - 1], self.motif_nodes, inputs, primitive)
                return nn.Sequential(graph, *_convolved(ndim, graph.width, channels)), channels

            module = MotifModule(cell, self.cell_nodes, inputs, motif)
            return module, module.width

        return StackedNetwork(
            block, _reduction, task, channels=channels, layers=layers, auxiliary=auxiliary
        )

    def drawing(self, genotype: Genotype) -> dict[str, Graph]:
        """Return the cell and the motifs that it holds, without the edges that lead nowhere."""
        motifs, held = self.levels(genotype)
        edges, cell = _live_levels(motifs, held)
        named = {place: f"motif {number}" for place, number in cell.items()}
        drawn = {"Cell": _drawn(named, _nodes(held, '"cell"'))}
        for number in sorted(set(cell.values())):
            nodes = _nodes(motifs[number - 1], f"motif {number}")
            drawn[f"Motif {number}"] = _drawn(edges[number - 1], nodes)
        return drawn


def primitive_module(name: str, inputs: int, channels: int, ndim: int) -> tuple[nn.Module, int]:
    """Return a primitive behind ``inputs`` channels, and how many channels it puts out.

    Section 2.3: of stride 1; batch norm and ReLU follow every convolution.
    """
    if name == IDENTITY:
        return nn.Identity(), inputs
    if name == "max_pool_3x3":
        return max_pooling(ndim, 3, 1), inputs
    if name == "avg_pool_3x3":
        return average_pooling(ndim, 3, 1), inputs
    if name == "conv_1x1":
        return nn.Sequential(*_convolved(ndim, inputs, channels)), channels
    depthwise = convolution(ndim, inputs, inputs, 3, padding=1, groups=inputs)
    if name == "sep_conv_3x3":
        return nn.Sequential(depthwise, *_convolved(ndim, inputs, channels)), channels
    return nn.Sequential(depthwise, normalisation(ndim, inputs), nn.ReLU()), inputs


def _convolved(ndim: int, inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return convolution(ndim, inputs, outputs, 1), normalisation(ndim, outputs), nn.ReLU()


def _reduction(inputs: int, outputs: int, ndim: int) -> tuple[nn.Module, int]:
    depthwise = convolution(ndim, inputs, inputs, 3, stride=2, padding=1, groups=inputs)
    return nn.Sequential(depthwise, *_convolved(ndim, inputs, outputs)), outputs


def _drawn(edges: dict[Place, str], nodes: int) -> Graph:
    """Return a motif with its nodes as numbers and its operations as boxes on the edges."""
    held = {node for place in edges for node in place} | {0, nodes - 1}
    boxes = [Box(str(node)) for node in sorted(held)]
    numbers = {node: number for number, node in enumerate(sorted(held))}
    arrows = []
    for (source, target), name in edges.items():
        arrows += [(numbers[source], len(boxes)), (len(boxes), numbers[target])]
        boxes.append(Box(name, "skip_connect" if name == IDENTITY else name))
    return Graph(tuple(boxes), tuple(arrows))


def _live_levels(
    motifs: Sequence[Sequence[str]], held: Sequence[int]
) -> tuple[list[dict[Place, str]], dict[Place, int]]:
    """Return the edges that are live of every motif, and of the cell."""
    edges = [live(motif, _nodes(motif, "a motif"), NONE) for motif in motifs]
    # A motif that puts out nothing is no edge.
    cell = [number if number and edges[number - 1] else 0 for number in held]
    return edges, live(cell, _nodes(held, '"cell"'), none=0)


def _nodes(edges: Any, what: str) -> int:
    """Return the number of nodes of a motif with so many edges. Raises GenotypeError."""
    if isinstance(edges, list):
        nodes = (1 + math.isqrt(1 + 8 * len(edges))) // 2
        if nodes > 1 and len(places(nodes)) == len(edges):
            return nodes
    raise GenotypeError(f"{what} must be a list of 1, 3, 6, 10, ... edges")


def _long(data: Sequence[object], length: int, what: str) -> None:
    if len(data) != length:
        raise GenotypeError(f"{what} has {len(data)} parts, not {length}")
