"""The architecture's gradient: first order against autograd, second order against autograd twice.

The finite difference of the paper (equation 8) is central: along the unit vector v of the
validation gradient g, with h(t) the architecture's gradient of the training loss at w + t v, it is
|g| (h(R) - h(-R)) / 2R = |g| (h' + R^2 h''' / 6 + O(R^4)) at zero, and h' is exact.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from searchers import _unrolled
from searchers._unrolled import ArchitectureGradient, Unrolling

Theta = tuple[Tensor, ...]


class Layers(nn.Module):
    """Two layers, each a mixture of a tanh and a softplus operation; smooth in everything."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.operations = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))
        self.norm = nn.BatchNorm1d(3) if norm else nn.Identity()
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor, mixtures: Theta) -> Tensor:
        for i, weights in enumerate(mixtures[:2]):
            one, other = self.operations[2 * i : 2 * i + 2]
            x = weights[0] * torch.tanh(one(x)) + weights[1] * functional.softplus(other(x))
            x = self.norm(x)
        return self.head(x)


class Problem:
    """A network, two batches and an optimiser in the middle of its work, in float64."""

    def __init__(self, seed: int = 0, norm: bool = False) -> None:
        torch.manual_seed(seed)
        self.network = Layers(norm).double()
        self.own = tuple(torch.randn(2).softmax(dim=0).double().requires_grad_() for _ in range(2))
        self.train, self.valid = (
            (torch.randn(7, 3).double(), torch.randn(7, 2).double()) for _ in range(2)
        )
        self.gradient = ArchitectureGradient(self.network, functional.mse_loss)
        self.weights = parameters = dict(self.network.named_parameters())
        velocities = [torch.randn_like(w) for w in parameters.values()]
        self.unrolling = Unrolling(rate=0.3, momentum=0.9, decay=0.05, velocities=velocities)

    def loss(self, weights: dict[str, Tensor], batch) -> Tensor:
        outputs = functional_call(self.network, weights, (batch[0], self.own))
        return functional.mse_loss(outputs, batch[1])

    def exact(self) -> Tensor:
        """Differentiate the validation loss through the virtual step by autograd."""
        weights, step = list(self.weights.values()), self.unrolling
        loss = self.loss(self.weights, self.train)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        moved = {
            name: w - step.rate * (step.momentum * v + g + step.decay * w)
            for (name, w), g, v in zip(
                self.weights.items(), gradients, step.velocities, strict=True
            )
        }
        return flat(torch.autograd.grad(self.loss(moved, self.valid), self.own))

    def first_order(self) -> Tensor:
        return flat(self.gradient.first_order(self.valid, self.own, self.own))

    def second_order(self, *, exact: bool = False) -> Tensor:
        arguments = self.train, self.valid, self.own, self.own, self.unrolling
        return flat(self.gradient.second_order(*arguments, exact=exact))

    def leading_error(self) -> Tensor:
        """Return what stands before R^2 in the error, from the third derivative along v."""
        weights, step = list(self.weights.values()), self.unrolling
        gradients = torch.autograd.grad(self.loss(self.weights, self.train), weights)
        moved = {
            name: (w - step.rate * (step.momentum * v + g + step.decay * w)).detach()
            for (name, w), g, v in zip(
                self.weights.items(), gradients, step.velocities, strict=True
            )
        }
        for w in moved.values():
            w.requires_grad_()
        loss = self.loss(moved, self.valid)
        vector = torch.autograd.grad(loss, list(moved.values()))
        length = flat(vector).norm()
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        shifted = {
            name: w.detach() + t * v / length
            for (name, w), v in zip(self.weights.items(), vector, strict=True)
        }
        loss = self.loss(shifted, self.train)
        along = torch.autograd.grad(loss, self.own, create_graph=True)
        third = []
        for h in torch.cat(along):
            for _ in range(3):
                (h,) = torch.autograd.grad(h, t, create_graph=True)
            third.append(h.detach())
        return -step.rate * length * torch.stack(third) / 6


