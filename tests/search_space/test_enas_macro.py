"""The ENAS macro space: a published arc, counts, and what its networks compute."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from search_space.cost import cost
from search_space.genotype import Genotype, GenotypeError
from search_space.spaces._enas_macro_network import EnasMacroNetwork, MacroLayer, reductions
from search_space.spaces.enas_macro import EnasMacro
from search_space.task import Task

MakeTask = Callable[..., Task]

SPACE = EnasMacro()

# melodyguan/enas, scripts/cifar10_macro_final.sh.
SCRIPT = """0
3 0
0 1 0
2 0 0 1
2 0 0 0 0
3 1 1 0 1 0
2 0 0 0 0 0 1
2 0 1 1 0 1 1 1
1 0 1 1 1 0 1 0 1
0 0 0 0 0 0 0 0 0 0
2 0 0 0 0 0 1 0 0 0 0
0 1 0 0 1 1 0 0 0 0 1 1
2 0 1 0 0 0 0 0 1 0 1 1 0
1 0 0 1 0 0 0 1 1 1 0 1 0 1
0 1 1 0 1 0 1 0 0 0 0 0 1 0 0
2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1
2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0
2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1
3 0 1 1 0 1 0 0 0 0 0 1 0 1 0 1 0 0 0
3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1
0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0
3 0 1 0 1 1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0
0 1 0 1 0 1 0 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0
0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0 1 1 0 0 0"""


def test_the_published_arc_is_read_from_the_script_and_from_a_log() -> None:
    space = EnasMacro(layers=24)
    genotype = space.parse(SCRIPT.replace("\n", " "))
    log = "\n".join(f"[{row}]" for row in SCRIPT.splitlines())
    assert space.text(genotype) == log
    assert space.parse(f"ch_step=100\n{log}\nval_acc=0.8125\n") == genotype
    assert genotype.data["layers"][:4] == [
        ["conv_3x3", []],
        ["sep_conv_5x5", []],
        ["conv_3x3", [0]],
        ["conv_5x5", [2]],
    ]


def test_there_are_as_many_architectures_as_the_paper_says() -> None:
    # Pham et al. 2018, section 2.3: 6^L x 2^(L (L - 1) / 2) for L layers; 1.6 x 10^29 for 12.
    assert SPACE.size() == 6**12 * 2**66
    assert f"{SPACE.size():.1e}" == "1.6e+29"


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_size_is_the_number_of_sequences(layers: int) -> None:
    space = EnasMacro(layers=layers, operations=("conv_3x3", "max_pool_3x3"))
    found, ends = set(), [()]
    while ends:
        start = ends.pop()
        count = space.options(start)
        ends += [(*start, option) for option in range(count)]
        if count == 0:
            found.add(space.decode(start))
    assert len(found) == space.size() == {1: 2, 2: 8, 3: 64}[layers]


def test_sampling_is_uniform_over_a_small_space() -> None:
    space = EnasMacro(layers=3, operations=("conv_3x3", "max_pool_3x3"))
    rng, n = random.Random(0), 6_400
    counts = Counter(space.sample(rng) for _ in range(n))
    expected = n / 64
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == 64
    assert statistic < chi2.ppf(0.999, df=63)


def test_the_published_network_has_as_many_parameters_as_its_layers_add_up_to(
    make_task: MakeTask,
) -> None:
    space = EnasMacro(layers=24)
    task = make_task((3, 32, 32), "classes", n=10, size=10)
    with torch.device("meta"):
        network = space.build(space.parse(SCRIPT), task, channels=96, layers=1)
    rows = [[int(number) for number in row.split()] for row in SCRIPT.splitlines()]
    total, c = 3 * 96 * 9 + 2 * 96, 96  # the stem
    for i, (operation, *skips) in enumerate(rows):
        if i in (8, 16):
            later = {s for row in rows[i:] for s, bit in enumerate(row[1:]) if bit and s <= i}
            total += len(later | {i}) * (c * 2 * c + 2 * 2 * c)
            c *= 2
        area = (9, 9, 25, 25)[operation]
        total += c * c + 2 * c
        total += (area * c + c * c if operation in (1, 3) else area * c * c) + 2 * c
        total += (sum(skips) + 1) * c * c + 2 * c if i > 0 else 0
    assert cost(network, task).parameters == total + 384 * 10 + 10


def test_a_layer_joins_its_result_and_the_skipped_states() -> None:
    torch.manual_seed(0)
    layer = MacroLayer("conv_3x3", 2, 4, ndim=1, joins=True).eval()
    last, one, two = torch.randn(3, 2, 4, 6)
    result = layer.body(last)
    wanted = layer.join(torch.cat([one, two, result], dim=1))
    torch.testing.assert_close(layer(last, [one, two]), wanted)
    assert wanted.shape == (2, 4, 6)
    first = MacroLayer("conv_3x3", 0, 4, ndim=1, joins=False).eval()
    torch.testing.assert_close(first(last, []), first.body(last))


class Weighted(nn.Module):
    """Stands for a layer: adds to what it takes a multiple of what it skips from."""

    def forward(self, last: Tensor, skipped: list[Tensor]) -> Tensor:
        return last + 1 + sum(10 * state for state in skipped)


def test_bits_mean_the_stem_and_the_layers_before_the_last_one(make_task: MakeTask) -> None:
    space = EnasMacro(layers=2)
    task = make_task((1, 5), "regression", size=1)
    network = space.build(space.parse("[0] [0 1]"), task, channels=2, layers=1)
    assert isinstance(network, EnasMacroNetwork)
    assert reductions(2) == ()
    network.stem, network.head = nn.Identity(), nn.Identity()
    network.layers = nn.ModuleList([Weighted(), Weighted()])
    x = torch.tensor([[[3.0]]])
    # Layer 1 gives 4; layer 2 takes that, and the stem as its skip: 4 + 1 + 10 x 3.
    assert network(x).item() == 35.0


@pytest.mark.parametrize(("layers", "after"), [(24, (8, 16)), (12, (4, 8)), (3, (1, 2)), (2, ())])
def test_maps_are_halved_after_one_and_two_thirds(layers: int, after: tuple[int, ...]) -> None:
    assert reductions(layers) == after


@pytest.mark.parametrize("shape", [(1, 17), (2, 9, 12)])
def test_all_skips_fit_whatever_the_size(make_task: MakeTask, shape: tuple[int, ...]) -> None:
    space = EnasMacro(layers=6)
    every = [5, 4, 1, 3, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1]
    network = space.build(space.decode(every), make_task(shape), channels=4, layers=1)
    output = network(torch.randn(2, *shape))
    assert output.shape == (2, 3)
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_depth_is_the_genotypes_own(make_task: MakeTask) -> None:
    genotype, task = SPACE.sample(random.Random(0)), make_task((1, 8))
    one, other = (
        cost(SPACE.build(genotype, task, channels=4, layers=layers), task) for layers in (1, 20)
    )
    assert one == other
    assert math.isfinite(one.multiply_adds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[0] [0 1]", r"rows of \[1, 2\] numbers; here it must be \[1, 2, 3, 4"),
        ("[9] [0 1] [0 0 0]", "decision 0 is 9; there are 6 options"),
        ("[0] [0 2] [0 0 0]", "decision 2 is 2; there are 2 options"),
    ],
)
def test_an_arc_that_is_none_of_this_space_is_refused(text: str, says: str) -> None:
    space = SPACE if "here it must" in says else EnasMacro(layers=3)
    with pytest.raises(GenotypeError, match=says):
        space.parse(text)


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([["conv_3x3", []]], "1 layers; here it must be 2"),
        ([["conv_3x3", []], ["conv_9x9", []]], "unknown operation 'conv_9x9'"),
        ([["conv_3x3", []], ["conv_3x3", [1]]], r"layer 1 skips from \[1\]; allowed: 0 to 0"),
        ([["conv_3x3", []], ["conv_3x3", [0, 0]]], "in order"),
        ([["conv_3x3", []], ["conv_3x3", [True]]], r"it must be \[operation, skips\]"),
        ([["conv_3x3", []], "conv_3x3"], "layer 1 is 'conv_3x3'"),
        ("conv_3x3", 'has "layers"'),
    ],
)
def test_a_record_that_is_none_of_this_space_is_refused(layers: object, says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        EnasMacro(layers=2).encode(Genotype.of("enas_macro", {"layers": layers}))


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"layers": 0}, "layers is 0; it must be at least 1"),
        ({"operations": ("sep_conv_7x7",)}, "unknown operation 'sep_conv_7x7'"),
    ],
)
def test_parameters_without_a_meaning_are_refused(parameters: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EnasMacro(**parameters)
