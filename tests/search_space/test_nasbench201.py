"""The NAS-Bench-201 space: published counts, sizes of networks, classes and text forms."""

from __future__ import annotations

import csv
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scipy.stats import chi2
from torch import nn

from search_space.cost import Cost, cost
from search_space.genotype import GenotypeError
from search_space.spaces._nasbench201_network import Reduction, SummingCell
from search_space.spaces.nasbench201 import NasBench201
from search_space.task import Task

MakeTask = Callable[..., Task]

SPACE = NasBench201()

# Architectures 0 and 11 of the benchmark with the parameters and multiply-adds that it publishes
# for CIFAR-10, in millions: 0.129306 and 15.6474; 0.802426 and 113.951.
PUBLISHED = {
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
    "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|": (129_306, 15.6474),
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|": (
        802_426,
        113.951,
    ),
}


@pytest.fixture(scope="module")
def table(sample: Callable[[str], Path]) -> list[dict[str, str]]:
    path = sample("nasbench201") / "nasbench201" / "nasbench201_cifar10.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def all_decisions(space: NasBench201) -> list[tuple[int, ...]]:
    edges = space.nodes * (space.nodes - 1) // 2
    return list(itertools.product(range(len(space.operations)), repeat=edges))


def test_there_are_as_many_architectures_as_the_paper_says() -> None:
    assert SPACE.size() == 15_625 == len({SPACE.decode(d) for d in all_decisions(SPACE)})


def test_every_architecture_of_the_benchmark_is_read_and_written_as_it_stands(
    table: list[dict[str, str]],
) -> None:
    texts = [row["arch_str"] for row in table]
    genotypes = [SPACE.parse(text) for text in texts]
    assert [SPACE.text(genotype) for genotype in genotypes] == texts
    assert {SPACE.encode(genotype) for genotype in genotypes} == set(all_decisions(SPACE))


def test_representatives_are_one_for_each_of_the_6466_published_classes(
    table: list[dict[str, str]],
) -> None:
    pairs = {
        (SPACE.canonical(SPACE.parse(row["arch_str"])).key, row["unique_rep_index"])
        for row in table
    }
    assert len(pairs) == len({key for key, _ in pairs}) == len({c for _, c in pairs}) == 6_466


def test_some_published_classes_hold_networks_of_different_sizes(
    table: list[dict[str, str]],
) -> None:
    sizes = defaultdict(set)
    for row in table:
        text = row["arch_str"]
        convolutions = (text.count("nor_conv_1x1"), text.count("nor_conv_3x3"))
        sizes[row["unique_rep_index"]].add(convolutions)
    assert sum(len(found) > 1 for found in sizes.values()) == 578


def test_a_representative_is_the_first_of_its_class_and_its_own_representative() -> None:
    space = NasBench201(operations=("none", "skip_connect", "nor_conv_1x1"))
    classes = defaultdict(list)
    for decisions in all_decisions(space):
        genotype = space.decode(decisions)
        classes[space.canonical(genotype)].append(decisions)
    for representative, members in classes.items():
        assert space.encode(representative) == min(members)


def test_a_cell_of_five_nodes_has_a_representative() -> None:
    space, rng = NasBench201(nodes=5), random.Random(0)
    for _ in range(20):
        genotype = space.sample(rng)
        representative = space.canonical(genotype)
        assert space.encode(representative) <= space.encode(genotype)
        assert space.canonical(representative) == representative


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Node 2 gets one map through node 1 and one directly, in either order.
        (
            "|skip_connect~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|",
            "|skip_connect~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|",
        ),
        # What node 1 does is of no use.
        (
            "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",
            "|avg_pool_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",
        ),
        # Node 1 is zero, whatever is applied to it.
        (
            "|none~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|",
            "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|",
        ),
    ],
)
def test_cells_that_compute_the_same_have_one_representative(one: str, other: str) -> None:
    assert SPACE.canonical(SPACE.parse(one)) == SPACE.canonical(SPACE.parse(other))


@pytest.mark.parametrize("text", PUBLISHED)
def test_a_network_costs_what_the_benchmark_says(make_task: MakeTask, text: str) -> None:
    task = make_task((3, 32, 32), "classes", n=10, size=10)
    with torch.device("meta"):
        network = SPACE.build(SPACE.parse(text), task, channels=16, layers=15)
    counted = cost(network, task)
    parameters, millions = PUBLISHED[text]
    assert counted.parameters == parameters
    assert f"{counted.multiply_adds / 1e6:.6g}" == str(millions)


