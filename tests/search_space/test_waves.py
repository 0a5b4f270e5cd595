"""The wave supernet is the textbook's: outputs, gradients and statistics, in float64."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from search_space.mixture import edges
from search_space.task import Task
from search_space.wave import KNOWN
from twin_supernets import CLOSE, KINDS, OPERATIONS, Choices, Twins, error, leaves, worst

MakeTask = Callable[..., Task]

SHAPES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "maps": ((1, 8, 8), {}),
    "1-D": ((3, 21), {"layers": 5}),
    "odd and not square": ((2, 7, 11), {"layers": 4}),
    "one channel in 4": ((2, 7, 11), {"channels": 8, "partial": 4}),
    "one channel in 2": ((1, 8, 8), {"layers": 4, "partial": 2}),
    "one channel in 2, 1-D": ((2, 21), {"partial": 2}),
    "odd channels": ((1, 5, 6), {"channels": 3, "nodes": 2}),
    "two nodes": ((1, 8, 8), {"nodes": 2, "layers": 5}),
    "three nodes": ((1, 8, 8), {"nodes": 3}),
    "one node": ((2, 6, 5), {"nodes": 1, "layers": 6}),
    "one cell": ((1, 8, 8), {"layers": 1}),
}


@pytest.fixture(params=["normalised", "folded"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form of the weighted sum, whatever the size of the maps."""
    folds = 0 if request.param == "folded" else 1 << 60
    monkeypatch.setattr("search_space.wave_supernet.FOLD_FROM", folds)
    return request.param


def assert_equal(twins: Twins, active: dict[str, Choices] | None = None) -> None:
    """Compare all that a pass through both supernets gives and leaves behind."""
    theirs_out, theirs = twins.gradients(twins.textbook, twins.mixtures(active))
    ours_out, ours = twins.gradients(twins.wave, twins.mixtures(active))
    assert theirs_out.norm() > 0
    assert error(ours_out, theirs_out) <= CLOSE
    assert worst(ours, theirs) <= CLOSE
    for name, (mine, wanted) in twins.statistics().items():
        # A pool's statistics are those of a source in a wave, and of an edge in the textbook.
        if active is None or not of_a_pool(name, twins):
            # Of maps that are already normalised, means are zero but for rounding.
            assert float((mine - wanted).norm()) <= CLOSE * max(1.0, float(wanted.norm())), name


def of_a_pool(name: str, twins: Twins) -> bool:
    parts = name.split(".")
    if "operations" not in parts:
        return False
    return "pool" in twins.wave.operations[int(parts[parts.index("operations") + 1])]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("case", SHAPES)
def test_outputs_gradients_and_statistics_are_the_textbooks(
    make_task: MakeTask, form: str, case: str, training: bool
) -> None:
    shape, size = SHAPES[case]
    twins = Twins.of(make_task(shape), **size)
    if not training:
        move_statistics(twins)
    twins.textbook.train(training)
    twins.wave.train(training)
    before = {name: buffer.clone() for name, buffer in twins.wave.named_buffers()}
    assert_equal(twins)
    moved = [not torch.equal(b, before[name]) for name, b in twins.wave.named_buffers()]
    assert all(moved) if training else not any(moved)


def move_statistics(twins: Twins) -> None:
    """Give both supernets running statistics that no batch has left behind."""
    generator = torch.Generator().manual_seed(3)
    for name, buffer in twins.wave.named_buffers():
        if buffer.is_floating_point():
            drawn = torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype)
            buffer.copy_(drawn + 0.5 if name.endswith("var") else drawn - 0.5)
    twins.align()


@pytest.mark.parametrize("shape", [(2, 21), (1, 6, 9)], ids=["1-D", "not square"])
@pytest.mark.parametrize("kind", ["dense", "regression", "multilabel"])
def test_every_kind_of_task_is_the_textbooks(
    make_task: MakeTask, form: str, kind: str, shape: tuple[int, ...]
) -> None:
    assert_equal(Twins.of(make_task(shape, kind), nodes=2))


