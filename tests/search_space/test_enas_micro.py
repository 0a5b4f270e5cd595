"""The ENAS micro space: published arcs, counts, and the layout of its networks."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chi2

from search_space.genotype import Cell, Edge, Genotype, GenotypeError
from search_space.network import CellModule, CellNetwork
from search_space.operations import FactorizedReduce
from search_space.spaces._blocks import cell_count
from search_space.spaces.enas_micro import EnasMicro
from search_space.task import Task

MakeTask = Callable[..., Task]

SPACE = EnasMicro()

# melodyguan/enas, scripts/cifar10_micro_final.sh: the cells of the paper's final network.
SCRIPT = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1 1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
LOG = "[0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1]\n[1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1]"


def test_the_published_arc_is_read_from_the_script_and_from_a_log() -> None:
    genotype = SPACE.parse(SCRIPT)
    assert SPACE.parse(f"epoch 3\n{LOG}\nval_acc=0.7500\n" + "-" * 80) == genotype
    assert SPACE.text(genotype) == LOG
    cells = SPACE.cells(genotype)
    assert cells["normal"] == Cell(
        (
            (Edge("avg_pool_3x3", 0), Edge("sep_conv_3x3", 0)),
            (Edge("skip_connect", 0), Edge("sep_conv_5x5", 0)),
            (Edge("skip_connect", 0), Edge("sep_conv_5x5", 1)),
            (Edge("sep_conv_3x3", 1), Edge("sep_conv_5x5", 0)),
            (Edge("avg_pool_3x3", 0), Edge("sep_conv_5x5", 1)),
        ),
        (2, 3, 4, 5, 6),
    )
    assert cells["reduce"].concat == (2, 4, 5, 6)


def test_what_no_block_uses_is_put_out_even_an_input() -> None:
    space = EnasMicro(nodes=2)
    genotype = space.parse("[1 4 1 4 1 4 2 4] [0 4 0 4 0 4 0 4]")
    assert [cell.concat for cell in space.cells(genotype).values()] == [(0, 3), (1, 2, 3)]


@pytest.mark.parametrize("shape", [(9,), (8, 5)])
def test_an_unused_input_of_a_reduction_cell_is_halved(shape: tuple[int, ...]) -> None:
    space = EnasMicro(nodes=1)
    cell = space.cells(space.parse("[1 4 1 4] [1 4 1 4]"))["reduce"]
    ndim = len(shape)
    module = CellModule(cell, (3, 3), 4, reduction=True, reduced=False, ndim=ndim)
    assert cell.concat == (0, 2)
    x = torch.randn(2, 3, *shape)
    y = module(x, x, 0.0)
    assert y.shape == (2, 8, *(-(-n // 2) for n in shape))
    reduce = module.outputs[0]
    assert isinstance(reduce, FactorizedReduce)
    module.eval()
    torch.testing.assert_close(module(x, x, 0.0)[:, :4], reduce(module.first(x)))


@pytest.mark.parametrize("layers", [8, 17])
def test_reduction_cells_stand_where_enas_has_them(make_task: MakeTask, layers: int) -> None:
    # micro_child.py: of num_layers + 2 layers number d and 2 d + 1 reduce, d = num_layers // 3.
    genotype = SPACE.parse(SCRIPT)
    network = SPACE.build(genotype, make_task((1, 8, 8)), channels=4, layers=layers)
    assert isinstance(network, CellNetwork)
    reduce = SPACE.cells(genotype)["reduce"]
    distance = (layers - 2) // 3
    found = [i for i, cell in enumerate(network.cells) if cell.cell == reduce]
    assert found == [distance, 2 * distance + 1]


def test_the_size_is_the_number_of_sequences_of_the_controller() -> None:
    for nodes, operations in ((1, ("skip_connect",)), (2, ("skip_connect", "max_pool_3x3"))):
        space = EnasMicro(nodes=nodes, operations=operations)
        one_cell = 0
        ranges = [
            range(options) for node in range(nodes) for options in (node + 2, len(operations)) * 2
        ]
        for cell in itertools.product(*ranges):
            space.decode(cell * 2)
            one_cell += 1
        assert space.size() == one_cell**2
    assert SPACE.size() == (math.factorial(6) * 5**5) ** 4


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 12])
def test_a_cell_of_one_input_and_one_operand_has_the_count_of_the_paper(nodes: int) -> None:
    # Pham et al. 2018, section 2.1: N nodes that each choose an earlier one and one of 4
    # activations have 4^N N! configurations; about 10^15 for N = 12.
    assert cell_count(nodes, 4, inputs=1, operands=1) == 4**nodes * math.factorial(nodes)


def test_sampling_is_uniform_over_a_small_space() -> None:
    space = EnasMicro(nodes=1, operations=("skip_connect", "max_pool_3x3"))
    rng, n = random.Random(0), 25_600
    counts = Counter(space.sample(rng) for _ in range(n))
    expected = n / 256
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == space.size() == 256
    assert statistic < chi2.ppf(0.999, df=255)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[0 1 0 1] [0 1 0 1]", r"rows of \[4, 4\] numbers; here it must be \[20, 20\]"),
        ("0 1 2", r"rows of \[3\] numbers"),
        (LOG.replace("[0 2", "[2 2"), "decision 0 is 2; there are 2 options"),
        (LOG.replace("1 1]", "1 5]"), "there are 5 options"),
    ],
)
def test_an_arc_that_is_none_of_this_space_is_refused(text: str, says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        SPACE.parse(text)


def blocks(first: tuple[str, int], second: tuple[str, int], *more: tuple[str, int]) -> dict:
    """Return five equal blocks of these inputs, of which none takes another."""
    unused = {0, 1} - {source for _, source in (first, second, *more)}
    return {"nodes": [[first, second, *more]] * 5, "concat": [*sorted(unused), 2, 3, 4, 5, 6]}


SKIP = ("skip_connect", 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"concat": [2]}, r"the normal cell: concat is \[2\]; here it must be \[2, 3, 4, 5, 6\]"),
        ({"inputs": 1, "concat": [2]}, "the normal cell: 1 inputs and 5 nodes"),
        ({"joined": [0]}, "the normal cell: unknown combination 'concat'"),
        ({"nodes": [[SKIP, SKIP]], "concat": [2]}, "2 inputs and 1 nodes"),
        (blocks(SKIP, SKIP, SKIP), "node 0 has 3 inputs; it must be 2"),
        (blocks(("conv_9x9", 0), SKIP), "unknown operation 'conv_9x9'"),
        (blocks(("skip_connect", 2), SKIP), "node 0 takes state 2"),
    ],
)
def test_a_record_that_is_none_of_this_space_is_refused(change: dict, says: str) -> None:
    data = SPACE.parse(SCRIPT).data
    data["normal"] |= change
    with pytest.raises(GenotypeError, match=says):
        SPACE.encode(Genotype.of("enas_micro", data))
