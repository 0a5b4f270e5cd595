"""Penalties: what every one promises, and each against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from searchers.penalties import PENALTIES, Penalty
from searchers.relaxations import RELAXATIONS

EDGES, OPERATIONS = 6, 5


def make(name: str, **params: object) -> Penalty:
    cls = PENALTIES.load(name)
    return cls(cls.Params(**params))


def some_alpha(scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return scale * torch.randn(EDGES, OPERATIONS, generator=generator, dtype=torch.float64)


def expected(relaxation: str, alpha: Tensor) -> Tensor:
    cls = RELAXATIONS.load(relaxation)
    return cls(cls.Params()).expected(alpha)


@pytest.fixture(params=PENALTIES.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=RELAXATIONS.names())
def relaxation(request: pytest.FixtureRequest) -> str:
    return request.param


class TestEveryPenalty:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_is_a_finite_number_of_the_type_of_alpha(
        self, name: str, relaxation: str, dtype: torch.dtype
    ) -> None:
        alpha = some_alpha().to(dtype)
        value = make(name)(alpha, expected(relaxation, alpha), 0.5)
        assert value.shape == ()
        assert value.dtype == dtype
        assert torch.isfinite(value)

    def test_has_the_gradient_of_finite_differences(self, name: str, relaxation: str) -> None:
        alpha = some_alpha().requires_grad_()
        penalty = make(name, strength=1.0)
        assert torch.autograd.gradcheck(lambda a: penalty.value(a, expected(relaxation, a)), alpha)

    def test_pulls_at_alpha_through_every_relaxation(self, name: str, relaxation: str) -> None:
        alpha = some_alpha(0.1).requires_grad_()
        make(name)(alpha, expected(relaxation, alpha), 1.0).backward()
        assert alpha.grad is not None
        assert (alpha.grad != 0).all()

    def test_does_not_depend_on_the_number_of_edges(self, name: str, relaxation: str) -> None:
        once = some_alpha()
        twice = torch.cat([once, once])
        penalty = make(name)
        torch.testing.assert_close(
            penalty.value(once, expected(relaxation, once)),
            penalty.value(twice, expected(relaxation, twice)),
        )

    def test_is_its_value_times_a_strength_that_is_constant_or_grows(self, name: str) -> None:
        alpha = some_alpha()
        weights = expected("softmax", alpha)
        for schedule, factors in (("constant", (3.0, 3.0, 3.0)), ("linear", (0.0, 1.5, 3.0))):
            penalty = make(name, strength=3.0, schedule=schedule)
            value = penalty.value(alpha, weights)
            for progress, factor in zip((0.0, 0.5, 1.0), factors, strict=True):
                assert penalty(alpha, weights, progress) == factor * value

    @pytest.mark.parametrize(
        "params", [{"strength": 0}, {"strength": -1}, {"strength": math.inf}, {"schedule": "step"}]
    )
    def test_refuses_a_strength_or_a_schedule_without_meaning(
        self, name: str, params: dict[str, object]
    ) -> None:
        with pytest.raises(ValueError, match=next(iter(params))):
            make(name, **params)


@pytest.mark.parametrize(
    ("name", "strength", "schedule"),
    [
        # Sunshine-Ye/Beta-DARTS: 50 * epoch / 100 in 100 epochs.
        ("beta", 50.0, "linear"),
        # Fair DARTS: w = 10.
        ("zero_one", 10.0, "constant"),
        # sunsmarterjie/DAAS: 0.1 on the sum over 2 * 14 edges.
        ("entropy", 0.1 * 28, "linear"),
    ],
)
def test_defaults_are_those_of_the_papers(name: str, strength: float, schedule: str) -> None:
    params = make(name).params
    assert params.strength == pytest.approx(strength)
    assert params.schedule == schedule


def test_l1_pulls_every_alpha_to_0_with_the_same_force() -> None:
    alpha = some_alpha().requires_grad_()
    value = make("l1").value(alpha, torch.empty(0))
    np.testing.assert_allclose(value.item(), np.abs(alpha.detach().numpy()).sum() / EDGES)
    (gradient,) = torch.autograd.grad(value, alpha)
    torch.testing.assert_close(gradient, alpha.detach().sign() / EDGES)


class TestEntropy:
    @pytest.mark.parametrize("relaxation", RELAXATIONS.names())
    def test_is_the_mean_entropy_of_the_edges(self, relaxation: str) -> None:
        weights = expected(relaxation, some_alpha())
        value = make("entropy").value(some_alpha(), weights)
        # scipy, too, divides by the sum.
        np.testing.assert_allclose(value.item(), stats.entropy(weights.numpy(), axis=1).mean())

    def test_is_0_for_one_operation_an_edge_and_largest_where_all_are_alike(self) -> None:
        entropy = make("entropy")
        assert entropy.value(some_alpha(), torch.eye(4)) == 0
        uniform = torch.full((3, 4), 0.25, dtype=torch.float64)
        assert entropy.value(some_alpha(), uniform).item() == pytest.approx(math.log(4))

    def test_has_a_finite_gradient_where_operations_are_out(self) -> None:
        alpha = some_alpha(10.0).requires_grad_()
        weights = expected("sparsemax", alpha)
        assert (weights == 0).any()
        (gradient,) = torch.autograd.grad(make("entropy").value(alpha, weights), alpha)
        assert torch.isfinite(gradient).all()


class TestZeroOne:
    def test_is_least_at_0_and_1_and_largest_at_one_half(self) -> None:
        zero_one = make("zero_one")
        assert zero_one.value(some_alpha(), torch.tensor([[0.0, 1.0], [1.0, 1.0]])) == -0.25
        assert zero_one.value(some_alpha(), torch.full((2, 2), 0.5)) == 0

    def test_is_the_sum_of_squares_but_for_a_constant_where_weights_sum_to_one(self) -> None:
        weights = expected("softmax", some_alpha())
        value = make("zero_one").value(some_alpha(), weights)
        squares = weights.square().sum(dim=-1).mean()
        torch.testing.assert_close(value, (1 - squares) / OPERATIONS - 0.25)


class TestBeta:
    def test_is_the_mean_log_sum_exp_of_the_edges(self) -> None:
        alpha = some_alpha()
        value = make("beta").value(alpha, torch.empty(0))
        np.testing.assert_allclose(value.item(), special.logsumexp(alpha.numpy(), axis=1).mean())

    def test_pushes_each_operation_down_by_as_much_as_softmax_weighs_it(self) -> None:
        alpha = some_alpha().requires_grad_()
        (gradient,) = torch.autograd.grad(make("beta").value(alpha, torch.empty(0)), alpha)
        torch.testing.assert_close(gradient, expected("softmax", alpha.detach()) / EDGES)


@pytest.mark.parametrize("name", ["entropy", "zero_one"])
@pytest.mark.parametrize("relaxation", RELAXATIONS.names())
def test_a_term_that_pushes_to_a_decision_makes_the_strongest_operation_stronger(
    name: str, relaxation: str
) -> None:
    alpha = some_alpha().requires_grad_()
    weights = expected(relaxation, alpha)
    (gradient,) = torch.autograd.grad(make(name).value(alpha, weights), alpha)
    after = expected(relaxation, alpha.detach() - 0.1 * EDGES * gradient)
    shares = [(w.amax(dim=-1) / w.sum(dim=-1)).mean() for w in (weights.detach(), after)]
    assert shares[1] > shares[0]