def test_multiply_adds_of_a_small_network_are_what_a_hand_counts(make_task: MakeTask) -> None:
    space = NasBench201(nodes=2, operations=("nor_conv_3x3",))
    network = space.build(
        space.decode([0]), make_task((1, 9), "regression", size=1), channels=2, layers=3
    )
    conv = 9 * 3 * 2 * 1 + 9 * 3 * 2 * 2  # stem, cell
    conv += 5 * (3 * 2 * 4 + 3 * 4 * 4 + 2 * 4) + 5 * 3 * 4 * 4  # reduction, cell
    conv += 3 * (3 * 4 * 8 + 3 * 8 * 8 + 4 * 8) + 3 * 3 * 8 * 8
    parameters = (6 + 4) + (12 + 4) + (24 + 8 + 48 + 8 + 8) + (48 + 8)
    parameters += (96 + 16 + 192 + 16 + 32) + (192 + 16) + 16 + 9
    task = make_task((1, 9), "regression", size=1)
    assert cost(network, task) == Cost(parameters, conv + 8)


@pytest.mark.parametrize(
    ("layers", "stages"), [(15, [5, 5, 5]), (8, [2, 3, 3]), (3, [1, 1, 1]), (1, [0, 0, 1])]
)
def test_cells_are_dealt_out_to_three_stages(
    make_task: MakeTask, layers: int, stages: list[int]
) -> None:
    genotype = SPACE.sample(random.Random(0))
    network = SPACE.build(genotype, make_task((1, 8, 8)), channels=4, layers=layers)
    kinds = "".join({SummingCell: "c", Reduction: "r"}.get(type(m), "") for m in network)
    assert [len(stage) for stage in kinds.split("r")] == stages


def test_a_cell_sums_its_edges_and_none_is_no_edge(make_task: MakeTask) -> None:
    text = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
    cell = SummingCell(SPACE.cells(SPACE.parse(text))["cell"], 3, 1)
    x = torch.randn(2, 3, 5)
    torch.testing.assert_close(cell(x), x + 2 * x)
    nothing = SPACE.cells(SPACE.decode([0] * 6))["cell"]
    assert not SummingCell(nothing, 3, 1)(x).any()


@pytest.mark.parametrize("shape", [(1,), (7,), (8, 5), (1, 3)])
def test_a_reduction_halves_each_side_rounded_up(shape: tuple[int, ...]) -> None:
    block = Reduction(3, 6, len(shape))
    assert block(torch.randn(2, 3, *shape)).shape == (2, 6, *(-(-n // 2) for n in shape))
    ones = torch.ones(1, 3, *shape)
    pool = block.shortcut[0]
    assert isinstance(pool, nn.Module)
    assert torch.equal(pool(ones), torch.ones_like(pool(ones)))  # the edge counts no padding


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("|nor_conv_3x3~0|", r"nodes with \[1\] edges; a cell of 4 nodes has \[1, 2, 3\]"),
        ("|nor_conv_3x~0|+|none~0|none~1|+|none~0|none~1|none~2|", "did you mean 'nor_conv_3x3'"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", r"sources 0, 1, \.\.\. in their order"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none|", "is no cell"),
        ("|none~0|+", "is no cell"),
    ],
)
def test_a_text_that_is_no_cell_of_this_space_is_refused(text: str, says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        SPACE.parse(text)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"nodes": 1}, "nodes is 1; it must be at least 2"),
        ({"operations": ("nor_conv",)}, "unknown operation 'nor_conv'"),
        ({"operations": ()}, "at least one"),
        ({"operations": ("none", "none")}, "different"),
    ],
)
def test_parameters_without_a_meaning_are_refused(parameters: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        NasBench201(**parameters)


def test_sampling_is_uniform_over_a_small_space() -> None:
    space, rng, n = NasBench201(nodes=3), random.Random(2), 12_500
    counts = Counter(space.sample(rng) for _ in range(n))
    expected = n / 125
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == space.size() == 125
    assert statistic < chi2.ppf(0.999, df=124)
