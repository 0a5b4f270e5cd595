"""The NASNet space: cells of five blocks of two operations out of thirteen, added or concatenated.

Zoph, Vasudevan, Shlens, Le: Learning Transferable Architectures for Scalable Image Recognition,
CVPR 2018, section 3.1. Other papers search parts of it, which ``family`` names:

- ``amoebanet``: Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture
  Search, AAAI 2019, section 3.1. Eight operations, blocks add.
- ``pnas``: Liu et al.: Progressive Neural Architecture Search, ECCV 2018, section 3.1. Eight
  operations, blocks add, all blocks are put out, and the normal cell with strides is the reduction
  cell.
- ``enas_micro``: the five operations of Pham et al., ICML 2018, section 2.4. Blocks add.

Deviations: networks are stacked as in DARTS, so that NASNet-A (6 @ 768) is ``channels: 32,
layers: 20``. A block that concatenates brings its result back to the cell's width by a pointwise
convolution, of which the paper says nothing. Dilated convolutions are separable, as in DARTS. A
cell's inputs are never part of its output; the published NASNet-A puts out one of them as well,
and so does ENAS where no block uses it, for which there is the space ``enas_micro``.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_space.genotype import Genotype, GenotypeError, parse_cells, print_cells
from search_space.operations import OPERATIONS
from search_space.shelf import nearest
from search_space.spaces._blocks import INPUTS, BlockSpace
from search_space.spaces._parameters import at_least, different_names

_COMBINATIONS = ("add", "concat")


@dataclass(frozen=True)
class Family:
    """What a paper searches.

    Args:
        operations: names of operations.
        combine: how blocks can combine their two results.
        all_blocks: whether all blocks are put out, and not only those that no other one uses.
        one_cell: whether the reduction cell is the normal cell with strides.
    """

    operations: tuple[str, ...]
    combine: tuple[str, ...] = ("add",)
    all_blocks: bool = False
    one_cell: bool = False


_EIGHT = (
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
    "conv_7x1_1x7",
)

FAMILIES = {
    "nasnet": Family(
        (
            "skip_connect",
            "conv_3x1_1x3",
            "conv_7x1_1x7",
            "dil_conv_3x3",
            "avg_pool_3x3",
            "max_pool_3x3",
            "max_pool_5x5",
            "max_pool_7x7",
            "conv_1x1",
            "conv_3x3",
            "sep_conv_3x3",
            "sep_conv_5x5",
            "sep_conv_7x7",
        ),
        combine=_COMBINATIONS,
    ),
    "amoebanet": Family(_EIGHT),
    "pnas": Family(_EIGHT, all_blocks=True, one_cell=True),
    "enas_micro": Family(
        ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")
    ),
}


@dataclass(frozen=True)
class NasNet(BlockSpace):
    """Two cells, or one, of blocks of two operations on earlier states.

    Args:
        family: what is not given otherwise is as in this part of the space.
        nodes: blocks of a cell.
        operations: names of operations; none means those of the family.
        combine: any of ``add`` and ``concat``; none means those of the family.
    """

    family: str = "nasnet"
    nodes: int = 5
    operations: tuple[str, ...] = ()
    combine: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown family {self.family!r}; {nearest(self.family, FAMILIES)}")
        for name in ("operations", "combine"):
            given = getattr(self, name) or getattr(FAMILIES[self.family], name)
            object.__setattr__(self, name, given)
        at_least(1, nodes=self.nodes)
        different_names("operation", self.operations, OPERATIONS)
        different_names("combination", self.combine, _COMBINATIONS)

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("normal",) if FAMILIES[self.family].one_cell else ("normal", "reduce")

    @property
    def combinations(self) -> tuple[str, ...]:
        return self.combine

    def output(self, used: set[int]) -> tuple[int, ...]:
        blocks = range(INPUTS, self.nodes + INPUTS)
        keep_all = FAMILIES[self.family].all_blocks
        return tuple(state for state in blocks if keep_all or state not in used)

    def parse(self, text: str) -> Genotype:
        """Read JSON, or the text in which quark0/darts has NASNet-A and AmoebaNet-A."""
        if "Genotype(" not in text:
            return super().parse(text)
        cells = parse_cells(text)
        if self.kinds == ("normal",) and cells["normal"] != cells["reduce"]:
            raise GenotypeError(f"in the family {self.family!r} both cells are the same one")
        genotype = self.genotype(cells)
        self.encode(genotype)
        return genotype

    def text(self, genotype: Genotype) -> str:
        """Return the text of quark0/darts; JSON where a block concatenates, which it can't say."""
        cells = self.cells(genotype)
        if any(cell.joined for cell in cells.values()):
            return genotype.to_json()
        return print_cells({"reduce": cells["normal"], **cells})
