"""Statistics fitted anew to an architecture, and what passes through shared weights cost."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import nn

from search_space.cost import cost
from search_space.genotype import Genotype
from search_space.shared import SharedWeights
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.task import Task
from searchers._refit import Refit
from searchers._spending import Meter

MakeTask = Callable[..., Task]

SHARING = [name for name in SPACES.names() if SPACES.load(name).shared is not SearchSpace.shared]
SIZE = {"channels": 4, "layers": 3}


def sample(space: SearchSpace, n: int) -> list[Genotype]:
    rng = random.Random(1)
    return [space.sample(rng) for _ in range(n)]


def fitted(refit: Refit, genotype: Genotype) -> None:
    refit.restart()
    while not refit.finished:
        refit.advance(genotype)


@pytest.fixture
def task(make_task: MakeTask) -> Task:
    return make_task((1, 8, 8), n=40)


def macro(task: Task) -> tuple[SharedWeights, list[Genotype]]:
    space = SPACES.load("enas_macro")(layers=4)
    return space.shared(task, **SIZE), sample(space, 3)


def test_statistics_are_the_mean_of_those_of_the_batches(task: Task) -> None:
    network, (genotype, *_) = macro(task)
    refit = Refit(network, task, torch.arange(40), 8, 4, seed=0)
    assert [len(rows) for rows in refit.batches] == [8] * 4
    seen: list[torch.Tensor] = []
    norm = network.stem[1]
    norm.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))
    fitted(refit, genotype)
    mean = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    variance = torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.momentum == nn.BatchNorm2d(1).momentum


@pytest.mark.parametrize("name", SHARING)
def test_outputs_do_not_depend_on_what_went_through_the_weights_before(
    task: Task, name: str
) -> None:
    space = SPACES.load(name)()
    network, (genotype, *others) = space.shared(task, **SIZE), sample(space, 3)
    refit = Refit(network, task, torch.arange(40), 8, 2, seed=0)
    inputs, _ = task.batch(task.valid, torch.arange(5))
    outputs = []
    for before in ([], others):
        for other in before:
            network(inputs, other)
            fitted(refit, other)
        fitted(refit, genotype)
        with torch.no_grad():
            outputs.append(network.eval()(inputs, genotype))
        network.train()
    assert torch.equal(*outputs)


@pytest.mark.parametrize("name", SHARING)
def test_a_pass_costs_what_the_stand_alone_network_does(task: Task, name: str) -> None:
    space = SPACES.load(name)()
    network = space.shared(task, **SIZE)
    meter = Meter(network, task)
    inputs, _ = task.batch(task.valid, torch.arange(6))
    for genotype in sample(space, 3):
        alone = cost(space.build(genotype, task, **SIZE), task).multiply_adds
        meter.spent = 0
        with torch.no_grad():
            network(inputs, genotype)
        assert (meter.each, meter.spent) == (alone, 6 * alone)
        network(inputs, genotype)
        assert meter.spent == 6 * alone + 3 * 6 * alone  # a backward pass will follow
