"""Memory and time of a forward pass, against closed forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from search_space.measure import latency, peak_memory
from search_space.task import Task

FLOAT = 4  # bytes


@pytest.fixture
def task(make_task: Callable[..., Task]) -> Task:
    return make_task((3, 8, 8))


def convolution(before: int, after: int) -> nn.Module:
    return nn.Conv2d(before, after, 1, bias=False)


def test_memory_of_a_chain_is_its_weights_the_input_and_the_largest_pair_of_activations(task):
    """Of a chain only the input, which the caller holds, and two neighbours live at one time."""
    widths = [3, 16, 4, 8]
    pairs = list(zip(widths, widths[1:], strict=False))  # noqa: RUF007
    network = nn.Sequential(*(convolution(a, b) for a, b in pairs))
    weights = sum(a * b for a, b in pairs)
    positions = 64
    # The input is one of the first pair.
    most = max(16 + 3, 3 + 16 + 4, 3 + 4 + 8)
    assert peak_memory(network, task) == FLOAT * (weights + positions * most)


def test_what_works_in_place_or_is_a_view_takes_no_memory_of_its_own(task):
    plain = nn.Sequential(convolution(3, 8))
    longer = nn.Sequential(convolution(3, 8), nn.ReLU(inplace=True), nn.Flatten())
    assert peak_memory(longer, task) == peak_memory(plain, task)


def test_a_branch_that_is_kept_counts_until_it_is_joined(task):
    class Kept(nn.Module):
        """Holds one activation while two others are made."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = convolution(3, 8), convolution(3, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept = self.first(x)
            return kept + self.second(x)

    # The input, both branches and their sum.
    assert peak_memory(Kept(), task) == FLOAT * (2 * 3 * 8 + 64 * (3 + 8 + 8 + 8))


def test_measuring_leaves_the_network_and_the_generators_as_they_were(task):
    network = nn.Sequential(convolution(3, 4), nn.BatchNorm2d(4), nn.Dropout())
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    peak_memory(network, task)
    latency(network, task)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_of_a_hundred_times_the_work_takes_longer(task):
    small, large = convolution(3, 16), nn.Sequential(convolution(3, 64), convolution(64, 1024))
    assert 0 < latency(small, task) < latency(large, task)


def test_latency_can_be_measured_of_a_network_without_weights(task):
    with torch.device("meta"):
        network = nn.Sequential(convolution(3, 4), nn.BatchNorm2d(4))
    assert latency(network, task) > 0
    assert peak_memory(network, task) > 0
