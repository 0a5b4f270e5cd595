"""Searching with the wave supernet: whole steps, gradients of second order, less memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from search_space.mixture import Mixture, edges
from search_space.supernet import Supernet
from search_space.task import Task
from searchers._unrolled import ArchitectureGradient, Batch, Unrolling
from twin_supernets import CLOSE, KINDS, OPERATIONS, Choices, Twins, error, leaves, worst

MakeTask = Callable[..., Task]

RATE, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0
ORDERS = ("first", "finite difference", "exact")

# Of cells with two nodes.
ACTIVE = {"normal": ((1,), (4, 0), (), (7,), (2, 3)), "reduce": ((3,), (6,), (5, 1), (), (0,))}


@pytest.fixture(params=["normalised", "folded"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form of the weighted sum, whatever the size of the maps."""
    folds = 0 if request.param == "folded" else 1 << 60
    monkeypatch.setattr("search_space.wave_supernet.FOLD_FROM", folds)
    return request.param


def mixed(leaves: Sequence[Tensor]) -> dict[str, Mixture]:
    """Return mixtures made of weights of each kind, and of bypasses where there are such."""
    bypasses = leaves[2:] or (None, None)
    return {
        kind: Mixture(weights, around)
        for kind, weights, around in zip(KINDS, leaves[:2], bypasses, strict=True)
    }


class Search:
    """A DARTS search written out: Adam on the architecture, SGD with a clipped norm on weights."""

    def __init__(self, supernet: Supernet, task: Task, order: str):
        torch.manual_seed(0)
        rows, columns = len(edges(supernet.nodes)), len(supernet.operations)
        shapes = [(rows, columns)] * 2 + [(rows,)] * (2 if supernet.partial > 1 else 0)
        self.alphas = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
        self.supernet, self.task, self.order = supernet, task, order
        self.weights = list(supernet.parameters())
        self.sgd = torch.optim.SGD(self.weights, RATE, momentum=MOMENTUM, weight_decay=DECAY)
        self.adam = torch.optim.Adam(self.alphas, 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.gradient = ArchitectureGradient(supernet, task.loss)

    def step(self, train: Batch, valid: Batch) -> Tensor:
        """Take one step of both; returns the loss of the weights' step."""
        values = [alpha.softmax(dim=-1) for alpha in self.alphas]
        theta = [value.detach().requires_grad_() for value in values]
        found = self._by_theta(train, valid, theta)
        gradients = torch.autograd.grad(values, self.alphas, found)
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient
        self.adam.step()
        self.sgd.zero_grad()
        fixed = mixed([alpha.detach().softmax(dim=-1) for alpha in self.alphas])
        loss = self.task.loss(self.supernet(train[0], fixed), train[1])
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, CLIP)
        self.sgd.step()
        return loss.detach()

    def _by_theta(self, train: Batch, valid: Batch, theta: list[Tensor]) -> tuple[Tensor, ...]:
        mixtures = mixed(theta)
        if self.order == "first":
            return self.gradient.first_order(valid, mixtures, theta)
        velocities = [
            self.sgd.state.get(w, {}).get("momentum_buffer", torch.zeros_like(w))
            for w in self.weights
        ]
        unrolling = Unrolling(RATE, MOMENTUM, DECAY, velocities)
        return self.gradient.second_order(
            train, valid, mixtures, theta, unrolling, exact=self.order == "exact"
        )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 8, 8), {"nodes": 3}), ((2, 13), {"nodes": 2, "partial": 2})],
    ids=["maps", "1-D, one channel in 2"],
)
def test_three_steps_of_a_search_end_where_the_textbooks_do(
    make_task: MakeTask, form: str, order: str, shape: tuple[int, ...], size: dict[str, Any]
) -> None:
    steps_are_the_textbooks(Twins.of(make_task(shape), **size), order)


# The settings of tests/benchmarks/supernet.py but for the batch, and the form that each takes.
SETTINGS = {
    "a": ((3, 32, 32), {"channels": 16, "layers": 8}, 0),
    "b": ((1, 28, 28), {"channels": 8, "layers": 5}, 0),
    "c": ((1, 8, 8), {"channels": 4, "layers": 3}, 1 << 60),
    "d": ((1, 32, 80), {"channels": 8, "layers": 5}, 0),
}


