"""The NASNet space and its parts: published cells, counts and sizes of networks."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chi2

from search_space.cost import cost
from search_space.genotype import Cell, Edge, Genotype, GenotypeError
from search_space.network import CellModule, CellNetwork
from search_space.operations import OPERATIONS
from search_space.space import SearchSpace
from search_space.spaces.nasnet import FAMILIES, NasNet
from search_space.task import Task

MakeTask = Callable[..., Task]

_PNAS_CELL = (
    "[('sep_conv_5x5', 0), ('max_pool_3x3', 0), ('sep_conv_7x7', 1), ('max_pool_3x3', 1), "
    "('sep_conv_5x5', 1), ('sep_conv_3x3', 1), ('sep_conv_3x3', 4), ('max_pool_3x3', 1), "
    "('sep_conv_3x3', 0), ('skip_connect', 1)]"
)

# NASNet-A and AmoebaNet-A as quark0/darts has them, PNASNet-5 as chenxi116/PNASNet.pytorch does.
PUBLISHED = {
    "nasnet": (
        "Genotype(normal=[('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 0), "
        "('sep_conv_3x3', 0), ('avg_pool_3x3', 1), ('skip_connect', 0), ('avg_pool_3x3', 0), "
        "('avg_pool_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 1)], "
        "normal_concat=range(2, 7), "
        "reduce=[('sep_conv_5x5', 1), ('sep_conv_7x7', 0), ('max_pool_3x3', 1), "
        "('sep_conv_7x7', 0), ('avg_pool_3x3', 1), ('sep_conv_5x5', 0), ('skip_connect', 3), "
        "('avg_pool_3x3', 2), ('sep_conv_3x3', 2), ('max_pool_3x3', 1)], "
        "reduce_concat=range(4, 7))"
    ),
    "amoebanet": (
        "Genotype(normal=[('avg_pool_3x3', 0), ('max_pool_3x3', 1), ('sep_conv_3x3', 0), "
        "('sep_conv_5x5', 2), ('sep_conv_3x3', 0), ('avg_pool_3x3', 3), ('sep_conv_3x3', 1), "
        "('skip_connect', 1), ('skip_connect', 0), ('avg_pool_3x3', 1)], "
        "normal_concat=range(4, 7), "
        "reduce=[('avg_pool_3x3', 0), ('sep_conv_3x3', 1), ('max_pool_3x3', 0), "
        "('sep_conv_7x7', 2), ('sep_conv_7x7', 0), ('avg_pool_3x3', 1), ('max_pool_3x3', 0), "
        "('max_pool_3x3', 1), ('conv_7x1_1x7', 0), ('sep_conv_3x3', 5)], "
        "reduce_concat=[3, 4, 6])"
    ),
    "pnas": (
        f"Genotype(normal={_PNAS_CELL}, normal_concat=range(2, 7), "
        f"reduce={_PNAS_CELL}, reduce_concat=range(2, 7))"
    ),
}


def all_genotypes(space: NasNet) -> list[Genotype]:
    found, ends = [], [()]
    while ends:
        start = ends.pop()
        count = space.options(start)
        ends += [(*start, option) for option in range(count)]
        found += [] if count else [space.decode(start)]
    return found


def test_the_families_have_as_many_operations_as_their_papers_say() -> None:
    counts = {name: len(NasNet(family=name).operations) for name in FAMILIES}
    assert counts == {"nasnet": 13, "amoebanet": 8, "pnas": 8, "enas_micro": 5}
    assert set(NasNet().operations) <= set(OPERATIONS)
    assert NasNet() == NasNet(operations=FAMILIES["nasnet"].operations, combine=("add", "concat"))


@pytest.mark.parametrize("family", PUBLISHED)
def test_published_cells_are_read_and_written_as_they_stand(family: str) -> None:
    space = NasNet(family=family)
    genotype = space.parse(PUBLISHED[family])
    assert space.text(genotype) == PUBLISHED[family]
    assert space.decode(space.encode(genotype)) == genotype


def test_the_pnas_family_has_the_counts_of_its_paper() -> None:
    # Liu et al. 2018, section 3.1: 5.6 x 10^14 cells of five blocks; of the 256 of a single block
    # 136 are different, because a block's two halves can be exchanged.
    assert f"{NasNet(family='pnas').size():.1e}" == "5.6e+14"
    space = NasNet(family="pnas", nodes=1)
    genotypes = all_genotypes(space)
    assert space.size() == len(set(genotypes)) == 256
    assert len({space.canonical(genotype) for genotype in genotypes}) == 136


def test_the_size_is_the_number_of_sequences_with_combinations() -> None:
    space = NasNet(family="pnas", nodes=2, operations=("conv_1x1",), combine=("add", "concat"))
    assert space.size() == len(set(all_genotypes(space))) == (4 * 2) * (9 * 2)
    assert NasNet().size() == ((720 * 13**5) ** 2 * 2**5) ** 2


def test_nasnet_a_has_as_many_parameters_as_its_paper_says(make_task: MakeTask) -> None:
    # Zoph et al. 2018, table 1: NASNet-A (6 @ 768) has 3.3 million. Its cells also put out an
    # input and a block that is used (tensorflow/models, nasnet_utils.py: used_hiddenstates).
    space = NasNet()
    cells = space.cells(space.parse(PUBLISHED["nasnet"]))
    normal = dataclasses.replace(cells["normal"], concat=(1, 2, 3, 4, 5, 6))
    reduce = dataclasses.replace(cells["reduce"], concat=(3, 4, 5, 6))
    task = make_task((3, 32, 32), "classes", n=10, size=10)
    with torch.device("meta"):
        network = CellNetwork({"normal": normal, "reduce": reduce}, task, channels=32, layers=20)
    assert f"{cost(network, task).parameters / 1e6:.1f}" == "3.3"


def test_a_family_of_one_cell_uses_it_with_strides_for_reduction(make_task: MakeTask) -> None:
    space = NasNet(family="pnas")
    genotype = space.parse(PUBLISHED["pnas"])
    assert set(genotype.data) == {"normal"}
    network = space.build(genotype, make_task((1, 8, 8)), channels=4, layers=3)
    assert isinstance(network, CellNetwork)
    cell = space.cells(genotype)["normal"]
    assert [module.cell for module in network.cells] == [cell] * 3
    two = PUBLISHED["pnas"].replace("reduce=[('sep_conv_5x5', 0)", "reduce=[('sep_conv_5x5', 1)")
    with pytest.raises(GenotypeError, match="in the family 'pnas' both cells are the same"):
        space.parse(two)


@pytest.mark.parametrize("shape", [(7,), (6, 5)])
def test_a_block_that_concatenates_comes_back_to_the_width_of_the_cell(
    shape: tuple[int, ...],
) -> None:
    cell = Cell(((Edge("skip_connect", 0), Edge("skip_connect", 1)),), (2,), joined=(0,))
    module = CellModule(cell, (3, 3), 4, reduction=False, reduced=False, ndim=len(shape)).eval()
    first, second = torch.randn(2, 2, 3, *shape)
    states = torch.cat([module.first(first), module.second(second)], dim=1)
    wanted = module.joins["0"](states)
    assert wanted.shape == (2, 4, *shape)
    torch.testing.assert_close(module(first, second, 0.0), wanted)


def test_how_blocks_combine_is_part_of_a_genotype() -> None:
    space = NasNet(family="pnas", nodes=1, operations=("conv_1x1",), combine=("add", "concat"))
    added, joined = space.decode([0, 0, 1, 0, 0]), space.decode([0, 0, 1, 0, 1])
    assert space.text(added).startswith("Genotype(")
    assert space.text(joined) == joined.to_json()
    assert [space.parse(space.text(genotype)) for genotype in (added, joined)] == [added, joined]
    assert space.canonical(added) != space.canonical(joined)
    with pytest.raises(GenotypeError, match="the normal cell: unknown combination 'concat'"):
        NasNet(family="pnas", nodes=1, operations=("conv_1x1",)).encode(joined)


def test_sampling_is_uniform_over_a_small_space() -> None:
    space: SearchSpace = NasNet(
        family="amoebanet", nodes=1, operations=("conv_1x1", "skip_connect"), combine=("add",)
    )
    rng, n = random.Random(0), 25_600
    counts = Counter(space.sample(rng) for _ in range(n))
    expected = n / 256
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == space.size() == 256
    assert statistic < chi2.ppf(0.999, df=255)


def test_only_blocks_that_no_other_one_uses_are_put_out_and_never_an_input() -> None:
    space = NasNet(nodes=3, operations=("skip_connect",), combine=("add",))
    for sources in itertools.product(range(2), range(2), range(3), range(3), range(4), range(4)):
        cell = [number for source in sources for number in (source, 0)]
        concat = space.cells(space.decode(cell * 2))["normal"].concat
        assert concat == tuple(state for state in (2, 3, 4) if state not in sources)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"family": "nasnett"}, "unknown family 'nasnett'; did you mean 'nasnet'"),
        ({"nodes": 0}, "nodes is 0; it must be at least 1"),
        ({"combine": ("sum",)}, "unknown combination 'sum'; allowed: add, concat"),
        ({"operations": ("sep_conv_9x9",)}, "unknown operation 'sep_conv_9x9'"),
    ],
)
def test_parameters_without_a_meaning_are_refused(parameters: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        NasNet(**parameters)
