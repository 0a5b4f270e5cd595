"""Cost: multiply-adds and parameters against closed forms, and a network that stays as it was."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from search_space.cost import Cost, cost
from search_space.spaces.darts import Darts
from search_space.task import Task

MakeTask = Callable[..., Task]

# quark0/darts, genotypes.py.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def counted_by_hooks(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Run ``network`` for real and add up, layer by layer, outputs x inputs of each output."""
    total = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += output.numel() * math.prod(weight.shape[1:])

    layers = (nn.Conv1d, nn.Conv2d, nn.Linear)
    shadow = copy.deepcopy(network).eval()
    for module in shadow.modules():
        if isinstance(module, layers):
            module.register_forward_hook(count)
    with torch.no_grad():
        shadow(torch.zeros(1, *shape))
    return total


def test_a_network_costs_what_a_hand_counts(make_task: MakeTask) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),  # 10 x 6 positions
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8),  # 5 x 3
        nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4, bias=False),  # 5 x 3
        nn.MaxPool2d(3, stride=2, padding=1),  # 3 x 2
        nn.Flatten(),
        nn.Linear(72, 4),
    )
    multiply_adds = (
        60 * 8 * 3 * 9  # full
        + 15 * 8 * 25  # depthwise
        + 15 * 12 * 2 * 9  # four groups of two inputs
        + 72 * 4
    )
    parameters = 8 * 3 * 9 + 16 + 8 * 25 + 8 + 12 * 2 * 9 + 72 * 4 + 4
    assert cost(network, make_task((3, 10, 6), "classes")) == Cost(parameters, multiply_adds)


def test_a_network_on_sequences_costs_what_a_hand_counts(make_task: MakeTask) -> None:
    network = nn.Sequential(nn.Conv1d(2, 6, 3, stride=2, padding=1), nn.Conv1d(6, 1, 1))
    multiply_adds = 7 * 6 * 2 * 3 + 7 * 6
    assert cost(network, make_task((2, 13), "dense", size=1)) == Cost(42 + 7, multiply_adds)


def test_parameters_that_are_not_trained_are_not_counted(make_task: MakeTask) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 5, bias=False), nn.Linear(5, 3, bias=False))
    network[1].requires_grad_(False)
    assert cost(network, make_task((2, 4), "classes")) == Cost(15, 40 + 15)


def test_a_parameter_that_is_used_twice_is_counted_once(make_task: MakeTask) -> None:
    layer = nn.Conv1d(2, 2, 1, bias=False)
    assert cost(nn.Sequential(layer, layer), make_task((2, 5), "classes")) == Cost(4, 2 * 20)


def test_the_published_network_costs_what_its_layers_add_up_to(make_task: MakeTask) -> None:
    space, task = Darts(), make_task((3, 32, 32), "classes", n=10, size=10)
    network = space.build(space.parse(DARTS_V2), task, channels=36, layers=20)
    counted = cost(network, task)
    assert counted == Cost(3_349_342, counted_by_hooks(network, task.shape))
    assert counted.multiply_adds == 528_359_040


@pytest.mark.parametrize("kind", ["classes", "dense"])
@pytest.mark.parametrize("shape", [(1, 31), (2, 13, 20), (1, 130, 70)])
def test_a_sampled_network_costs_what_its_layers_add_up_to(
    make_task: MakeTask, kind: str, shape: tuple[int, ...]
) -> None:
    space, task, rng = Darts(), make_task(shape, kind, n=4), random.Random(0)
    for _ in range(2):
        network = space.build(space.sample(rng), task, channels=4, layers=3)
        assert cost(network, task).multiply_adds == counted_by_hooks(network, shape)


def test_an_auxiliary_head_costs_nothing(make_task: MakeTask) -> None:
    space, task = Darts(), make_task((3, 32, 32), "classes", n=4)
    genotype = space.sample(random.Random(0))
    plain = space.build(genotype, task, channels=4, layers=3)
    helped = space.build(genotype, task, channels=4, layers=3, auxiliary=True)
    assert len(list(helped.parameters())) > len(list(plain.parameters()))
    assert cost(helped, task) == cost(plain, task)


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_network_and_all_chance_as_they_were(
    make_task: MakeTask, training: bool
) -> None:
    space, task = Darts(), make_task((3, 32, 32), "classes", n=4)
    network = space.build(
        space.sample(random.Random(0)), task, channels=4, layers=3, auxiliary=True
    )
    network.train(training)
    network.cells[0].eval()
    network.drop_path = 0.3
    tensors = [*network.parameters(), *network.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    modes = [module.training for module in network.modules()]
    chance = torch.get_rng_state()

    first, second = cost(network, task), cost(network, task)

    assert first == second
    now = [*network.parameters(), *network.buffers()]
    assert all(a is b for a, b in zip(now, tensors, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(tensors, values, strict=True))
    assert all(p.grad is None and p.device.type == "cpu" for p in network.parameters())
    assert [module.training for module in network.modules()] == modes
    assert network.drop_path == 0.3
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(not module._forward_hooks for module in network.modules())
