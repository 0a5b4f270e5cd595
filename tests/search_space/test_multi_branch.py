"""The multi-branch space: what layers take, how it is joined, and which networks are the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from scipy.stats import chi2

from equal_networks import chance, fingerprint, partition, sequences
from search_space.genotype import Genotype, GenotypeError
from search_space.spaces.chain import Chain
from search_space.spaces.multi_branch import MultiBranch
from search_space.task import Task

MakeTask = Callable[..., Task]

TINY = MultiBranch(3, ("conv", "avg_pool", "identity"), (1, 2), (1, 3), (1,))
SMALL = MultiBranch(4, ("conv", "identity"), (1,), (3,), (1,))


def network(*layers: tuple) -> Genotype:
    """Return a genotype of ``(inputs, layer)`` or ``(inputs, join, layer)``."""
    records = []
    for inputs, *join, layer in layers:
        record = {"inputs": list(inputs), "layer": list(layer)}
        records.append(record | ({"join": join[0]} if join else {}))
    return Genotype.of("multi_branch", {"layers": records})


CONV, WIDE, HALF, SAME = ("conv", 1, 3, 1), ("conv", 2, 3, 1), ("conv", 1, 3, 2), ("identity",)


def test_the_size_is_the_number_of_sequences() -> None:
    space = MultiBranch(3, ("conv", "identity"), (1, 2), (3,), (1,))
    complete = list(sequences(space))
    # 3 layers; 1 way to take the stem; 2 + 2 of one or both; 3 + 2 x 4 of one or several of three.
    assert space.size() == len(complete) == len(set(complete)) == 3 + 3 * 12 + 3 * 12 * 33
    assert len({space.decode(decisions) for decisions in complete}) == space.size()
    assert all(space.encode(space.decode(d)) == d for d in complete[:200])


def test_a_sequence_is_drawn_as_often_as_its_decisions_make_it_likely() -> None:
    space = MultiBranch(2, ("conv", "identity"), (1, 2), (3,), (1,))
    wanted = {space.decode(d): chance(space, d) for d in sequences(space)}
    assert sum(wanted.values()) == pytest.approx(1)
    rng, n = random.Random(0), 20000
    drawn = Counter(space.sample(rng) for _ in range(n))
    statistic = sum((drawn[g] - n * p) ** 2 / (n * p) for g, p in wanted.items())
    assert set(drawn) <= set(wanted)
    assert statistic < chi2.ppf(0.999, df=len(wanted) - 1)


@pytest.mark.parametrize(
    ("space", "shape"), [(TINY, (1, 9)), (SMALL, (1, 9)), (SMALL, (1, 5, 4))], ids=["a", "b", "2-D"]
)
def test_networks_with_one_representative_are_one_network(
    make_task: MakeTask, space: MultiBranch, shape: tuple[int, ...]
) -> None:
    task, rng = make_task(shape, "classes"), random.Random(0)
    some = {space.sample(rng) for _ in range(800)}
    some |= {space.canonical(genotype) for genotype in some}
    for group in partition(space, some, space.canonical):
        assert len({fingerprint(space, genotype, task) for genotype in group}) == 1


def test_networks_that_run_alike_have_one_representative_but_for_sums_of_sums(
    make_task: MakeTask,
) -> None:
    task = make_task((1, 9), "classes")
    space = MultiBranch(3, ("conv", "identity"), (1,), (3,), (1,))
    everything = [
        genotype
        for genotype in map(space.decode, sequences(space))
        if all((b.join, b.layer.type) != ("sum", "identity") for b in space.branches(genotype))
    ]
    by_form = partition(space, everything, space.canonical)
    by_run = partition(space, everything, lambda g: fingerprint(space, g, task))
    assert by_form == by_run
    assert 1 < len(by_form) < len(everything) / 2


# Three layers alike, told apart only by who takes two of them.
SHARED = network(
    ((0,), CONV), ((0,), CONV), ((0,), CONV), ((1, 2), "sum", CONV), ((2, 3), "sum", WIDE)
)


def test_layers_in_another_order_have_the_same_representative() -> None:
    """Against all orders that put inputs first, found by trying every permutation."""
    space, rng = MultiBranch(most_layers=5), random.Random(3)
    tried = 0
    for genotype in (SHARED, *(space.sample(rng) for _ in range(20))):
        branches = space.branches(genotype)
        for order in permutations(range(1, len(branches) + 1)):
            place = {0: 0, **{number: i for i, number in enumerate(order, start=1)}}
            moved = []
            for number in order:
                branch = branches[number - 1]
                sources = tuple(sorted(place[source] for source in branch.sources))
                moved.append(branch._replace(sources=sources))
            if all(max(b.sources) < i for i, b in enumerate(moved, start=1)):
                other = space.genotype(moved)
                assert space.canonical(other) == space.canonical(genotype)
                tried += other != genotype
    assert tried > 20


def test_a_representative_represents_itself_and_is_of_the_space() -> None:
    space, rng = MultiBranch(), random.Random(0)
    for _ in range(60):
        form = space.canonical(space.sample(rng))
        space.check(form)
        assert space.canonical(form) == form


def test_many_equal_branches_are_told_apart_in_time() -> None:
    # Twelve layers that all look alike but for who takes them: 8 of the stem, 4 of two each.
    pairs = [(1, 2), (3, 4), (5, 6), (7, 8)]
    first = network(*[((0,), CONV)] * 8, *[(pair, "sum", CONV) for pair in pairs])
    mixed = [(1, 5), (2, 7), (3, 4), (6, 8)]
    second = network(*[((0,), CONV)] * 8, *[(pair, "sum", CONV) for pair in mixed])
    space = MultiBranch(most_layers=12)
    assert space.canonical(first) == space.canonical(second)
    ring = network(*[((0,), CONV)] * 8, *[(p, "sum", CONV) for p in [(1, 2), (2, 3), (1, 3)]])
    assert space.canonical(ring) != space.canonical(first)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # An identity that is left out, and one that doubles what is added, which is not.
        (
            network(((0,), CONV), ((1,), SAME), ((2,), CONV)),
            network(((0,), CONV), ((1,), CONV)),
            True,
        ),
        (
            network(((0,), CONV), ((1,), SAME), ((1, 2), "sum", CONV)),
            network(((0,), CONV), ((1,), CONV)),
            False,
        ),
        # Two branches, shared or not: other weights.
        (
            network(((0,), CONV), ((1,), CONV), ((1,), WIDE)),
            network(((0,), CONV), ((0,), CONV), ((1,), CONV), ((2,), WIDE)),
            False,
        ),
        # An identity that is an output beside what takes the same layer.
        (
            network(((0,), CONV), ((1,), SAME), ((1,), CONV)),
            network(((0,), CONV), ((1,), CONV)),
            False,
        ),
        (network(((0,), CONV), ((1,), SAME)), network(((0,), CONV)), True),
        # An identity of a concatenation is a pointwise convolution.
        (
            network(((0,), WIDE), ((0, 1), "concat", SAME)),
            network(((0,), WIDE), ((0, 1), "concat", ("conv", 2, 1, 1))),
            True,
        ),
        (network(((0, 0)[:1], CONV)), network(((0,), HALF)), False),
    ],
)
def test_known_pairs(make_task: MakeTask, one: Genotype, other: Genotype, same: bool) -> None:
    space, task = MultiBranch(), make_task((1, 9, 6), "classes")
    assert (space.canonical(one) == space.canonical(other)) is same
    assert (fingerprint(space, one, task) == fingerprint(space, other, task)) is same


def test_a_chain_is_the_network_that_the_chain_space_builds(make_task: MakeTask) -> None:
    task, rng = make_task((2, 11, 7), "classes"), random.Random(0)
    for _ in range(10):
        chain = Chain(most_layers=8).sample(rng)
        layers = chain.data["layers"]
        branched = network(*[((i,), layer) for i, layer in enumerate(layers)])
        assert fingerprint(MultiBranch(), branched, task) == fingerprint(Chain(), chain, task)


def test_inputs_are_joined_at_the_lowest_resolution_and_the_widest_width(
    make_task: MakeTask,
) -> None:
    task = make_task((1, 9, 6), "classes")
    pool = ("max_pool", 3, 1)
    genotype = network(
        ((0,), HALF),
        ((0,), WIDE),
        ((1, 2), "sum", pool),  # 5 x 3, twice the channels
        ((0, 1, 2), "concat", pool),  # as wide as the widest of 1, 1 and 2
        ((1, 2), "concat", CONV),
    )
    built = MultiBranch().build(genotype, task, channels=4, layers=1)
    taken: list[tuple[int, ...]] = []
    for layer in built.layers:
        layer.register_forward_hook(lambda _, x, __: taken.append(tuple(x[0].shape[1:])))
    assert built(torch.randn(2, *task.shape)).shape == (2, 3)
    assert taken == [(4, 9, 6), (4, 9, 6), (8, 5, 3), (8, 5, 3), (12, 5, 3)]
    assert built.ends == (3, 4, 5)
    assert built.head.project.in_features == 8 + 8 + 4


@pytest.mark.parametrize(
    "layers",
    [
        [{"inputs": [1], "layer": list(CONV)}],
        [{"inputs": [], "layer": list(CONV)}],
        [{"inputs": [0, 0], "join": "sum", "layer": list(CONV)}],
        [{"inputs": [0], "join": "sum", "layer": list(CONV)}],
        [{"inputs": [0.0], "layer": list(CONV)}],
        [{"inputs": [0], "layer": list(CONV), "more": 1}],
        [{"inputs": [0]}],
        [{"inputs": [0], "layer": list(CONV)}, {"inputs": [0, 1], "layer": list(CONV)}],
        [
            {"inputs": [0], "layer": list(CONV)},
            {"inputs": [0, 1], "join": "mean", "layer": list(CONV)},
        ],
        [["conv", 1, 3, 1]],
        {},
    ],
)
def test_data_that_is_no_network_of_the_space_is_refused(layers: object) -> None:
    with pytest.raises(GenotypeError):
        MultiBranch().check(Genotype.of("multi_branch", {"layers": layers}))
