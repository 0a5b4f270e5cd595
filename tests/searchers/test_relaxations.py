"""Relaxations: what every one promises, and each against its definition.

Seeds are fixed, so no test fails by chance; the stated levels say how surprising a failure is.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from searchers.relaxations import RELAXATIONS, Relaxation
from searchers.relaxations.dirichlet import log_concentration
from searchers.relaxations.gumbel import Gumbel, standard_gumbel

EDGES, OPERATIONS = 6, 5

# Five standard errors: one in a million for each number compared.
ERRORS = 5.0


def make(name: str, **params: float) -> Relaxation:
    cls = RELAXATIONS.load(name)
    return cls(cls.Params(**params))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_alpha(rows: int = EDGES, scale: float = 1.0) -> Tensor:
    alpha = torch.randn(rows, OPERATIONS, generator=seeded(7), dtype=torch.float64)
    return scale * alpha


def jacobian(relaxation: Relaxation, row: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda a: relaxation.expected(a[None])[0], row)


@pytest.fixture(params=RELAXATIONS.names())
def relaxation(request: pytest.FixtureRequest) -> Relaxation:
    return make(request.param)


class TestEveryRelaxation:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_gives_weights_of_the_shape_and_type_of_alpha_between_0_and_1(
        self, relaxation: Relaxation, dtype: torch.dtype
    ) -> None:
        alpha = some_alpha().to(dtype)
        for weights in (relaxation.expected(alpha), relaxation.draw(alpha, 0.5, seeded())):
            assert weights.shape == alpha.shape
            assert weights.dtype == dtype
            assert weights.min() >= 0
            assert weights.max() <= 1

    def test_has_rows_that_sum_to_one_just_if_it_says_so(self, relaxation: Relaxation) -> None:
        alpha = some_alpha()
        for weights in (relaxation.expected(alpha), relaxation.draw(alpha, 0.5, seeded())):
            sums = weights.sum(dim=-1)
            if relaxation.normalised:
                torch.testing.assert_close(sums, torch.ones_like(sums))
            else:
                assert ((sums - 1).abs() > 0.1).any()

    def test_expects_no_less_of_a_larger_alpha(self, relaxation: Relaxation) -> None:
        alpha = some_alpha(50, scale=2.0)
        in_order = relaxation.expected(alpha).gather(-1, alpha.argsort(dim=-1))
        assert (in_order.diff(dim=-1) >= 0).all()
        assert (in_order[:, -1] > in_order[:, 0]).all()

    def test_expects_the_same_of_every_operation_where_alpha_is_0(
        self, relaxation: Relaxation
    ) -> None:
        weights = relaxation.expected(torch.zeros(2, 4))
        torch.testing.assert_close(weights, weights[:1, :1].expand(2, 4))

    def test_expects_with_the_gradient_of_finite_differences(self, relaxation: Relaxation) -> None:
        alpha = some_alpha().requires_grad_()
        assert torch.autograd.gradcheck(relaxation.expected, (alpha,))

    def test_expects_the_mean_of_its_draws(self, relaxation: Relaxation) -> None:
        alpha = some_alpha(1)
        draws = relaxation.draw(alpha.expand(20_000, -1), 0.5, seeded())
        error = draws.std(dim=0) / math.sqrt(len(draws))
        assert (
            (draws.mean(dim=0) - relaxation.expected(alpha)[0]).abs() <= ERRORS * error + 1e-9
        ).all()

    def test_draws_the_same_from_the_same_seed_and_leaves_other_streams_alone(
        self, relaxation: Relaxation
    ) -> None:
        alpha, first, second = some_alpha(), seeded(3), seeded(3)
        before = torch.get_rng_state()
        drawn = [relaxation.draw(alpha, 0.5, first) for _ in range(3)]
        torch.rand(1, generator=seeded())
        again = [relaxation.draw(alpha, 0.5, second) for _ in range(3)]
        assert torch.equal(torch.stack(drawn), torch.stack(again))
        assert torch.equal(first.get_state(), second.get_state())
        assert torch.equal(torch.get_rng_state(), before)

    def test_draws_anew_each_time_or_what_it_expects(self, relaxation: Relaxation) -> None:
        alpha, generator = some_alpha(20), seeded()
        unused = generator.get_state()
        one, other = (relaxation.draw(alpha, 0.5, generator) for _ in range(2))
        if torch.equal(generator.get_state(), unused):
            assert torch.equal(one, relaxation.expected(alpha))
        assert torch.equal(one, other) == torch.equal(generator.get_state(), unused)

    def test_draws_the_same_in_single_and_double_precision(self, relaxation: Relaxation) -> None:
        alpha = some_alpha().float()
        single = relaxation.draw(alpha, 0.5, seeded())
        double = relaxation.draw(alpha.double(), 0.5, seeded())
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-6)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
    def test_draws_the_same_on_a_gpu(self, relaxation: Relaxation) -> None:
        alpha = some_alpha()
        there = relaxation.draw(alpha.cuda(), 0.5, seeded())
        assert there.is_cuda
        torch.testing.assert_close(there.cpu(), relaxation.draw(alpha, 0.5, seeded()))

    @pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
    def test_draws_with_a_gradient_that_reaches_alpha(
        self, relaxation: Relaxation, progress: float
    ) -> None:
        # So near together that no relaxation has settled on one operation.
        alpha = some_alpha(scale=0.1).requires_grad_()
        drawn = relaxation.draw(alpha, progress, seeded())
        (drawn * torch.arange(OPERATIONS)).sum().backward()
        assert alpha.grad is not None
        assert torch.isfinite(alpha.grad).all()
        assert (alpha.grad != 0).any(dim=-1).all()

    @pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
    def test_draws_one_operation_an_edge_to_the_last_bit_if_it_is_sampled(
        self, relaxation: Relaxation, progress: float
    ) -> None:
        drawn = relaxation.draw(some_alpha(200).float(), progress, seeded())
        one_hot = torch.equal(drawn, torch.eye(OPERATIONS)[drawn.argmax(dim=-1)])
        assert one_hot == relaxation.sampled

    def test_stays_finite_with_alphas_of_any_size(self, relaxation: Relaxation) -> None:
        alpha = torch.tensor([[0.0, -900.0, 900.0], [-900.0, -900.0, -900.0], [1e4, 1e4, -1e4]])
        alpha.requires_grad_()
        for weights in (relaxation.expected(alpha), relaxation.draw(alpha, 1.0, seeded())):
            assert torch.isfinite(weights).all()
            (gradient,) = torch.autograd.grad(weights.square().sum(), alpha)
            assert torch.isfinite(gradient).all()

    def test_shows_that_a_search_diverged(self, relaxation: Relaxation) -> None:
        alpha = torch.full((2, 3), math.nan)
        assert relaxation.expected(alpha).isnan().all()
        assert relaxation.draw(alpha, 0.5, seeded()).isnan().any()

    def test_starts_near_0_from_a_seed(self, relaxation: Relaxation) -> None:
        alpha = relaxation.initial(1000, 20, seeded(1))
        assert alpha.shape == (1000, 20)
        assert torch.equal(alpha, relaxation.initial(1000, 20, seeded(1)))
        assert not torch.equal(alpha, relaxation.initial(1000, 20, seeded(2)))
        n = alpha.numel()
        assert abs(alpha.mean()) < ERRORS * 1e-3 / math.sqrt(n)
        assert abs(alpha.std() / 1e-3 - 1) < ERRORS / math.sqrt(2 * n)


def test_softmax_is_the_share_of_the_exponentials() -> None:
    alpha = some_alpha()
    exponentials = np.exp(alpha.numpy())
    weights = make("softmax").expected(alpha)
    np.testing.assert_allclose(
        weights.numpy(), exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-12
    )


class TestSigmoid:
    def test_is_the_logistic_function_of_each_alpha_alone(self) -> None:
        row = some_alpha(1)[0]
        weights = 1 / (1 + np.exp(-row.numpy()))
        np.testing.assert_allclose(make("sigmoid").expected(row).numpy(), weights, rtol=1e-12)
        np.testing.assert_allclose(
            jacobian(make("sigmoid"), row).numpy(), np.diag(weights * (1 - weights)), atol=1e-12
        )

    def test_starts_with_every_operation_at_half_its_weight(self) -> None:
        sigmoid = make("sigmoid")
        weights = sigmoid.expected(sigmoid.initial(14, 8, seeded()))
        torch.testing.assert_close(weights, torch.full((14, 8), 0.5), rtol=0, atol=2e-3)


class TestSparsemax:
    @pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 10.0])
    def test_is_the_nearest_point_of_the_simplex(self, scale: float) -> None:
        alpha = some_alpha(40, scale)
        expected = np.array([_project(row) for row in alpha.numpy()])
        np.testing.assert_allclose(make("sparsemax").expected(alpha).numpy(), expected, atol=1e-12)

    def test_has_the_jacobian_of_a_projection_on_the_operations_left(self) -> None:
        # Martins & Astudillo 2016: Diag(s) - s s' / |S|, s the indicator of the support S.
        for row in some_alpha(20):
            s = (make("sparsemax").expected(row[None])[0] > 0).double()
            torch.testing.assert_close(
                jacobian(make("sparsemax"), row), s.diag() - s.outer(s) / s.sum()
            )

    def test_drops_operations_one_or_more_below_the_strongest_exactly(self) -> None:
        weights = make("sparsemax").expected(torch.tensor([[2.0, 1.0, 0.9, -5.0]]))
        assert weights.tolist() == [[1.0, 0.0, 0.0, 0.0]]

    def test_keeps_its_digits_far_from_0(self) -> None:
        row = torch.tensor([[0.0, 0.25, 0.5]])
        assert torch.equal(
            make("sparsemax").expected(row + 2.0**20), make("sparsemax").expected(row)
        )


class TestGumbel:
    def test_draws_operations_with_the_probabilities_of_a_softmax(self) -> None:
        # The Gumbel-max theorem; chi-square test at the level 0.001.
        alpha = some_alpha(1)
        draws = make("gumbel").draw(alpha.expand(20_000, -1), 0.5, seeded())
        probabilities = alpha[0].exp() / alpha[0].exp().sum()
        test = stats.chisquare(draws.sum(dim=0).numpy(), (20_000 * probabilities).numpy())
        assert test.pvalue > 1e-3

    def test_draws_each_edge_by_itself(self) -> None:
        draws = make("gumbel").draw(torch.zeros(20_000, 2, 2), 0.5, seeded())
        table = draws[:, 0].T @ draws[:, 1]
        assert stats.chi2_contingency(table.numpy()).pvalue > 1e-3

    def test_noise_has_the_gumbel_distribution(self) -> None:
        noise = standard_gumbel(torch.Size([20_000]), seeded())
        assert stats.kstest(noise.numpy(), stats.gumbel_r.cdf).pvalue > 1e-3

    @pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
    def test_has_the_gradient_of_the_softened_draw(self, progress: float) -> None:
        gumbel, row = Gumbel(Gumbel.Params()), some_alpha(1)[0]
        noise, temperature = standard_gumbel(row.shape, seeded()), gumbel.temperature(progress)
        given = torch.autograd.functional.jacobian(
            lambda a: gumbel.draw(a, progress, seeded()), row
        )
        scaled = np.exp((row + noise).numpy() / temperature)
        soft = scaled / scaled.sum()
        expected = (np.diag(soft) - np.outer(soft, soft)) / temperature
        np.testing.assert_allclose(given.numpy(), expected, rtol=1e-9, atol=1e-12)

    def test_cools_linearly_which_changes_the_gradient_and_not_the_draw(self) -> None:
        gumbel = Gumbel(Gumbel.Params())
        assert [gumbel.temperature(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([10, 5.05, 0.1])
        alpha = some_alpha(100)
        early, late = (gumbel.draw(alpha, progress, seeded()) for progress in (0.0, 1.0))
        assert torch.equal(early, late)

    def test_temperatures_are_parameters_and_positive(self) -> None:
        params = Gumbel.Params(temperature_start=2.0, temperature_end=2.0)
        assert Gumbel(params).temperature(0.7) == 2.0
        with pytest.raises(ValueError, match=r"temperature_end\n.*greater than 0"):
            Gumbel.Params(temperature_end=0.0)


class TestDirichlet:
    def test_concentration_is_elu_plus_one_and_never_0(self) -> None:
        alpha = torch.linspace(-5, 5, 101, dtype=torch.float64).requires_grad_()
        given = log_concentration(alpha).exp()
        expected = torch.nn.functional.elu(alpha) + 1
        torch.testing.assert_close(given, expected)
        torch.testing.assert_close(
            torch.autograd.grad(given.sum(), alpha), torch.autograd.grad(expected.sum(), alpha)
        )
        assert log_concentration(torch.tensor(-50.0)).exp() > 0

    def test_draws_have_the_moments_of_the_distribution(self) -> None:
        alpha = some_alpha(1)
        draws = make("dirichlet").draw(alpha.expand(50_000, -1), 0.5, seeded()).numpy()
        row = alpha[0].numpy()
        theory = stats.dirichlet(np.where(row > 0, row + 1, np.exp(row)))
        variances = (draws - theory.mean()) ** 2
        for sample, expected in ((draws, theory.mean()), (variances, theory.var())):
            error = sample.std(axis=0) / math.sqrt(len(sample))
            assert (np.abs(sample.mean(axis=0) - expected) < ERRORS * error).all()

    def test_draws_and_gradients_are_those_of_torch_from_the_same_stream(self) -> None:
        alpha = some_alpha().requires_grad_()
        given = make("dirichlet").draw(alpha, 0.5, seeded(5))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            concentration = torch.nn.functional.elu(alpha) + 1
            expected = torch.distributions.Dirichlet(concentration).rsample()
        torch.testing.assert_close(given, expected)
        upstream = some_alpha(EDGES, scale=2.0)
        torch.testing.assert_close(
            torch.autograd.grad(given, alpha, upstream),
            torch.autograd.grad(expected, alpha, upstream),
        )

    def test_gradient_of_a_mean_over_draws_is_that_of_its_closed_form(self) -> None:
        # E[w_0^2] = c_0 (c_0 + 1) / (c (c + 1)), c the sum of the concentrations c_i.
        row = some_alpha(1)[0].requires_grad_()
        c = torch.nn.functional.elu(row) + 1
        moment = c[0] * (c[0] + 1) / (c.sum() * (c.sum() + 1))
        (expected,) = torch.autograd.grad(moment, row)
        alpha = row.detach().repeat(50_000, 1).requires_grad_()
        draws = make("dirichlet").draw(alpha, 0.5, seeded())
        (gradients,) = torch.autograd.grad(draws[:, 0].square().sum(), alpha)
        error = gradients.std(dim=0) / math.sqrt(len(gradients))
        difference = (gradients.mean(dim=0) - expected).abs()
        # A per mille beside: torch approximates the gradient of a beta distribution's quantiles.
        assert (difference < ERRORS * error + 1e-3 * expected.abs()).all()
        assert (error < 0.05 * expected.abs()).all()  # or the test would see nothing

    def test_draws_scatter_less_the_larger_alpha_is(self) -> None:
        spreads = [
            make("dirichlet").draw(torch.full((2000, 4), a), 0.5, seeded()).std()
            for a in (-2.0, 0.0, 2.0, 20.0)
        ]
        assert spreads == sorted(spreads, reverse=True)


def _project(row: np.ndarray) -> np.ndarray:
    """The threshold t with sum max(row - t, 0) = 1, by bisection: the sum falls with t."""
    low, high = row.min() - 1, row.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(row - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(row - high, 0)
