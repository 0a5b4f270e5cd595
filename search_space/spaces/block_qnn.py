"""Blocks written as network structure codes: up to 23 layers, each of one or two before it.

Zhong, Yan, Wu, Shao, Liu: Practical Block-wise Neural Network Architecture Generation, CVPR 2018,
section 3.1. A layer is (index, type, kernel, first predecessor, second predecessor); the input of
the block is index 0. Layers that no other takes are concatenated to the block's output; a network
is a convolution and repeated blocks with max pooling between.

What the paper leaves open: the input of a block is brought to its width by a pointwise
convolution, and so is the narrower of two summands of different widths. Every layer but the first
can be the last; the first one is never the terminal, so that no block is empty.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from search_space.genotype import Genotype, GenotypeError
from search_space.graph import Box, Graph
from search_space.operations import max_pooling
from search_space.spaces._isomorphism import Vertex, in_order, takers, without_identities
from search_space.spaces._questions import AskingSpace, Questions
from search_space.spaces._stack import StackedNetwork
from search_space.spaces._structure_code import (
    ADD,
    AVG_POOL,
    CONCAT,
    CONV,
    IDENTITY,
    JOINING,
    KERNELS,
    MAX_POOL,
    TERMINAL,
    Block,
    Code,
    check_row,
    loose_ends,
    to_rows,
)
from search_space.task import Task

_NAMES = {CONV: "conv", MAX_POOL: "max_pool", AVG_POOL: "avg_pool"}


@dataclass(frozen=True)
class BlockQnn(AskingSpace):
    """Blocks of layers that are coded one after the other until the terminal.

    Args:
        most_layers: layers of a block, without the terminal.

    The decisions of a layer are its type, its kernel where the type has one, and its predecessors.
    Each is drawn uniformly, so that after every layer a block ends with probability 1/7.
    """

    most_layers: int = 23  # the paper's maximum layer index

    def __post_init__(self) -> None:
        if self.most_layers < 1:
            raise ValueError(f"most_layers is {self.most_layers}; it must be at least 1")

    def questions(self) -> Questions[Genotype]:
        codes: list[Code] = []
        for index in range(1, self.most_layers + 1):
            type_ = 1 + (yield TERMINAL if codes else TERMINAL - 1)
            if type_ == TERMINAL:
                break
            kernels = KERNELS.get(type_, ())
            kernel = kernels[(yield len(kernels))] if kernels else 0
            first = yield index
            second = (yield index) if type_ in JOINING else 0
            codes.append(Code(index, type_, kernel, first, second))
        return self.genotype(codes)

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        codes = self.codes(genotype)
        if len(codes) > self.most_layers:
            raise GenotypeError(f"{len(codes)} layers; allowed: 1 to {self.most_layers}")
        decisions = []
        for code in codes:
            decisions.append(code.type - 1)
            if code.type in KERNELS:
                decisions.append(KERNELS[code.type].index(code.kernel))
            decisions += code.sources
        return (*decisions, *([TERMINAL - 1] if len(codes) < self.most_layers else []))

    def size(self) -> int:
        """Sum over the lengths of the product over layers t of what a layer can be.

        With t predecessors to choose from: t times 3 convolutions, 2 + 2 poolings and an identity,
        t^2 times a sum and a concatenation.
        """
        kernels = sum(map(len, KERNELS.values()))
        layers = [(kernels + 1) * t + 2 * t**2 for t in range(1, self.most_layers + 1)]
        return sum(math.prod(layers[:length]) for length in range(1, self.most_layers + 1))

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return the block without what changes nothing, its layers in one order.

        A pooling of kernel 1 is an identity; identities are left out where the output stays the
        same, and so is a last concatenation, which is what becomes of ends anyway; summands have no
        order, and neither have the parts of a concatenation unless a sum takes its channels as they
        are. Exact for every size of input. Left as they are: poolings and sums before or after a
        concatenation.
        """
        self.check(genotype)
        codes = self.codes(genotype)
        graph = {}
        for code in codes:
            nothing = code.type in (MAX_POOL, AVG_POOL) and code.kernel == 1
            type_, kernel = (IDENTITY, 0) if nothing else (code.type, code.kernel)
            graph[code.number] = Vertex((type_, kernel), code.sources)
        graph = without_identities(graph, lambda v: v.label[0] == IDENTITY, repeats=True)
        graph = _open(graph)
        matters = _order_matters(graph)
        graph = {n: v._replace(ordered=n in matters) for n, v in graph.items()}
        return self.genotype(
            [
                Code(index, *vertex.label, *vertex.sources, *([0] * (2 - len(vertex.sources))))
                for index, vertex in enumerate(in_order(graph), start=1)
            ]
        )

    def parse(self, text: str) -> Genotype:
        """Read JSON or a code as the paper prints it: ``[(1,4,0,0,0), ..., (5,7,0,0,0)]``."""
        if not text.lstrip().startswith("["):
            return super().parse(text)
        try:
            data = ast.literal_eval(text.strip())
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise GenotypeError(f"not a network structure code: {error}") from None
        codes = [list(code) if isinstance(code, tuple) else code for code in data]
        genotype = Genotype.of(self.name, {"code": codes})
        self.check(genotype)
        return genotype

    def text(self, genotype: Genotype) -> str:
        """Write the code as the paper prints it, the terminal last."""
        rows = ["({})".format(",".join(map(str, row))) for row in to_rows(self.codes(genotype))]
        return f"[{', '.join(rows)}]"

    def genotype(self, codes: Sequence[Code]) -> Genotype:
        """Make a genotype of this space from its layers without the terminal."""
        return Genotype.of(self.name, {"code": to_rows(codes)})

    def codes(self, genotype: Genotype) -> list[Code]:
        """Return the layers of a genotype without the terminal. Raises GenotypeError."""
        self._own(genotype)
        rows = genotype.data.get("code")
        if not isinstance(rows, list) or len(rows) < 2:
            raise GenotypeError(
                'a genotype of this space is {"code": [...]} of one layer or more and the terminal'
            )
        for index, row in enumerate(rows, start=1):
            check_row(row, index, len(rows))
        return [Code(*row) for row in rows[:-1]]

    def build(
        self,
        genotype: Genotype,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> nn.Module:
        """Build ``layers`` blocks whose convolutions are ``channels`` wide at first.

        At one third and two thirds of the depth a max pooling of 3 and stride 2 halves the size,
        and the channels double. There are no paths to drop.
        """
        self.check(genotype)
        codes = self.codes(genotype)

        def block(inputs: int, channels: int, ndim: int) -> tuple[nn.Module, int]:
            module = Block(codes, inputs, channels, ndim)
            return module, module.width

        return StackedNetwork(
            block, _pooling, task, channels=channels, layers=layers, auxiliary=auxiliary
        )

    def drawing(self, genotype: Genotype) -> dict[str, Graph]:
        codes = self.codes(genotype)
        boxes = [Box("input")]
        arrows: list[tuple[int, int]] = []
        for code in codes:
            boxes.append(_box(code))
            arrows += [(source, code.number) for source in code.sources]
        ends = loose_ends(codes)
        if len(ends) > 1:
            boxes.append(Box("concat"))
            arrows += [(end, len(boxes) - 1) for end in ends]
            ends = [len(boxes) - 1]
        boxes.append(Box("output"))
        return {"Block": Graph(tuple(boxes), (*arrows, (ends[0], len(boxes) - 1)))}


def _pooling(inputs: int, channels: int, ndim: int) -> tuple[nn.Module, int]:
    return max_pooling(ndim, 3, 2), inputs


def _open(graph: Mapping[int, Vertex]) -> dict[int, Vertex]:
    """Return the graph without concatenations that are ends and whose parts would be ends."""
    result = dict(graph)
    for number in sorted(graph, reverse=True):
        after, sources = takers(result), set(graph[number].sources)
        last = graph[number].label[0] == CONCAT and not after[number]
        if last and len(sources) == 2 and all(s and after[s] == {number} for s in sources):
            del result[number]
    return result


def _order_matters(graph: Mapping[int, Vertex]) -> set[int]:
    """Return the concatenations whose channels reach a sum without a convolution between."""
    after = takers(graph)
    found = set()
    for number, vertex in graph.items():
        ahead = [number] if vertex.label[0] == CONCAT else []
        seen: set[int] = set()
        while ahead:
            for taker in after[ahead.pop()] - seen:
                seen.add(taker)
                if graph[taker].label[0] == ADD:
                    found.add(number)
                elif graph[taker].label[0] != CONV:
                    ahead.append(taker)
    return found


def _box(code: Code) -> Box:
    if code.type in KERNELS:
        name = f"{_NAMES[code.type]}_{code.kernel}x{code.kernel}"
        return Box(name, name)
    if code.type == IDENTITY:
        return Box("identity", "skip_connect")
    return Box("+" if code.type == ADD else "concat")
