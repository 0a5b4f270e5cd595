"""The space of network structure codes: how they are written, their blocks, and equal ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chi2

from equal_networks import chance, fingerprint, partition, sequences
from search_space.genotype import GenotypeError
from search_space.spaces._structure_code import CONV, IDENTITY
from search_space.spaces.block_qnn import BlockQnn
from search_space.task import Task

MakeTask = Callable[..., Task]

# As in Zhong et al. 2018, figure 2: a block with a shortcut, and one with several branches.
RESIDUAL = "[(1,4,0,0,0), (2,1,3,1,0), (3,1,3,2,0), (4,5,0,1,3), (5,7,0,0,0)]"
INCEPTION = (
    "[(1,4,0,0,0), (2,1,1,1,0), (3,1,3,2,0), (4,1,1,1,0), (5,1,5,4,0), (6,6,0,3,5), (7,2,3,1,0), "
    "(8,1,1,7,0), (9,6,0,6,8), (10,7,0,0,0)]"
)
SPACE = BlockQnn()


def same(one: str, other: str) -> bool:
    return SPACE.canonical(SPACE.parse(one)) == SPACE.canonical(SPACE.parse(other))


@pytest.mark.parametrize("text", [RESIDUAL, INCEPTION])
def test_codes_are_read_and_printed_as_in_the_paper(text: str) -> None:
    assert SPACE.text(SPACE.parse(text)) == text
    assert SPACE.text(SPACE.parse(" " + text.replace(" ", ""))) == text


def test_the_residual_block_computes_its_input_plus_two_convolutions(make_task: MakeTask) -> None:
    torch.manual_seed(0)
    task = make_task((1, 9, 6), "classes")
    network = SPACE.build(SPACE.parse(RESIDUAL), task, channels=4, layers=3).eval()
    block = network.blocks[0][-1]
    x = block.fit(torch.randn(2, 4, 9, 6))
    assert torch.equal(
        block.layers[3](x, block.layers[2](block.layers[1](x))),
        x + block.layers[2](block.layers[1](x)),
    )
    assert block.ends == [4]
    norm, fit = 2 * 4, 4 * 4 + 2 * 4
    assert sum(p.numel() for p in block.parameters()) == fit + 2 * (4 * 4 * 9 + norm)


def test_the_inception_block_is_three_branches_wide(make_task: MakeTask) -> None:
    task = make_task((2, 9, 6), "classes")
    network = SPACE.build(SPACE.parse(INCEPTION), task, channels=4, layers=3)
    sizes = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, y: sizes.append(tuple(y.shape[1:])))
    network(torch.randn(2, *task.shape))
    # Pooled before the second and the third block, where the channels double.
    assert sizes == [(12, 9, 6), (24, 5, 3), (48, 3, 2)]


def test_the_size_is_the_number_of_sequences() -> None:
    tiny = BlockQnn(most_layers=2)
    complete = list(sequences(tiny))
    # First layer: 3 + 2 + 2 + 1 of one input, 2 of twice the same; second: 2 inputs, 4 pairs.
    assert tiny.size() == len(complete) == 10 + 10 * (8 * 2 + 2 * 4)
    assert len({tiny.decode(decisions) for decisions in complete}) == tiny.size()
    assert BlockQnn(1).size() == 10


def test_a_block_has_at_most_23_layers_and_no_question_is_asked_behind_them() -> None:
    identities = [3, 0] * 23
    assert SPACE.options(identities) == 0
    assert SPACE.options(identities[:-2]) == 7
    assert SPACE.options([]) == 6
    genotype = SPACE.decode(identities)
    assert len(SPACE.codes(genotype)) == 23
    assert SPACE.encode(genotype) == tuple(identities)


def test_a_sequence_is_drawn_as_often_as_its_decisions_make_it_likely() -> None:
    tiny = BlockQnn(most_layers=2)
    wanted = {tiny.decode(d): chance(tiny, d) for d in sequences(tiny)}
    assert sum(wanted.values()) == pytest.approx(1)
    rng, n = random.Random(0), 20000
    drawn = Counter(tiny.sample(rng) for _ in range(n))
    statistic = sum((drawn[g] - n * p) ** 2 / (n * p) for g, p in wanted.items())
    assert set(drawn) <= set(wanted)
    assert statistic < chi2.ppf(0.999, df=len(wanted) - 1)


@pytest.mark.parametrize("shape", [(1, 9), (1, 5, 4)], ids=["1-D", "2-D"])
@pytest.mark.parametrize("most", [2, 4, 6])
def test_blocks_with_one_representative_are_one_network(
    make_task: MakeTask, shape: tuple[int, ...], most: int
) -> None:
    task, rng, space = make_task(shape, "classes"), random.Random(0), BlockQnn(most)
    some = {space.sample(rng) for _ in range(250)}
    some |= {space.canonical(genotype) for genotype in some}
    groups = partition(space, some, space.canonical)
    assert len(groups) < len(some)
    for group in groups:
        assert len({fingerprint(space, genotype, task, layers=2) for genotype in group}) == 1


def test_blocks_of_convolutions_that_run_alike_have_one_representative(
    make_task: MakeTask,
) -> None:
    task, space = make_task((1, 9), "classes"), BlockQnn(3)
    everything = [
        genotype
        for genotype in map(space.decode, sequences(space))
        if {code.type for code in space.codes(genotype)} <= {CONV, IDENTITY}
    ]
    by_form = partition(space, everything, space.canonical)
    by_run = partition(space, everything, lambda g: fingerprint(space, g, task))
    assert by_form == by_run
    assert 1 < len(by_form) < len(everything) / 2


def test_a_representative_represents_itself_and_is_of_the_space() -> None:
    rng = random.Random(0)
    for _ in range(200):
        form = SPACE.canonical(SPACE.sample(rng))
        SPACE.check(form)
        assert SPACE.canonical(form) == form


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        # The identity at the beginning, which the paper's codes have, changes nothing.
        (RESIDUAL, "[(1,1,3,0,0), (2,1,3,1,0), (3,5,0,2,0), (4,7,0,0,0)]", True),
        # Branches in another order.
        (
            "[(1,1,3,0,0), (2,1,5,0,0), (3,6,0,1,2), (4,7,0,0,0)]",
            "[(1,1,5,0,0), (2,1,3,0,0), (3,6,0,1,2), (4,7,0,0,0)]",
            True,
        ),
        # Pooling over one position is an identity.
        (
            "[(1,2,1,0,0), (2,1,3,1,0), (3,7,0,0,0)]",
            "[(1,1,3,0,0), (2,7,0,0,0)]",
            True,
        ),
        # Ends are concatenated, as a last concatenation would do.
        (
            "[(1,1,3,0,0), (2,1,5,0,0), (3,6,0,1,2), (4,7,0,0,0)]",
            "[(1,1,5,0,0), (2,1,3,0,0), (3,7,0,0,0)]",
            True,
        ),
        # An end that is there twice is as wide as two.
        (
            "[(1,1,3,0,0), (2,4,0,1,0), (3,4,0,1,0), (4,7,0,0,0)]",
            "[(1,1,3,0,0), (2,4,0,1,0), (3,7,0,0,0)]",
            False,
        ),
        # What the parts of two concatenations that are added are added to counts.
        (
            "[(1,1,3,0,0), (2,1,5,0,0), (3,6,0,1,2), (4,6,0,1,2), (5,5,0,3,4), (6,7,0,0,0)]",
            "[(1,1,3,0,0), (2,1,5,0,0), (3,6,0,1,2), (4,6,0,2,1), (5,5,0,3,4), (6,7,0,0,0)]",
            False,
        ),
        # Behind a convolution it doesn't.
        (
            "[(1,1,3,0,0), (2,1,5,0,0), (3,6,0,1,2), (4,1,1,3,0), (5,5,0,4,1), (6,7,0,0,0)]",
            "[(1,1,3,0,0), (2,1,5,0,0), (3,6,0,2,1), (4,1,1,3,0), (5,5,0,1,4), (6,7,0,0,0)]",
            True,
        ),
    ],
)
def test_known_pairs(make_task: MakeTask, one: str, other: str, equal: bool) -> None:
    task = make_task((1, 9, 6), "classes")
    assert same(one, other) is equal
    runs = {fingerprint(SPACE, SPACE.parse(text), task) for text in (one, other)}
    assert (len(runs) == 1) is equal


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "one layer or more"),
        ("[(1,7,0,0,0)]", "one layer or more"),
        ("[(1,1,3,0,0)]", "one layer or more"),
        ("[(1,1,3,0,0), (2,1,3,0,0)]", "type of layer 2 is 1; allowed: 7"),
        ("[(1,1,3,0,0), (3,7,0,0,0)]", "index of layer 2 is 3; allowed: 2"),
        ("[(1,1,2,0,0), (2,7,0,0,0)]", "kernel of layer 1 is 2; allowed: 1, 3, 5"),
        ("[(1,2,5,0,0), (2,7,0,0,0)]", "kernel of layer 1 is 5; allowed: 1, 3"),
        ("[(1,1,3,1,0), (2,7,0,0,0)]", "predecessor 1 of layer 1 is 1; allowed: 0"),
        ("[(1,1,3,0,1), (2,7,0,0,0)]", "predecessor 2 of layer 1 is 1; allowed: 0"),
        (
            f"[{', '.join(f'({i},4,0,0,0)' for i in range(1, 25))}, (25,7,0,0,0)]",
            "24 layers; allowed: 1 to 23",
        ),
        ("[(1,4,0,0,{[]: 1})]", "not a network structure code"),
        ("[(1,5,0,0), (2,7,0,0,0)]", "five whole numbers"),
        ("[(1,4,0,0,0.0), (2,7,0,0,0)]", "five whole numbers"),
        ("[1, 2]", "five whole numbers"),
        ("[(1,4,0,0,0), open('x')]", "not a network structure code"),
        ("[" * 10000, "not a network structure code"),
    ],
)
def test_a_text_that_is_no_code_is_refused(text: str, says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        SPACE.parse(text)


def test_parameters_without_a_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="most_layers is 0; it must be at least 1"):
        BlockQnn(most_layers=0)