def flat(tensors) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@pytest.fixture
def radius(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda value: monkeypatch.setattr(_unrolled, "RADIUS", value)


def test_first_order_is_the_gradient_of_the_validation_loss() -> None:
    problem = Problem()
    loss = problem.loss(problem.weights, problem.valid)
    wanted = torch.autograd.grad(loss, problem.own)
    given = problem.gradient.first_order(problem.valid, problem.own, problem.own)
    assert [tuple(g.shape) for g in given] == [(2,), (2,)]
    torch.testing.assert_close(flat(given), flat(wanted), rtol=1e-12, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_second_order_tends_to_the_exact_gradient_through_the_virtual_step(
    seed: int, radius
) -> None:
    problem = Problem(seed)
    radius(1e-4)
    exact = problem.exact()
    first = problem.first_order()
    assert (exact - first).norm() > 0.05 * exact.norm()  # the orders do differ here
    torch.testing.assert_close(problem.second_order(), exact, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_exact_second_order_is_the_gradient_through_the_virtual_step(seed: int, norm: bool) -> None:
    problem = Problem(seed, norm)
    given, wanted = problem.second_order(exact=True), problem.exact()
    torch.testing.assert_close(given, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_second_order_shrinks_as_the_square_of_the_radius(seed: int, radius) -> None:
    problem = Problem(seed)
    exact, errors = problem.exact(), []
    for value in (4e-2, 2e-2):
        radius(value)
        errors.append(float((problem.second_order() - exact).norm()))
    order = math.log2(errors[0] / errors[1])
    # The next term is of order R^4: the order found differs from 2 by something of order R^2.
    assert order == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_second_order_is_the_one_that_taylor_s_theorem_gives(
    seed: int, radius
) -> None:
    problem = Problem(seed)
    radius(1e-2)
    error = problem.second_order() - problem.exact()
    torch.testing.assert_close(error, 1e-4 * problem.leading_error(), rtol=1e-2, atol=1e-10)


def test_the_radius_is_the_paper_s() -> None:
    """Liu et al. 2019, footnote 2: epsilon = 0.01 / norm of the validation gradient."""
    assert _unrolled.RADIUS == 0.01


@pytest.mark.parametrize("part", ["rate", "momentum", "decay", "velocities"])
def test_every_part_of_the_virtual_step_counts(part: str, radius) -> None:
    problem = Problem()
    radius(1e-4)
    before = problem.second_order()
    values = vars(problem.unrolling)
    changed = [2 * v for v in values[part]] if part == "velocities" else 0.5 * values[part]
    problem.unrolling = Unrolling(**{**values, part: changed})
    assert (problem.second_order() - before).norm() > 1e-3 * before.norm()
    torch.testing.assert_close(problem.second_order(), problem.exact(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("exact", [False, True])
def test_second_order_changes_neither_weights_nor_running_statistics_nor_gradients(
    exact: bool,
) -> None:
    problem = Problem(norm=True)
    network = problem.network
    network.head.weight.grad = torch.ones_like(network.head.weight)
    before = copy.deepcopy(network.state_dict())
    velocities = [v.clone() for v in problem.unrolling.velocities]
    identities = [id(p) for p in network.parameters()]
    problem.second_order(exact=exact)
    after = network.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert "norm.running_mean" in before
    assert [id(p) for p in network.parameters()] == identities
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad
        assert (parameter.grad is None) == (name != "head.weight")
    assert torch.equal(network.head.weight.grad, torch.ones_like(network.head.weight))
    assert network.training
    pairs = zip(velocities, problem.unrolling.velocities, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_second_order_sees_batch_statistics_and_is_right_with_batch_norm(radius) -> None:
    problem = Problem(norm=True)
    radius(1e-4)
    torch.testing.assert_close(problem.second_order(), problem.exact(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("exact", [False, True])
def test_a_mixture_that_is_not_used_has_a_gradient_of_zero(exact: bool) -> None:
    problem = Problem()
    spare = torch.ones(2).double().requires_grad_()
    theta = (*problem.own, spare)
    arguments = problem.train, problem.valid, theta, theta, problem.unrolling
    for given in (
        problem.gradient.first_order(problem.valid, theta, theta),
        problem.gradient.second_order(*arguments, exact=exact),
    ):
        assert torch.equal(given[2], torch.zeros(2).double())
        assert given[0].norm() > 0


def test_a_network_in_which_weights_and_mixture_never_meet_has_no_mixed_derivative() -> None:
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2).double())

        def forward(self, x: Tensor, mixtures: Theta) -> Tensor:
            return x * 0 + self.weight + mixtures[0]

    theta = (torch.zeros(2).double().requires_grad_(),)
    gradient = ArchitectureGradient(Apart(), lambda outputs, targets: outputs.sum())
    batch = torch.zeros(3, 2).double(), torch.zeros(3, 2).double()
    still = Unrolling(0.1, 0.0, 0.0, [torch.zeros(2).double()])
    (given,) = gradient.second_order(batch, batch, theta, theta, still, exact=True)
    assert given.tolist() == [3, 3]  # the first order's


@pytest.mark.parametrize("exact", [False, True])
def test_a_validation_gradient_of_exactly_zero_gives_zero_and_not_nan(exact: bool) -> None:
    problem = Problem()
    step = problem.unrolling
    standing = Unrolling(0.3, 0.0, 0.0, [torch.zeros_like(v) for v in step.velocities])
    inputs = problem.train[0]
    solved = (inputs, problem.network(inputs, problem.own).detach())  # residuals of zero
    for gradient in problem.gradient.second_order(
        solved, solved, problem.own, problem.own, standing, exact=exact
    ):
        assert torch.equal(gradient, torch.zeros(2).double())