def test_an_input_that_the_stem_halves_is_the_textbooks(make_task: MakeTask, form: str) -> None:
    # Of 72 x 60 positions; the stem holds three norms, and the cells 36 x 30.
    twins = Twins.of(make_task((1, 72, 60), n=2), nodes=1, operations=("avg_pool_3x3",))
    assert_equal(twins)


SUBSETS = [
    ("skip_connect", "sep_conv_3x3"),
    ("avg_pool_3x3", "dil_conv_5x5", "none"),
    ("sep_conv_5x5", "sep_conv_3x3"),
    *[(name,) for name in sorted(KNOWN - {"none"})],
    *[tuple(random.Random(i).sample(sorted(KNOWN), 2 + i)) for i in range(6)],
    tuple(reversed(OPERATIONS)),
]


@pytest.mark.parametrize("operations", SUBSETS, ids="+".join)
def test_any_operations_in_any_order_are_the_textbooks(
    make_task: MakeTask, form: str, operations: Sequence[str]
) -> None:
    assert_equal(Twins.of(make_task((1, 6, 5)), operations=operations, nodes=2))


def test_forms_that_the_size_of_maps_decides_are_the_textbooks(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From 4 x 8 x 8 x 8 numbers in 4 nodes' maps down to 16 x 2 x 2 x 8 in one's.
    monkeypatch.setattr("search_space.wave_supernet.FOLD_FROM", 4096)
    assert_equal(Twins.of(make_task((1, 8, 8))))


@pytest.mark.parametrize("partial", [1, 2])
def test_without_mixtures_or_without_a_bypass_it_is_the_textbooks(
    make_task: MakeTask, form: str, partial: int
) -> None:
    twins = Twins.of(make_task((1, 8, 8)), partial=partial)
    x, _ = twins.batch()
    assert error(twins.wave(x), twins.textbook(x)) <= CLOSE
    mixtures = twins.mixtures(bypass=False)
    assert error(twins.wave(x, mixtures), twins.textbook(x, mixtures)) <= CLOSE


def choices(nodes: int, columns: int, most: int, seed: int) -> dict[str, Choices]:
    """Return operations of each edge, drawn: none at all up to ``most``."""
    rng = random.Random(seed)
    return {
        kind: tuple(
            tuple(rng.sample(range(columns), rng.randint(0, min(most, columns))))
            for _ in edges(nodes)
        )
        for kind in KINDS
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", ["maps", "1-D", "one channel in 4", "three nodes"])
def test_of_active_operations_results_are_the_textbooks(
    make_task: MakeTask, case: str, seed: int
) -> None:
    shape, size = SHAPES[case]
    twins = Twins.of(make_task(shape), **size)
    active = choices(twins.wave.nodes, len(OPERATIONS), 1 if seed == 0 else 3, seed)
    assert_equal(twins, active)


@pytest.mark.parametrize("row", [(), (OPERATIONS.index("none"),)], ids=["nothing", "none"])
@pytest.mark.parametrize("partial", [1, 2])
def test_edges_that_compute_nothing_are_the_textbooks(
    make_task: MakeTask, partial: int, row: tuple[int, ...]
) -> None:
    twins = Twins.of(make_task((1, 7, 6)), partial=partial)
    every = (row,) * len(edges(4))
    some = ((4, 1), *every[1:5], (3,), *every[6:])
    assert_equal(twins, {"normal": every, "reduce": some})
    assert_equal(twins, {"normal": some, "reduce": every})
    # Nodes that get nothing from anywhere are zeros, and their statistics stay as they are.
    x, _ = twins.batch()
    nothing = twins.mixtures({"normal": every, "reduce": every})
    assert error(twins.wave(x, nothing), twins.textbook(x, nothing)) <= CLOSE


def test_an_operation_alone_is_what_it_is_among_the_others(make_task: MakeTask, form: str) -> None:
    # One-hot weights, all computed, against nothing else computed.
    twins = Twins.of(make_task((2, 9, 7)))
    rng = random.Random(0)
    active = {k: tuple((rng.randrange(len(OPERATIONS)),) for _ in edges(4)) for k in KINDS}
    x, _ = twins.batch()
    alone, among = twins.mixtures(active), twins.mixtures()
    with torch.no_grad():
        for kind in KINDS:
            for mixture in (alone[kind], among[kind]):
                columns = torch.tensor([row[0] for row in active[kind]])
                mixture.weights.copy_(torch.eye(len(OPERATIONS))[columns])
    assert error(twins.wave(x, alone), twins.wave(x, among)) <= CLOSE


@pytest.mark.parametrize("seed", range(3))
def test_evaluation_of_active_operations_is_the_textbooks(make_task: MakeTask, seed: int) -> None:
    twins = Twins.of(make_task((1, 8, 8)), layers=4)
    move_statistics(twins)
    twins.textbook.eval()
    twins.wave.eval()
    assert_equal(twins, choices(4, len(OPERATIONS), 3, seed))


@pytest.mark.parametrize("operations", SUBSETS[3:10], ids="+".join)
def test_a_batch_of_one_value_cannot_be_normalised_in_training(
    make_task: MakeTask, form: str, operations: Sequence[str]
) -> None:
    twins = Twins.of(make_task((1, 2, 2)), operations=operations, nodes=1)
    inputs, _ = twins.batch()
    active = dict.fromkeys(KINDS, ((0,),) * 2)
    for mixtures in (None, twins.mixtures(active)):
        for supernet in (twins.textbook, twins.wave):
            with pytest.raises(ValueError, match=r"more than 1 value|more than one value"):
                supernet(inputs[:1], mixtures)


def test_one_value_can_be_evaluated(make_task: MakeTask, form: str) -> None:
    twins = Twins.of(make_task((1, 2, 2)), layers=1)
    x = twins.batch()[0][:1]
    move_statistics(twins)
    twins.textbook.eval()
    twins.wave.eval()
    for active in (None, choices(4, len(OPERATIONS), 3, 0)):
        mixtures = twins.mixtures(active)
        ours, theirs = twins.wave(x, mixtures), twins.textbook(x, mixtures)
        assert error(ours, theirs) <= CLOSE
        parts = list(leaves(mixtures).values())
        found = [
            torch.autograd.grad(y.square().sum(), parts, allow_unused=True, materialize_grads=True)
            for y in (ours, theirs)
        ]
        for mine, wanted in zip(*found, strict=True):
            assert error(mine, wanted) <= CLOSE


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1), (1, 1, 5), (1, 5, 1), (1, 2, 6)], ids=str)
def test_maps_of_one_row_or_column_are_the_textbooks(
    make_task: MakeTask, form: str, shape: tuple[int, ...]
) -> None:
    assert_equal(Twins.of(make_task(shape), nodes=2))


def test_float32_is_as_near_to_the_truth_as_the_textbook_is(make_task: MakeTask, form: str) -> None:
    twins = Twins.of(make_task((1, 8, 8)), channels=8)
    _, truth = twins.gradients(twins.textbook, twins.mixtures())
    errors = []
    for supernet in (twins.textbook, twins.wave):
        supernet.float()
        mixtures = {
            kind: type(m)(m.weights.detach().float().requires_grad_())
            for kind, m in twins.mixtures().items()
        }
        inputs, targets = twins.batch()
        loss = twins.task.loss(supernet(inputs.float(), mixtures), targets)
        found = torch.autograd.grad(loss, [m.weights for m in mixtures.values()])
        wanted = [truth[f"{kind} weights"] for kind in mixtures]
        errors.append(max(error(a.double(), b) for a, b in zip(found, wanted, strict=True)))
    assert errors[1] < 4 * errors[0]
