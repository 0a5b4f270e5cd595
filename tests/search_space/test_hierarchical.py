"""The hierarchical space: three levels of motifs, their counts, and which cells are the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import torch
from scipy.stats import chi2
from torch import nn

from equal_networks import fingerprint, partition, sequences
from search_space.cost import cost
from search_space.genotype import Genotype, GenotypeError
from search_space.network import Auxiliary
from search_space.spaces.hierarchical import Hierarchical
from search_space.task import Task

MakeTask = Callable[..., Task]

CONV, DEPTHWISE, POOL, SAME = "conv_1x1", "depthwise_conv_3x3", "max_pool_3x3", "identity"


def one_motif(*operations: str) -> Genotype:
    """Return a cell of a single edge that holds a motif of four nodes."""
    return Genotype.of("hierarchical", {"motifs": [list(operations)], "cell": [1]})


SINGLE = Hierarchical(motifs=1, motif_nodes=4, cell_nodes=2)


def test_the_paper_s_space_has_seven_to_the_forty_sixth_sequences() -> None:
    # Section 4.1: 6 motifs of 4 nodes (6 edges), a cell of 5 nodes (10 edges); 6 operations and
    # none on each edge of either.
    assert Hierarchical().size() == 7 ** (6 * 6 + 10)
    assert len(Hierarchical().encode(Hierarchical().sample(random.Random(0)))) == 46


def test_the_size_is_the_number_of_sequences() -> None:
    tiny = Hierarchical(motifs=2, motif_nodes=2, cell_nodes=3, primitives=(CONV, POOL))
    complete = list(sequences(tiny))
    assert tiny.size() == len(complete) == 3**2 * 3**3
    assert len({tiny.decode(decisions) for decisions in complete}) == tiny.size()


def test_sampling_is_uniform_over_the_genotypes() -> None:
    # Pearson's chi-square at significance 0.001 and a fixed seed.
    tiny = Hierarchical(motifs=2, motif_nodes=2, cell_nodes=3, primitives=(CONV, POOL))
    rng, n = random.Random(0), 20000
    drawn = Counter(tiny.sample(rng) for _ in range(n))
    expected = n / tiny.size()
    statistic = sum((count - expected) ** 2 / expected for count in drawn.values())
    assert len(drawn) == tiny.size() == 243
    assert statistic < chi2.ppf(0.999, df=242)


@pytest.mark.parametrize(
    "space",
    [
        Hierarchical(motifs=1, motif_nodes=4, cell_nodes=2, primitives=(CONV, POOL, SAME)),
        Hierarchical(motifs=1, motif_nodes=5, cell_nodes=2, primitives=(DEPTHWISE, SAME)),
        Hierarchical(motifs=3, motif_nodes=2, cell_nodes=4, primitives=(CONV, POOL)),
        Hierarchical(motifs=2, motif_nodes=3, cell_nodes=3, primitives=(CONV, SAME)),
    ],
    ids=["motifs", "large motifs", "cells", "both"],
)
def test_cells_with_one_representative_are_one_network(
    make_task: MakeTask, space: Hierarchical
) -> None:
    task, rng = make_task((1, 9), "classes"), random.Random(0)
    some = {space.sample(rng) for _ in range(400)}
    some |= {space.canonical(genotype) for genotype in some}
    groups = partition(space, some, space.canonical)
    assert len(groups) < len(some)
    for group in groups:
        assert len({fingerprint(space, genotype, task) for genotype in group}) == 1


def test_small_motifs_of_convolutions_that_run_alike_have_one_representative(
    make_task: MakeTask,
) -> None:
    task = make_task((1, 9), "classes")
    space = Hierarchical(motifs=1, motif_nodes=4, cell_nodes=2, primitives=(CONV, "sep_conv_3x3"))
    everything = [space.decode(decisions) for decisions in sequences(space)]
    by_form = partition(space, everything, space.canonical)
    by_run = partition(space, everything, lambda g: fingerprint(space, g, task))
    assert by_form == by_run
    assert 1 < len(by_form) < len(everything) / 2


def test_a_representative_represents_itself_and_is_of_the_space() -> None:
    space, rng = Hierarchical(), random.Random(0)
    for _ in range(100):
        form = space.canonical(space.sample(rng))
        space.check(form)
        assert space.canonical(form) == form


def test_motifs_that_change_places_that_are_equal_or_not_held_make_no_difference() -> None:
    space, rng = Hierarchical(), random.Random(1)
    for _ in range(20):
        motifs, cell = space.levels(space.sample(rng))
        order = [0, *rng.sample(range(1, 7), 6)]  # motif n becomes motif order[n]
        moved: list[list[str]] = [[]] * 6
        for number, motif in enumerate(motifs, start=1):
            moved[order[number] - 1] = motif
        one, other = space.genotype(motifs, cell), space.genotype(moved, [order[n] for n in cell])
        assert space.canonical(one) == space.canonical(other)
        used = [number if number < 6 else 5 for number in cell]
        twins = space.genotype([*motifs[:5], motifs[4]], cell)
        assert space.canonical(space.genotype(motifs, used)) == space.canonical(twins)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # (0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)
        (
            (CONV, "none", "none", "none", POOL, "none"),
            ("none", CONV, "none", "none", "none", POOL),
            True,
        ),
        ((CONV, POOL, "none", SAME, "none", "none"), ("none",) * 3 + (SAME, "none", "none"), True),
        (
            (SAME, "none", CONV, "none", "none", POOL),
            (CONV, "none", "none", "none", POOL, "none"),
            True,
        ),
        # The input through the identity beside the input itself: it comes twice.
        (
            (SAME, "none", "none", SAME, SAME, "none"),
            ("none", "none", "none", SAME, "none", "none"),
            False,
        ),
        (("none",) * 6, (CONV, "none", POOL, "none", "none", "none"), True),
        (("none",) * 6, ("none",) * 3 + (SAME, "none", "none"), False),
    ],
)
def test_known_pairs(
    make_task: MakeTask, one: Sequence[str], other: Sequence[str], same: bool
) -> None:
    a, b, task = one_motif(*one), one_motif(*other), make_task((1, 9, 6), "classes")
    assert (SINGLE.canonical(a) == SINGLE.canonical(b)) is same
    assert (fingerprint(SINGLE, a, task) == fingerprint(SINGLE, b, task)) is same


def test_nodes_concatenate_and_a_convolution_brings_a_motif_to_the_cell_s_width(
    make_task: MakeTask,
) -> None:
    task = make_task((2, 9, 6), "classes")
    genotype = one_motif(DEPTHWISE, CONV, SAME, POOL, "none", "sep_conv_3x3")
    network = SINGLE.build(genotype, task, channels=4, layers=1)
    norm = 2 * 4
    stem, head = 2 * 4 * 9 + norm, 8 * 3 + 3  # of one layer, which has a reduction before it
    reduction = 4 * 9 + 4 * 8 + 2 * 8
    # Input 8 wide: depthwise 8, pointwise 8 and the identity of 8 make 16, separable to 8, and the
    # pool's 8 beside it.
    motif = (8 * 9 + 16) + (8 * 8 + 16) + (16 * 9 + 16 * 8 + 16) + (16 * 8 + 16)
    assert cost(network, task).parameters == stem + reduction + motif + head


def test_the_cell_is_as_wide_as_the_motifs_that_meet_in_its_last_node(
    make_task: MakeTask,
) -> None:
    task = make_task((1, 9, 6), "classes")
    space = Hierarchical()
    motif = ["none", "none", "none", CONV, "none", "none"]
    genotype = space.genotype([motif] * 6, [1, 2, 3, 0, 0, 0, 4, 5, 0, 0])
    network = space.build(genotype, task, channels=4, layers=3)
    sizes = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, y: sizes.append(tuple(y.shape[1:])))
    network(torch.randn(2, *task.shape))
    assert sizes == [(8, 9, 6), (16, 5, 3), (32, 3, 2)]


def test_a_motif_that_puts_out_nothing_is_no_edge_and_such_a_cell_gives_zeros(
    make_task: MakeTask,
) -> None:
    task = make_task((1, 9, 6), "classes")
    space = Hierarchical(motifs=2)
    dead, alive = ["none"] * 6, ["none"] * 3 + [CONV, "none", "none"]
    with_dead = space.genotype([dead, alive], [2, 1, 1, 0, 0, 0, 2, 0, 0, 1])
    without = space.genotype([dead, alive], [2, 0, 0, 0, 0, 0, 2, 0, 0, 0])
    assert fingerprint(space, with_dead, task) == fingerprint(space, without, task)
    nothing = space.genotype([dead, alive], [1] * 10)
    network = space.build(nothing, task, channels=4, layers=1)
    assert torch.equal(network(torch.randn(2, 1, 9, 6))[0], network.head.project.bias)


def test_an_auxiliary_head_is_there_where_maps_are_wide_enough(make_task: MakeTask) -> None:
    space = Hierarchical()
    genotype = space.sample(random.Random(0))
    for shape, kind, wanted in (
        ((1, 32, 33), "classes", True),
        ((1, 31, 64), "classes", False),
        ((1, 32, 32), "dense", False),
    ):
        task = make_task(shape, kind)
        network = space.build(genotype, task, channels=2, layers=3, auxiliary=True)
        has = any(isinstance(module, Auxiliary) for module in network.modules())
        assert has is wanted
        outputs = network(torch.randn(2, *shape))
        assert isinstance(outputs, tuple) is wanted
        assert not isinstance(network.eval()(torch.randn(2, *shape)), tuple)


def test_batch_norm_and_relu_follow_every_pointwise_convolution(make_task: MakeTask) -> None:
    space = Hierarchical()
    genotype = space.sample(random.Random(0))
    network = space.build(genotype, make_task((1, 9, 6)), channels=2, layers=1)
    checked = 0
    for module in network.blocks.modules():
        if isinstance(module, nn.Sequential):
            parts = list(module)
            for place, part in enumerate(parts):
                if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1):
                    assert isinstance(parts[place + 1], nn.BatchNorm2d)
                    assert isinstance(parts[place + 2], nn.ReLU)
                    checked += 1
    assert checked > 5


@pytest.mark.parametrize(
    "change",
    [
        {"motifs": []},
        {"motifs": [["none"] * 6] * 5},
        {"motifs": [["none"] * 5] * 6},
        {"motifs": [["conv_9x9"] * 6] * 6},
        {"motifs": [[0] * 6] * 6},
        {"cell": [0] * 9},
        {"cell": [7] * 10},
        {"cell": [True] * 10},
        {"cell": ["1"] * 10},
        {"more": 1},
    ],
)
def test_data_that_is_no_genotype_of_the_space_is_refused(change: dict) -> None:
    data = Hierarchical().sample(random.Random(0)).data
    with pytest.raises(GenotypeError):
        Hierarchical().check(Genotype.of("hierarchical", data | change))


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"motifs": 0}, "motifs is 0; it must be at least 1"),
        ({"cell_nodes": 1}, "cell_nodes is 1; it must be at least 2"),
        ({"primitives": ()}, "at least one"),
        ({"primitives": (CONV, CONV)}, "different"),
        ({"primitives": ("conv1x1",)}, r"'conv1x1'.*did you mean 'conv_1x1'"),
    ],
)
def test_parameters_without_a_meaning_are_refused(parameters: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Hierarchical(**parameters)
