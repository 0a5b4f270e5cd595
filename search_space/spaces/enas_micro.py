"""The ENAS micro space: cells of five blocks of two operations out of five, normal and reduction.

Pham, Guan, Zoph, Le, Dean: Efficient Neural Architecture Search via Parameter Sharing, ICML 2018,
section 2.4; melodyguan/enas, micro_child.py. ``channels: 36, layers: 17`` is the paper's final
network: 15 normal cells and the 2 reduction cells at one and two thirds.

Deviations: one pointwise convolution fits each input of a cell (the published code applies two to
the newer one), identities of stride 2 begin with a ReLU, there is no ReLU or dropout before the
head, and the auxiliary head is that of DARTS. The paper counts (5 x 5!)^4 = 1.3e11 networks: as if
all operations of a block were one choice, and no state could be taken twice. The sequences of its
controller are :meth:`~search_space.spaces._blocks.BlockSpace.size`.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_space.genotype import Genotype, GenotypeError
from search_space.operations import OPERATIONS
from search_space.spaces._arcs import parse_arcs, print_arcs
from search_space.spaces._blocks import INPUTS, OPERANDS, BlockSpace
from search_space.spaces._parameters import at_least, different_names, index_of


@dataclass(frozen=True)
class EnasMicro(BlockSpace):
    """Two cells of blocks that add; every state that no block uses is part of the output.

    Args:
        nodes: blocks of a cell.
        operations: names of operations, in the order of ENAS's numbers.
    """

    nodes: int = 5
    operations: tuple[str, ...] = (
        "sep_conv_3x3",
        "sep_conv_5x5",
        "avg_pool_3x3",
        "max_pool_3x3",
        "skip_connect",
    )

    def __post_init__(self) -> None:
        at_least(1, nodes=self.nodes)
        different_names("operation", self.operations, OPERATIONS)

    def output(self, used: set[int]) -> tuple[int, ...]:
        return tuple(state for state in range(self.nodes + INPUTS) if state not in used)

    def parse(self, text: str) -> Genotype:
        """Read JSON, or the rows ``[in1 op1 in2 op2 ...]`` of the normal and the reduction cell."""
        length = 2 * OPERANDS * self.nodes
        decisions = parse_arcs(text, [length] * len(self.kinds))
        if decisions is None:
            return super().parse(text)
        try:
            return self.decode(decisions)
        except ValueError as error:
            raise GenotypeError(f"not an architecture of {self.nodes} blocks: {error}") from None

    def text(self, genotype: Genotype) -> str:
        return print_arcs(
            [
                number
                for edges in cell.nodes
                for edge in edges
                for number in (edge.source, index_of("operation", edge.operation, self.operations))
            ]
            for cell in self.cells(genotype).values()
        )
