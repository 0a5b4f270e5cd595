"""The chain space: what is asked when, how many chains there are, and which are the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chi2
from torch import nn

from equal_networks import chance, fingerprint, partition, sequences
from search_space.genotype import Genotype, GenotypeError
from search_space.spaces.chain import Chain
from search_space.task import Task

MakeTask = Callable[..., Task]

TINY = Chain(most_layers=3, types=("conv", "max_pool", "identity"), widths=(1,), kernels=(3, 5))


def chain(text: str) -> Genotype:
    return Chain().parse(text)


def test_the_size_is_the_number_of_sequences() -> None:
    small = Chain(most_layers=2, widths=(1, 3), kernels=(1, 3))
    complete = list(sequences(small))
    # Layers: conv 2 x 2 x 2, two poolings 2 each, two more convolutions 2 x 2 each, identity.
    assert small.choices() == 8 + 2 * 2 + 2 * 4 + 1
    assert small.size() == len(complete) == len(set(complete)) == 21 + 21**2
    assert len({small.decode(decisions) for decisions in complete}) == small.size()


def test_what_is_asked_depends_on_the_type() -> None:
    space = Chain()
    assert space.options([]) == 12
    assert space.options([0]) == 6
    conv, pool, sep, identity = (
        [0, space.types.index(t)] for t in ("conv", "max_pool", "sep_conv", "identity")
    )
    assert [space.options(conv), space.options([*conv, 0]), space.options([*conv, 0, 0])] == [
        4,
        3,
        2,
    ]
    assert [space.options(pool), space.options([*pool, 0]), space.options([*pool, 0, 0])] == [
        2,
        2,
        0,
    ]
    assert space.options([*sep, 0]) == 2
    assert space.options(identity) == 0


def test_a_sequence_is_drawn_as_often_as_its_decisions_make_it_likely() -> None:
    # Pearson's chi-square at significance 0.001 and a fixed seed.
    small = Chain(most_layers=2, types=("conv", "identity"), widths=(1, 2), kernels=(3,))
    wanted = {small.decode(d): chance(small, d) for d in sequences(small)}
    assert sum(wanted.values()) == pytest.approx(1)
    rng, n = random.Random(0), 20000
    drawn = Counter(small.sample(rng) for _ in range(n))
    assert set(drawn) <= set(wanted)
    statistic = sum((drawn[g] - n * p) ** 2 / (n * p) for g, p in wanted.items())
    assert statistic < chi2.ppf(0.999, df=len(wanted) - 1)


def test_every_architecture_is_as_likely_where_all_ask_alike() -> None:
    flat = Chain(most_layers=1, types=("max_pool", "avg_pool"), kernels=(3, 5))
    rng, n = random.Random(1), 4000
    drawn = Counter(flat.sample(rng) for _ in range(n))
    assert len(drawn) == flat.size() == 8
    statistic = sum((count - n / 8) ** 2 / (n / 8) for count in drawn.values())
    assert statistic < chi2.ppf(0.999, df=7)


@pytest.mark.parametrize("shape", [(1, 41), (1, 17, 30)], ids=["1-D", "2-D"])
def test_chains_have_one_representative_exactly_where_they_are_one_network(
    make_task: MakeTask, shape: tuple[int, ...]
) -> None:
    task = make_task(shape, "classes")
    space = TINY if len(shape) == 2 else Chain(2, TINY.types, (1,), (3, 5))
    everything = [space.decode(decisions) for decisions in sequences(space)]
    by_form = partition(space, everything, space.canonical)
    by_run = partition(space, everything, lambda g: fingerprint(space, g, task))
    assert by_form == by_run
    assert 1 < len(by_form) < len(everything)


def test_a_representative_represents_itself_and_is_of_the_space() -> None:
    rng = random.Random(0)
    for _ in range(100):
        form = Chain().canonical(Chain().sample(rng))
        Chain().check(form)
        assert Chain().canonical(form) == form


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("[I, I]", "[I]"),
        ("[C(2,3,1), I]", "[C(2,3,1)]"),
        ("[P(3,1), I, P(3,1)]", "[P(5,1)]"),
        ("[P(3,1), P(3,2)]", "[P(5,2)]"),
        ("[P(5,1), P(3,1)]", "[P(3,1), P(5,1)]"),
        ("[P(3,2), P(3,1)]", "[P(3,1), P(5,2)]"),  # a window of 7 with stride 2
        ("[A(3,1), A(3,1)]", "[A(3,1), A(3,1)]"),  # weights its window; no average does
    ],
)
def test_identity_and_runs_of_max_pooling_have_a_shortest_form(text: str, same: str) -> None:
    assert Chain().canonical(chain(text)) == chain(same)


def test_strides_that_leave_gaps_keep_a_run_of_max_poolings_as_it_is() -> None:
    # Of 3 with stride 3 after 3 with stride 3 nothing is left out; with stride 4 something is.
    space = Chain(kernels=(3, 5), strides=(1, 4))
    run = space.parse("[P(3,4), P(3,1)]")
    assert space.canonical(run) == run


def test_the_text_is_that_of_metaqnn_with_widths_in_multiples() -> None:
    genotype = chain(" [C(2, 3, 1), S(1,5,2),D(8,3,1), P(3,2), A(5,1), I] ")
    assert Chain().text(genotype) == "[C(2,3,1), S(1,5,2), D(8,3,1), P(3,2), A(5,1), I]"
    assert genotype.data["layers"][:2] == [["conv", 2, 3, 1], ["sep_conv", 1, 5, 2]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "no layer"),
        ("[C(2,3,1)", "list such as"),
        ("[C(2,3)]", "width and kernel and stride"),
        ("[C(3,3,1)]", "width of layer 0 is 3; allowed: 1, 2, 4, 8"),
        ("[P(1,1)]", "kernel of layer 0 is 1; allowed: 3, 5"),
        ("[FC(10)]", "no layer"),
        ("[I(3)]", "takes nothing"),
        ("[C(,,)]", "whole numbers"),
        ("[" + "I, " * 12 + "I]", "13 layers; allowed: 1 to 12"),
    ],
)
def test_a_text_that_is_no_chain_of_the_space_is_refused(text: str, says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        chain(text)


@pytest.mark.parametrize(
    "layers", [None, [], 3, [[]], ["conv"], [["conv", 1, 3]], [["conv", 1, 3, True]], [["lstm"]]]
)
def test_data_that_is_no_chain_is_refused(layers: object) -> None:
    with pytest.raises(GenotypeError):
        Chain().check(Genotype.of("chain", {"layers": layers}))


def test_strides_divide_the_size_and_widths_multiply_the_channels(make_task: MakeTask) -> None:
    task = make_task((2, 9, 6), "classes")
    network = Chain().build(chain("[C(4,3,2), D(2,5,2), S(1,3,1)]"), task, channels=3, layers=1)
    shapes = []
    for layer in network.layers:
        layer.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
    network(torch.randn(2, *task.shape))
    assert shapes == [(12, 5, 3), (6, 3, 2), (3, 3, 2)]


def test_the_number_of_parameters_is_that_of_the_layers(make_task: MakeTask) -> None:
    task = make_task((2, 9, 6), "classes")
    network = Chain().build(
        chain("[C(2,3,1), P(3,2), S(1,5,1), D(1,3,1), I]"), task, channels=4, layers=9
    )
    stem, head = 2 * 4 * 9 + 2 * 4, 4 * 3 + 3
    conv, sep, dil = 4 * 8 * 9 + 2 * 8, 8 * 25 + 8 * 4 + 2 * 4, 4 * 4 * 9 + 2 * 4
    assert sum(p.numel() for p in network.parameters()) == stem + conv + sep + dil + head
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"most_layers": 0}, "at least 1"),
        ({"types": ("conv", "convs")}, r"'convs'.*did you mean 'conv'"),
        ({"types": ()}, "at least one"),
        ({"widths": (1, 1)}, "different"),
        ({"strides": (0,)}, "at least 1"),
        ({"kernels": (2,)}, "odd"),
        ({"kernels": (1,)}, "'max_pool' needs one above 1"),
    ],
)
def test_parameters_without_a_meaning_are_refused(parameters: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Chain(**parameters)


@pytest.mark.parametrize(
    ("decisions", "says"),
    [
        ([], "0 decisions; the sequence goes on"),
        ([0], "goes on"),
        ([12], "decision 0 is 12; there are 12 options"),
        ([0, 5, 0], "1 decisions too many"),
        ([0, -1], "decision 1 is -1; there are 6 options"),
    ],
)
def test_sequences_that_are_none_are_refused(decisions: list[int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Chain().decode(decisions)
