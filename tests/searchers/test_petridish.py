"""Petridish: candidates change nothing, learn what would help, and become the node."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from search_space.growing import GrowingNetwork, stop_forward
from search_space.spaces.darts import Darts
from search_space.task import Task
from searchers.petridish import Petridish

MakeTask = Callable[..., Task]

SPACE = Darts(nodes=2, operations=("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"))
CPU = torch.device("cpu")


@pytest.fixture
def network(make_task: MakeTask) -> GrowingNetwork:
    torch.manual_seed(0)
    task = make_task((1, 8, 8))
    supernet = SPACE.supernet(task, channels=4, layers=3, fast=False)
    return GrowingNetwork(supernet)


def shake(network: GrowingNetwork) -> None:
    with torch.no_grad():
        for table in network.alpha.values():
            table.copy_(torch.randn(table.shape))


def test_a_stopped_forward_is_zero_and_its_gradient_that_of_what_was_stopped() -> None:
    x = torch.randn(5, requires_grad=True)
    y = stop_forward(x * x)
    assert torch.equal(y, torch.zeros(5))
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * x.detach())


def test_candidates_change_neither_outputs_nor_the_networks_gradients(
    network: GrowingNetwork,
) -> None:
    x, found = torch.randn(6, 1, 8, 8), []
    for alphas in (torch.zeros_like, torch.randn_like):
        with torch.no_grad():
            for table in network.alpha.values():
                table.copy_(alphas(table))
        network.zero_grad()
        outputs = network(x)
        outputs.square().sum().backward()
        parts = [network.supernet.stem, network.supernet.head]
        parts += [part for cell in network.supernet.cells for part in (cell.first, cell.second)]
        # The older input of a cell is seen by candidates only, which do not let gradients pass.
        gradients = [
            torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for part in parts
            for p in part.parameters()
        ]
        found.append((outputs.detach(), gradients))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_an_alphas_gradient_is_what_the_candidate_would_do_to_the_loss(
    make_task: MakeTask,
) -> None:
    # The derivative of the loss by the weight with which a candidate is really added, at zero.
    torch.manual_seed(1)
    task = make_task((1, 8, 8))
    supernet = SPACE.supernet(task, channels=4, layers=1, fast=False).double()
    network = GrowingNetwork(supernet).double()
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    network(x).square().sum().backward()
    (kind,) = network.alpha
    gradient = network.alpha[kind].grad
    cell, column = supernet.cells[0], SPACE.operations.index("sep_conv_3x3")

    def loss(weight: float) -> Tensor:
        stem = supernet.stem(x)
        states = [cell.first(stem), cell.second(stem)]
        absent = torch.nn.functional.max_pool2d(states[1], 2, ceil_mode=True)
        added = absent + weight * cell.edges[0].operations[column](states[0])
        return supernet.head(torch.cat([added, absent], dim=1)).square().sum()

    step = 1e-5
    expected = float((loss(step) - loss(-step)).detach() / (2 * step))
    assert max(cell.strides) == 2
    assert float(gradient[0, column]) == pytest.approx(expected, rel=1e-4)


def test_a_grown_network_is_the_supernet_with_its_choices(network: GrowingNetwork) -> None:
    x = torch.randn(6, 1, 8, 8)
    choices = [((0, 2), (1, 1)), ((2, 3), (4, 2))]
    for node in choices:
        network.grow(dict.fromkeys(network.alpha, node))
    assert network.complete
    weights = torch.zeros_like(network.alpha["normal"])
    for row, column in (choice for node in choices for choice in node):
        weights[row, column] = 1.0
    mixtures = network.mixtures(candidates=True)
    ones = {
        kind: type(mixture)(weights, active=mixture.active) for kind, mixture in mixtures.items()
    }
    torch.testing.assert_close(network(x), network.supernet(x, ones), rtol=1e-4, atol=1e-5)


def search(task: Task, **params: Any) -> Petridish:
    given = Petridish.Params(**{**Petridish.smoke, **params})
    return Petridish(SPACE, task.without_test(), given, seed=0, device=CPU)


def test_nodes_are_the_two_strongest_edges_and_come_one_after_another(
    make_task: MakeTask, drive: Any
) -> None:
    program = search(make_task((1, 8, 8), n=40), epochs=6, l1=0.0)
    sizes = []
    weights: dict[int, dict[str, dict[str, float]]] = {}
    while not program.done:
        report = program.step()
        for row in report.weights:
            if row.cell == "reduce" and row.operation != "none":
                edges = weights.setdefault(row.epoch, {}).setdefault(row.edge, {})
                edges[row.operation] = abs(row.weight)
        if report.measurements:
            sizes.append(program.network.size)
    assert sizes == [0, 1, 1, 2, 2, 2]
    cell = SPACE.cells(program.outcome().genotype)["reduce"]
    for node, epoch in enumerate((2, 4)):
        table = weights[epoch]
        best = sorted(table, key=lambda edge: -max(table[edge].values()))[:2]
        expected = {(max(table[e], key=lambda o: table[e][o]), int(e[0])) for e in best}
        assert set(map(tuple, cell.nodes[node])) == expected


def test_the_penalty_pulls_weights_of_candidates_to_zero(make_task: MakeTask) -> None:
    program = search(make_task((1, 8, 8), n=40), l1=1.0)
    shake(program.network)
    before = {kind: table.detach().clone() for kind, table in program.network.alpha.items()}
    program._size_of_candidates().backward()
    for kind, table in program.network.alpha.items():
        first = program.network.rows[0]
        assert torch.equal(table.grad[first], before[kind][first].sign())
        assert table.grad.abs().sum() == table.grad[first].abs().sum()  # of no other node


def test_there_is_an_epoch_for_each_node_and_one_more(make_task: MakeTask, drive: Any) -> None:
    program = search(make_task((1, 8, 8), n=40), epochs=1)
    assert program.epochs == 3
    outcome = drive(program, seconds=math.inf).outcome
    SPACE.check(outcome.genotype)
