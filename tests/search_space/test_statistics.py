"""Batch normalisation of rows: torch's own, with channels first and positions last."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from search_space.statistics import Statistics


def rows(*shape: int, seed: int = 0) -> Tensor:
    """Return rows of several scales and levels, in float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    level = torch.randn(*shape[:-1], 1, generator=generator, dtype=torch.float64)
    return x * level.exp() + 3 * level


def textbook(shape: tuple[int, ...], momentum: float = 0.1) -> nn.BatchNorm1d:
    channels = torch.Size(shape).numel()
    return nn.BatchNorm1d(channels, affine=False, momentum=momentum).double()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("momentum", [0.1, 0.3])
def test_rows_are_normalised_as_batch_norm_does_it(shape: tuple[int, ...], momentum: float) -> None:
    ours, theirs = Statistics(*shape).double(), textbook(shape, momentum)
    ours.momentum = momentum
    for step in range(5):
        if step == 4:
            ours.eval()
            theirs.eval()
        x, y = (rows(*shape, 7, seed=step).requires_grad_() for _ in range(2))
        found = ours.normalise(x)
        wanted = theirs(y.flatten(0, -2).t()).t().view(y.shape)
        torch.testing.assert_close(found, wanted)
        grad = rows(*shape, 7, seed=99)
        gradients = torch.autograd.grad(found, x, grad), torch.autograd.grad(wanted, y, grad)
        torch.testing.assert_close(*gradients)
        torch.testing.assert_close(ours.running_mean.flatten(), theirs.running_mean)
        torch.testing.assert_close(ours.running_var.flatten(), theirs.running_var)


def test_a_part_of_the_channels_moves_its_own_statistics_only() -> None:
    whole, part = Statistics(2, 3, 4).double(), Statistics(2, 3, 4).double()
    x = rows(2, 3, 4, 9)
    wanted = whole.normalise(x)
    found = part.normalise(x[1, 2], 5)
    torch.testing.assert_close(found, wanted[1, 2])
    torch.testing.assert_close(part.running_mean[1, 2], whole.running_mean[1, 2])
    torch.testing.assert_close(part.running_var[1, 2], whole.running_var[1, 2])
    part.running_mean[1, 2], part.running_var[1, 2] = 0, 1
    assert not part.running_mean.any()
    assert bool((part.running_var == 1).all())


def test_a_part_of_the_channels_is_evaluated_by_its_own_statistics() -> None:
    statistics = Statistics(2, 4).double()
    statistics.normalise(rows(2, 4, 9))
    statistics.eval()
    x = rows(2, 4, 5, seed=1)
    torch.testing.assert_close(statistics.normalise(x[1], 1), statistics.normalise(x)[1])


def test_the_moments_of_a_batch_can_be_taken_in_without_it() -> None:
    seen, told = Statistics(2, 3).double(), Statistics(2, 3).double()
    x = rows(2, 3, 8)
    seen.normalise(x)
    told.take(x.mean(-1), x.var(-1, correction=0), x.shape[-1])
    torch.testing.assert_close(told.running_mean, seen.running_mean)
    torch.testing.assert_close(told.running_var, seen.running_var)


def test_statistics_that_do_not_track_stay_as_they_are() -> None:
    statistics, x = Statistics(3).double(), rows(3, 8)
    wanted = Statistics(3).double().normalise(x)
    statistics.tracking = False
    assert torch.equal(statistics.normalise(x), wanted)
    statistics.take(x.mean(-1), x.var(-1), 8)
    assert torch.equal(statistics.running_mean, torch.zeros(3).double())
    assert torch.equal(statistics.running_var, torch.ones(3).double())


def test_statistics_hold_no_graph() -> None:
    statistics = Statistics(3).double()
    statistics.normalise(rows(3, 8).requires_grad_())
    assert not statistics.running_mean.requires_grad
    assert not statistics.running_var.requires_grad


def test_one_value_cannot_be_normalised_in_training_but_can_be_evaluated() -> None:
    statistics = Statistics(3)
    with pytest.raises(ValueError, match="more than one value for each channel"):
        statistics.normalise(torch.ones(3, 1))
    assert not statistics.running_mean.any()
    statistics.eval()
    torch.testing.assert_close(statistics.normalise(torch.ones(3, 1)), torch.ones(3, 1))


def test_rows_of_one_value_repeated_become_zeros() -> None:
    statistics = Statistics(2)
    assert not statistics.normalise(torch.full((2, 6), 5.0)).any()
    torch.testing.assert_close(statistics.running_var, torch.full((2,), 0.9))


def test_normalisation_can_be_differentiated_twice() -> None:
    for training in (True, False):
        statistics = Statistics(2).double().train(training)
        x = rows(2, 5).requires_grad_()
        assert torch.autograd.gradgradcheck(statistics.normalise, (x,))