def at(setting: str, order: str, *marks: pytest.MarkDecorator) -> Any:
    return pytest.param(setting, order, marks=marks, id=f"{setting}, {order}")


@pytest.mark.parametrize(
    ("setting", "order"),
    [
        at("c", "first"),
        at("c", "finite difference"),
        at("b", "first"),
        *(at(s, o, pytest.mark.slow) for s in "bda" for o in ORDERS if (s, o) != ("b", "first")),
    ],
)
def test_so_do_they_at_the_sizes_that_are_measured(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, setting: str, order: str
) -> None:
    shape, size, folds = SETTINGS[setting]
    monkeypatch.setattr("search_space.wave_supernet.FOLD_FROM", folds)
    steps_are_the_textbooks(Twins.of(make_task(shape, n=2), **size), order)


def steps_are_the_textbooks(twins: Twins, order: str) -> None:
    """Take three steps with both forms, and hold everything that they change to each other."""
    start = {name: p.detach().clone() for name, p in twins.wave.named_parameters()}
    searches = [Search(net, twins.task, order) for net in (twins.wave, twins.textbook)]
    for _ in range(3):
        losses = [s.step(twins.batch("train"), twins.batch("valid")) for s in searches]
        assert error(*losses) <= CLOSE
    wave, textbook = searches
    assert error(torch.cat([a.flatten() for a in wave.alphas]), flat(textbook.alphas)) <= CLOSE
    ours = dict(twins.wave.named_parameters())
    theirs = dict(twins.textbook.named_parameters())
    assert worst(twins.as_textbook(ours), theirs) <= CLOSE
    for mine, wanted in twins.statistics().values():
        assert float((mine - wanted).norm()) <= CLOSE * max(1.0, float(wanted.norm()))
    assert all(error(p, start[name]) > 1e-4 for name, p in ours.items())


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def by_theta(
    supernet: Supernet, twins: Twins, mixtures: dict[str, Mixture], *, exact: bool
) -> list[Tensor]:
    """Return a gradient of second order, after a step of weights that had been moving."""
    generator = torch.Generator().manual_seed(4)
    of_wave = {
        name: torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for name, p in twins.wave.named_parameters()
    }
    velocities = of_wave if supernet is twins.wave else twins.as_textbook(of_wave)
    unrolling = Unrolling(
        RATE, MOMENTUM, DECAY, [velocities[name] for name, _ in supernet.named_parameters()]
    )
    found = ArchitectureGradient(supernet, twins.task.loss).second_order(
        twins.batch("train"),
        twins.batch("valid"),
        mixtures,
        list(leaves(mixtures).values()),
        unrolling,
        exact=exact,
    )
    return list(found)


@pytest.mark.parametrize("exact", [False, True], ids=["finite difference", "exact"])
@pytest.mark.parametrize("partial", [1, 2])
@pytest.mark.parametrize("shape", [(2, 7, 5), (2, 15)], ids=["maps", "1-D"])
def test_a_gradient_of_second_order_is_the_textbooks(
    make_task: MakeTask, form: str, shape: tuple[int, ...], partial: int, exact: bool
) -> None:
    twins = Twins.of(make_task(shape), partial=partial, nodes=2, layers=4)
    before = {name: buffer.clone() for name, buffer in twins.wave.named_buffers()}
    ours, theirs = (
        by_theta(supernet, twins, twins.mixtures(), exact=exact)
        for supernet in (twins.wave, twins.textbook)
    )
    for mine, wanted in zip(ours, theirs, strict=True):
        assert error(mine, wanted) <= CLOSE
    assert all(torch.equal(b, before[name]) for name, b in twins.wave.named_buffers())


@pytest.mark.parametrize("exact", [False, True], ids=["finite difference", "exact"])
def test_a_gradient_of_second_order_of_active_operations_is_the_textbooks(
    make_task: MakeTask, exact: bool
) -> None:
    twins = Twins.of(make_task((1, 8, 8)), nodes=2)
    ours, theirs = (
        by_theta(supernet, twins, twins.mixtures(ACTIVE), exact=exact)
        for supernet in (twins.wave, twins.textbook)
    )
    for mine, wanted in zip(ours, theirs, strict=True):
        assert error(mine, wanted) <= CLOSE


