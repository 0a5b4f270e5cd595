"""DARTS: against steps written by hand, and on a small problem."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from orchestrator.tasks.digits import load as load_digits
from search_space.augmentation import Mirror, Shift
from search_space.mixture import Mixture
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.task import DataError, Scale, Task
from searchers._unrolled import ArchitectureGradient, Unrolling
from searchers.darts import Darts
from small_darts import search, small_space

KINDS = ("classes", "multilabel", "regression", "dense")


def with_train(task: Task, n: int) -> Task:
    return dataclasses.replace(task, train=task.train.rows(torch.arange(n)))


class TestHalves:
    @pytest.mark.parametrize("portion", [0.5, 0.3, 0.8])
    @pytest.mark.parametrize("n", [8, 31])
    def test_are_disjoint_and_cover_the_training_split(
        self, make_task, n: int, portion: float
    ) -> None:
        program = search(make_task((1, 4, 4), n=n), train_portion=portion)
        weights = program.batches.rows.tolist()
        architecture = program.architecture_batches.rows.tolist()
        assert len(weights) == int(portion * n)
        assert sorted(weights + architecture) == list(range(n))

    @pytest.mark.parametrize(("n", "portion"), [(4, 0.1), (1, 0.5)])
    def test_that_would_be_empty_are_refused(self, make_task, n: int, portion: float) -> None:
        with pytest.raises(DataError, match=f"{portion} of {n} training examples leaves 0"):
            search(with_train(make_task((1, 4, 4)), n), train_portion=portion)

    def test_are_drawn_by_the_seed(self, make_task) -> None:
        task = make_task((1, 4, 4), n=32)
        first, again, other = (search(task, seed=seed).batches.rows for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert set(first.tolist()) != set(other.tolist())
        assert set(first.tolist()) != set(range(16))

    def test_one_trains_the_weights_and_the_other_the_architecture(
        self, make_task, recorded, drive
    ) -> None:
        task, batches = recorded(make_task((1, 4, 4), n=20))
        program = search(task)
        in_double(program)
        drive(program)
        weights = set(program.batches.rows.tolist())
        given = [weights.issuperset(rows) for rows, _, _ in batches]
        for (rows, _, _), is_weights in zip(batches, given, strict=True):
            assert is_weights or weights.isdisjoint(rows)
        assert given.count(True) == given.count(False) == 4
        seen = [
            sorted(r for rows, _, _ in batches for r in rows if (r in weights) == part)
            for part in (True, False)
        ]
        assert seen[0] == sorted(2 * list(weights))
        assert seen[1] == sorted(2 * list(set(range(20)) - weights))


def in_double(program: Darts) -> None:
    program.network.double()
    program.architecture.double()


ORDERS = (
    {"order": 1},
    {"order": 2},
    {"order": 2, "second_order": "exact"},
)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(map(str, order.values())))
@pytest.mark.parametrize(
    ("scale", "momentum"),
    [(0.1, 0.9), (0.1, 0.0), (1000.0, 0.9)],
    ids=["plain", "without momentum", "clipped"],
)
def test_a_search_is_algorithm_1_written_by_hand(
    make_task, recorded, drive, order: dict[str, Any], scale: float, momentum: float
) -> None:
    """Two epochs of two steps in float64: first the architecture, by Adam, then the weights."""
    task = make_task((2, 4, 5), "regression", n=16)
    # Targets that were not standardised make gradients that are longer than the clip.
    train = dataclasses.replace(
        task.train, targets=scale * task.target_scale.apply(task.train.targets)
    )
    task, batches = recorded(dataclasses.replace(task, train=train, target_scale=Scale()))
    program = search(task, momentum=momentum, **order)
    in_double(program)
    network = copy.deepcopy(program.network)
    alphas = [program.architecture.alpha[kind].detach().clone() for kind in ("normal", "reduce")]
    own = set(program.batches.rows.tolist())
    trace = drive(program)

    def mixtures() -> tuple[dict[str, Mixture], list[torch.Tensor]]:
        theta = [alpha.softmax(dim=1).detach().requires_grad_() for alpha in alphas]
        return dict(zip(("normal", "reduce"), map(Mixture, theta), strict=True)), theta

    weights = list(network.parameters())
    oracle = ArchitectureGradient(network, functional.mse_loss)
    velocities = [torch.zeros_like(w) for w in weights]
    first, second = ([torch.zeros_like(a) for a in alphas] for _ in range(2))
    lengths, losses = [], []
    assert len(batches) == 8
    for t in range(1, 5):
        pair = batches[2 * t - 2 : 2 * t]
        (fit,) = [(x, y) for rows, x, y in pair if own.issuperset(rows)]
        (judge,) = [(x, y) for rows, x, y in pair if own.isdisjoint(rows)]
        rate = 0.025 if t <= 2 else 0.001 + 0.024 * (1 + math.cos(math.pi / 2)) / 2
        mixed, theta = mixtures()
        if order["order"] == 1:
            loss = functional.mse_loss(network(judge[0], mixed), judge[1])
            gradients = torch.autograd.grad(loss, theta)
        else:
            unrolling = Unrolling(rate, momentum, 3e-4, velocities)
            gradients = oracle.second_order(
                fit, judge, mixed, theta, unrolling, exact="second_order" in order
            )
        # The derivative of a softmax s: diag(s) - s s^T.
        gradients = [
            s * (g - (s * g).sum(dim=1, keepdim=True))
            for s, g in zip((t.detach() for t in theta), gradients, strict=True)
        ]
        with torch.no_grad():
            for a, g, m, v in zip(alphas, gradients, first, second, strict=True):
                g = g + 1e-3 * a
                m.mul_(0.5).add_(0.5 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                a -= 3e-4 * (m / (1 - 0.5**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        loss = functional.mse_loss(network(fit[0], mixtures()[0]), fit[1])
        gradients = torch.autograd.grad(loss, weights)
        lengths.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for w, g, v in zip(weights, gradients, velocities, strict=True):
                v.mul_(momentum).add_(g * min(1.0, 5.0 / (lengths[-1] + 1e-6)) + 3e-4 * w)
                w -= rate * v

    assert (max(lengths) > 5) == (scale > 1)
    wanted = dict(network.named_parameters())
    for name, found in program.network.named_parameters():
        torch.testing.assert_close(found, wanted[name], rtol=1e-8, atol=1e-10, msg=name)
    for found, alpha in zip(program.architecture.alpha.values(), alphas, strict=True):
        torch.testing.assert_close(found.detach(), alpha, rtol=1e-8, atol=1e-10)
    found_losses = [m.value for m in trace.measurements if m.split == "train"]
    means = [(losses[0] + losses[1]) / 2, (losses[2] + losses[3]) / 2]
    assert found_losses == pytest.approx(means, rel=1e-5)


def test_the_learning_rate_of_every_epoch_is_on_the_cosine(make_task, drive) -> None:
    task = with_train(make_task((1, 4, 4)), 8)
    program = search(task, epochs=7, batch_size=2, learning_rate=0.2, learning_rate_min=0.04)
    rates = defaultdict(set)
    program.alternation.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates[program.epoch].add(optimizer.param_groups[0]["lr"])
    )
    drive(program)
    assert sorted(rates) == list(range(7))
    for epoch, found in rates.items():
        wanted = 0.04 + 0.16 * (1 + math.cos(math.pi * epoch / 7)) / 2
        assert list(found) == pytest.approx([wanted], rel=1e-9)


@pytest.fixture(scope="module")
def trace(make_task, drive):
    """A search of the whole space."""
    space = SPACES.load("darts")()
    return drive(search(make_task((1, 4, 4)), space=space), seconds=math.inf)


class TestReports:
    def test_every_epoch_has_14_edges_of_8_operations_in_2_cells(self, trace) -> None:
        edges = {f"{source}->{node}" for node in range(2, 6) for source in range(node)}
        assert len(edges) == 14
        for epoch in (1, 2):
            for cell in ("normal", "reduce"):
                rows = [w for w in trace.weights if (w.epoch, w.cell) == (epoch, cell)]
                assert {w.edge for w in rows} == edges
                assert len({(w.edge, w.operation) for w in rows}) == len(rows) == 14 * 8
        assert {w.epoch for w in trace.weights} == {1, 2}

    def test_the_weights_of_an_edge_sum_to_one(self, trace) -> None:
        sums = defaultdict(float)
        for w in trace.weights:
            sums[w.epoch, w.cell, w.edge] += w.weight
        assert len(sums) == 2 * 2 * 14
        assert list(sums.values()) == pytest.approx([1] * len(sums), abs=1e-6)

    def test_the_last_weights_are_those_of_the_network_under_their_names(self, trace) -> None:
        program, operations = trace.program, trace.program.network.operations
        table = {cell: rows.tolist() for cell, rows in program.architecture.tables().items()}
        order = [(node, source) for node in range(2, 6) for source in range(node)]
        for w in trace.weights[len(trace.weights) // 2 :]:
            source, node = map(int, w.edge.split("->"))
            row, column = order.index((node, source)), operations.index(w.operation)
            assert w.weight == table[w.cell][row][column]

    def test_the_genotype_is_the_two_strongest_edges_of_every_node(self, trace) -> None:
        """Section 2.4, from the weights that were reported last."""
        genotype = trace.outcome.genotype
        trace.program.space.check(genotype)
        strongest: dict[str, dict[int, dict[int, tuple[float, str]]]] = {}
        for w in trace.weights:
            if w.epoch == 2 and w.operation != "none":
                source, node = map(int, w.edge.split("->"))
                best = strongest.setdefault(w.cell, defaultdict(dict))[node]
                best[source] = max(best.get(source, (0.0, "")), (w.weight, w.operation))
        for name, cell in trace.program.space.cells(genotype).items():
            for node, pair in enumerate(cell.nodes, start=2):
                ranked = sorted(strongest[name][node].items(), key=lambda item: -item[1][0])
                wanted = sorted((source, operation) for source, (_, operation) in ranked[:2])
                assert sorted((edge.source, edge.operation) for edge in pair) == wanted

    def test_the_score_is_that_of_the_supernet_on_the_validation_split(self, trace) -> None:
        task, network = trace.program.task, trace.program.network
        inputs, targets = task.batch(task.valid, torch.arange(len(task.valid)))
        with torch.no_grad():
            mixtures = trace.program.architecture.expected()
            outputs = copy.deepcopy(network).eval()(inputs, mixtures)
        assert trace.outcome.score == task.score(outputs, targets)
        loss = [m.value for m in trace.measurements if (m.split, m.name) == ("valid", "loss")][-1]
        assert loss == pytest.approx(float(task.loss(outputs, targets)), rel=1e-5)

    def test_measurements_are_counted_in_steps_of_the_weights(self, make_task, drive) -> None:
        trace = drive(search(make_task((1, 4, 4), n=24), epochs=3))
        rows = [m for m in trace.measurements if m.split in ("train", "valid")]
        assert [(m.step, m.epoch) for m in rows[::3]] == [(3, 1), (6, 2), (9, 3)]
        names = [(m.split, m.name) for m in rows[:3]]
        assert names == [("train", "loss"), ("valid", "loss"), ("valid", "accuracy")]

    def test_what_a_search_chose_is_told_once_before_its_first_epoch(
        self, make_task, drive
    ) -> None:
        trace = drive(search(make_task((1, 4, 4)), learning_rate=None, loss_scale=None))
        first = [m for m in trace.measurements if m.split == "settings"]
        assert first == trace.measurements[: len(first)]
        assert {(m.step, m.epoch) for m in first} == {(0, 0)}
        told = {m.name: m.value for m in first}
        assert told["learning_rate"] == trace.program.rate
        assert told["loss_scale"] == trace.program.params.loss_scale
        assert (told["epochs"], told["batch_size"]) == (2, 4)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("n", "portion"), [(32, 0.5), (33, 0.5), (31, 0.5), (32, 0.75), (32, 0.3)])
def test_compute_counts_the_examples_of_every_forward_pass(
    make_task, drive, order: int, n: int, portion: float
) -> None:
    """Three for one that is followed by a backward pass, as training counts; one in validation."""
    task = with_train(make_task((1, 4, 4), n=40), n)
    program = search(task, order=order, train_portion=portion, epochs=3, layers=2)
    examples = {True: 0, False: 0}
    forward = program.network.forward

    def counted(inputs: torch.Tensor, mixtures: Any) -> torch.Tensor:
        examples[program.network.training] += len(inputs)
        return forward(inputs, mixtures)

    program.network.forward = counted
    outcome = drive(program).outcome
    assert examples[False] == 3 * 40
    assert outcome.compute == outcome.multiply_adds * (3 * examples[True] + examples[False])


@pytest.mark.parametrize("order", [1, 2])
def test_killed_after_every_step_a_search_on_augmented_data_ends_like_the_unbroken_one(
    make_task, drive, differences, small_evaluations, order: int
) -> None:
    task = make_task((2, 4, 5), n=18)
    valid = task.valid.rows(torch.arange(4))
    task = dataclasses.replace(task, valid=valid, augmentation=(Mirror(0), Shift(1)))

    def make() -> Darts:
        # Unequal halves: a pass over one ends in the middle of a pass over the other.
        return search(task, seed=1, order=order, train_portion=0.4, batch_size=3, watchdog=True)

    assert differences(drive(make()).end, drive(make(), fresh=make).end) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [1, 2])
def test_a_learning_rate_of_a_million_is_a_divergence_and_no_error(
    make_task, drive, kind: str, order: int
) -> None:
    task = make_task((1, 4, 5), kind, n=64)
    for seconds in (0, math.inf):
        program = search(task, order=order, epochs=5, batch_size=4, learning_rate=1e6, layers=2)
        outcome = drive(program, seconds=seconds).outcome
        assert outcome.diverged
        assert math.isnan(outcome.score)
        assert outcome.genotype is None


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_cell_that_a_shallow_supernet_does_not_have_only_decays(
    make_task, drive, order: int, layers: int
) -> None:
    program = search(make_task((1, 4, 4)), order=order, layers=layers)
    before = program.architecture.alpha["normal"].detach().clone()
    drive(program)
    after = program.architecture.alpha["normal"].detach()
    # Adam's steps by the decay alone lead towards zero: two epochs of one step each.
    moved = (before - after) * before.sign()
    assert (moved[before.abs() > 1e-5] > 0).all()
    assert moved.max() < 2.1 * 3e-4


def test_a_space_without_a_supernet_is_refused(make_task) -> None:
    class Bare(type(small_space())):  # type: ignore[misc]
        supernet = SearchSpace.supernet

    with pytest.raises(TypeError, match="has no supernet"):
        search(make_task((1, 4, 4)), space=Bare())


@pytest.fixture(scope="module")
def digits() -> Task:
    return load_digits(Path())


def test_learns_to_read_digits(digits, drive) -> None:
    """A search of a few seconds gets far above the 10 % of chance; 88 % when this was written."""
    space = SPACES.load("darts")(nodes=2)
    program = search(digits, space=space, channels=4, layers=3, epochs=3, batch_size=32)
    trace = drive(program, seconds=math.inf)
    accuracy = [m.value for m in trace.measurements if m.name == "accuracy"]
    assert trace.outcome.score == accuracy[-1] > 0.7
    losses = [m.value for m in trace.measurements if (m.split, m.name) == ("train", "loss")]
    assert losses == sorted(losses, reverse=True)
    space.check(trace.outcome.genotype)
