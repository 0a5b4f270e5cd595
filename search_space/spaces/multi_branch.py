"""Chains whose layers may take any earlier layers as input, concatenated or added.

Elsken, Metzen, Hutter: Neural Architecture Search: A Survey, JMLR 2019, section 2: the input of a
layer is a function of all outputs before it. Chains, residual networks (sums) and DenseNets
(concatenations) are special cases.

What the survey leaves open is done so: the layers that no other takes are concatenated before the
head, as by Zoph, Le: Neural Architecture Search with Reinforcement Learning, ICLR 2017, section
3.3. Inputs of higher resolution are averaged down to the lowest; summands of other widths than the
widest are brought to it by a pointwise convolution, and so is a concatenation before a layer that
would keep the width, a pooling or an identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from search_space.genotype import Genotype, GenotypeError
from search_space.graph import Box, Graph
from search_space.spaces._branches import JOINS, Branch, BranchNetwork, loose_ends
from search_space.spaces._isomorphism import Vertex, in_order, takers, without_identities
from search_space.spaces._layers import (
    IDENTITY,
    Layer,
    LayeredSpace,
    layer_from_data,
)
from search_space.spaces._questions import Questions, option
from search_space.task import Task


@dataclass(frozen=True)
class MultiBranch(LayeredSpace):
    """Layers that each take one or several of the stem and the layers before.

    The decisions are the number of layers; then of each whether it takes the layer before, the one
    before that, and so on to the stem (which it must where it takes nothing else), how several are
    joined, and then what the chain asks: type, width, kernel, stride. Each is drawn uniformly.
    """

    most_layers: int = 8

    def questions(self) -> Questions[Genotype]:
        count = 1 + (yield self.most_layers)
        branches = []
        for number in range(1, count + 1):
            taken: list[int] = []
            for source in reversed(range(number)):
                if source == 0 and not taken:
                    yield 1
                    taken.append(source)
                elif (yield 2):
                    taken.append(source)
            join = JOINS[(yield len(JOINS))] if len(taken) > 1 else ""
            layer = yield from self.layer_questions()
            branches.append(Branch(tuple(sorted(taken)), join, layer))
        return self.genotype(branches)

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        branches = self.branches(genotype)
        decisions = [self.length_answer(branches)]
        for number, (sources, join, layer) in enumerate(branches, start=1):
            takes = [int(source in sources) for source in reversed(range(number))]
            # The stem is no question where nothing else is taken.
            decisions += takes if sources != (0,) else [*takes[:-1], 0]
            if len(sources) > 1:
                decisions.append(option(join, JOINS, f"the join of layer {number}"))
            decisions += self.layer_answers(layer, f"layer {number}")
        return tuple(decisions)

    def size(self) -> int:
        """Sum over the lengths of the product over layers i of layers times inputs.

        Layer i has i ways to take one input, and 2 (2^i - 1 - i) to take several.
        """
        total, ways = 0, 1
        for number in range(1, self.most_layers + 1):
            ways *= self.choices() * (number + 2 * (2**number - 1 - number))
            total += ways
        return total

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return the network without identities that change nothing, its layers in one order.

        An identity of a concatenation, which is a pointwise convolution, is written as one where
        the space has it; one of a sum that a single layer takes alone is that layer's own sum.
        Exact for every size of input. Left as they are: runs of max pooling, and sums of sums.
        """
        self.check(genotype)
        branches = self.branches(genotype)
        widths = _widths(branches)
        vertices = {}
        for number, (sources, join, layer) in enumerate(branches, start=1):
            pointwise = Layer("conv", widths[number], 1, 1)
            if layer.type == IDENTITY and join == "concat" and self._has(pointwise):
                layer = pointwise
            vertices[number] = Vertex((join, *layer), sources)
        lone = ("", *Layer(IDENTITY))
        fewer = without_identities(vertices, lambda v: v.label == lone, repeats=False)
        ordered = in_order(_added_where_taken(fewer))
        return self.genotype([Branch(v.sources, v.label[0], Layer(*v.label[1:])) for v in ordered])

    def genotype(self, branches: Sequence[Branch]) -> Genotype:
        """Make a genotype of this space from its layers."""
        layers = []
        for sources, join, layer in branches:
            record: dict[str, Any] = {
                "inputs": list(sources),
                "layer": [layer.type, *layer.parameters],
            }
            layers.append(record | ({"join": join} if join else {}))
        return Genotype.of(self.name, {"layers": layers})

    def branches(self, genotype: Genotype) -> list[Branch]:
        """Return the layers of a genotype. Raises GenotypeError."""
        data = self.layer_list(genotype)
        return [_branch(record, number) for number, record in enumerate(data, start=1)]

    def build(
        self,
        genotype: Genotype,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> nn.Module:
        """Build the network, ``channels`` wide where a layer's width is 1.

        ``layers`` changes nothing: how deep a network is belongs to its architecture. There are no
        auxiliary heads and no paths to drop.
        """
        self.check(genotype)
        return BranchNetwork(self.branches(genotype), task, channels)

    def drawing(self, genotype: Genotype) -> dict[str, Graph]:
        branches = self.branches(genotype)
        boxes, arrows = [Box("stem")], []
        ends = {0: 0}  # number of a layer -> its box
        joined = [(branch.sources, branch.join) for branch in branches]
        joined.append((loose_ends(branches), "concat"))
        for number, (sources, join) in enumerate(joined, start=1):
            feeds = [ends[source] for source in sources]
            if len(sources) > 1:
                boxes.append(Box("+" if join == "sum" else "concat"))
                arrows += [(feed, len(boxes) - 1) for feed in feeds]
                feeds = [len(boxes) - 1]
            if number > len(branches):
                boxes.append(Box("head"))
            else:
                layer = branches[number - 1].layer
                boxes.append(Box(layer.label, layer.operation))
            arrows.append((feeds[0], len(boxes) - 1))
            ends[number] = len(boxes) - 1
        return {"Layers": Graph(tuple(boxes), tuple(arrows))}

    def _has(self, layer: Layer) -> bool:
        try:
            self.layer_answers(layer, "")
        except GenotypeError:
            return False
        return True


def _added_where_taken(graph: Mapping[int, Vertex]) -> dict[int, Vertex]:
    """Return the graph without sums that only one layer takes, and nothing else: it adds itself."""
    result, after = dict(graph), takers(graph)
    for number, vertex in graph.items():
        users = after[number]
        if vertex.label == ("sum", *Layer(IDENTITY)) and len(users) == 1:
            (user,) = users
            if result[user].sources == (number,):
                label = ("sum", *result[user].label[1:])
                result[user] = Vertex(label, result.pop(number).sources)
    return result


def _widths(branches: Sequence[Branch]) -> list[int]:
    """Return the width of the stem and of each layer, in multiples of the channels."""
    widths = [1]
    for sources, _, layer in branches:
        widths.append(layer.width or max(widths[source] for source in sources))
    return widths


def _branch(data: Any, number: int) -> Branch:
    """Read one record of :meth:`MultiBranch.genotype`. Raises GenotypeError."""
    where = f"layer {number}"
    if not isinstance(data, dict) or not {"inputs", "layer"} <= set(data) <= {
        "inputs",
        "layer",
        "join",
    }:
        raise GenotypeError(f'{where} must hold "inputs", "layer" and, of several inputs, "join"')
    sources, join = data["inputs"], data.get("join", "")
    whole = isinstance(sources, list) and all(type(source) is int for source in sources)
    if not whole or not sources or sources != sorted(set(sources)):
        raise GenotypeError(f"the inputs of {where} are {sources!r}; they must be rising numbers")
    if not 0 <= sources[0] <= sources[-1] < number:
        raise GenotypeError(f"the inputs of {where} are {sources}; allowed: 0 to {number - 1}")
    if ("join" in data) != (len(sources) > 1):
        raise GenotypeError(f'{where} takes {len(sources)}; "join" belongs to two or more')
    return Branch(tuple(sources), join, layer_from_data(data["layer"], where))