@pytest.mark.parametrize("operations", [*[(o,) for o in OPERATIONS[1:]], OPERATIONS], ids="+".join)
def test_gradients_by_weights_can_be_differentiated_as_the_textbooks(
    make_task: MakeTask, form: str, operations: Sequence[str]
) -> None:
    # The derivatives of all gradients' scalar product with something, by weights and mixtures.
    twins = Twins.of(make_task((1, 5, 6)), operations=operations, nodes=2)
    generator = torch.Generator().manual_seed(7)
    direction = {
        name: torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for name, p in twins.wave.named_parameters()
    }
    found = []
    for supernet in (twins.wave, twins.textbook):
        along = direction if supernet is twins.wave else twins.as_textbook(direction)
        inputs, targets = twins.batch()
        mixtures, weights = twins.mixtures(), dict(supernet.named_parameters())
        loss = twins.task.loss(supernet(inputs, mixtures), targets)
        how = {"allow_unused": True, "materialize_grads": True}
        first = torch.autograd.grad(loss, list(weights.values()), create_graph=True, **how)
        product = sum((g * along[n]).sum() for n, g in zip(weights, first, strict=True))
        of = {**leaves(mixtures), **weights}
        second = dict(zip(of, torch.autograd.grad(product, list(of.values()), **how), strict=True))
        by_mixtures = {name: second.pop(name) for name in leaves(mixtures)}
        by_weights = twins.as_textbook(second) if supernet is twins.wave else second
        found.append({**by_mixtures, **by_weights})
    assert worst(*found) <= CLOSE


@pytest.mark.parametrize("active", [None, ACTIVE], ids=["all", "active"])
@pytest.mark.parametrize("partial", [1, 2])
def test_computing_maps_again_changes_nothing_and_moves_statistics_once(
    make_task: MakeTask, form: str, partial: int, active: dict[str, Choices] | None
) -> None:
    twins = Twins.of(make_task((1, 8, 8)), nodes=2, partial=partial, layers=4)
    start = {name: tensor.clone() for name, tensor in twins.wave.state_dict().items()}
    found = []
    for checkpointing in (False, True):
        twins.wave.load_state_dict(start)
        twins.wave.checkpointing = checkpointing
        outputs, gradients = twins.gradients(twins.wave, twins.mixtures(active))
        state = {name: tensor.clone() for name, tensor in twins.wave.state_dict().items()}
        found.append({**gradients, **state, "outputs": outputs})
    kept, again = found
    assert all(torch.equal(again[name], tensor) for name, tensor in kept.items())


def test_computing_maps_again_keeps_to_the_weights_that_were_put_in(
    make_task: MakeTask, form: str
) -> None:
    twins = Twins.of(make_task((1, 8, 8)), nodes=2)
    inputs, targets = twins.batch()
    generator = torch.Generator().manual_seed(8)
    own = {name: tensor.clone() for name, tensor in twins.wave.state_dict().items()}
    found = []
    others = {
        name: torch.rand(p.shape, generator=generator, dtype=p.dtype) - 0.5
        for name, p in twins.wave.named_parameters()
    }
    for checkpointing in (False, True):
        twins.wave.checkpointing = checkpointing
        weights = {name: tensor.clone().requires_grad_() for name, tensor in others.items()}
        buffers = {name: buffer.clone() for name, buffer in twins.wave.named_buffers()}
        mixtures = twins.mixtures()
        outputs = functional_call(twins.wave, {**weights, **buffers}, (inputs, mixtures))
        of = {**leaves(mixtures), **weights}
        gradients = torch.autograd.grad(
            twins.task.loss(outputs, targets),
            list(of.values()),
            allow_unused=True,
            materialize_grads=True,
        )
        found.append([outputs, *gradients, *buffers.values()])
        assert any(not torch.equal(buffers[name], own[name]) for name in buffers)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert all(torch.equal(t, own[name]) for name, t in twins.wave.state_dict().items())
    assert all(bool(t.isfinite().all()) for t in found[0])


@pytest.mark.parametrize("exact", [False, True], ids=["finite difference", "exact"])
def test_computing_maps_again_changes_no_gradient_of_second_order(
    make_task: MakeTask, form: str, exact: bool
) -> None:
    twins = Twins.of(make_task((1, 8, 8)), nodes=2)
    found = []
    for checkpointing in (False, True):
        twins.wave.checkpointing = checkpointing
        found.append(by_theta(twins.wave, twins, twins.mixtures(), exact=exact))
    for kept, again in zip(*found, strict=True):
        assert error(again, kept) <= CLOSE
