"""The ensemble and the method that chooses by it: what they learn, doubt, and choose."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from scipy.stats import kstest, spearmanr

from searchers._chance import stream
from searchers._ensemble import Ensemble, one_hot
from searchers.predictor import Predictor, thompson
from tree_spaces import Grid, Tree

SPACE = Grid((4,) * 5)
ALL = list(SPACE.sequences())
SMALL = {"epochs": 50}


def height(decisions: tuple[int, ...]) -> float:
    """Return the sum of an effect of each decision: 0 to 15, the highest is (3, 3, 3, 3, 3)."""
    return float(sum(decisions))


def drawn(n: int, seed: int = 0) -> list[tuple[int, ...]]:
    return random.Random(seed).sample(ALL, n)


def test_a_column_stands_for_an_option_at_a_place_and_missing_decisions_are_zero() -> None:
    table = one_hot([(2, 0), (1,), (2, 1)])
    # Columns: (0, 1), (0, 2), (1, 0), (1, 1).
    assert table.tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1]]


@pytest.mark.parametrize("settings", [{}, {"layers": 10, "width": 20}, {"leave_out": True}])
def test_predicts_the_order_of_candidates_it_has_not_seen(settings: dict[str, int]) -> None:
    known, unknown = drawn(60), [d for d in ALL if d not in set(drawn(60))]
    targets = [height(d) / 4 - 2 for d in known]
    found = Ensemble(**settings).predict(known, targets, unknown, stream(0, "test"))
    assert found.shape == (5, len(unknown))
    assert spearmanr(found.mean(0), [height(d) for d in unknown]).statistic > 0.8


def test_members_agree_on_what_they_know_and_not_on_what_they_don_t() -> None:
    known = drawn(30)
    targets = [height(d) / 4 - 2 for d in known]
    found = Ensemble().predict(known, targets, ALL, stream(0, "test"))
    spread = dict(zip(ALL, found.std(0).tolist(), strict=True))
    seen = [spread.pop(d) for d in known]
    assert np.mean(seen) < np.mean(list(spread.values())) / 2


def test_each_example_is_left_out_by_one_member() -> None:
    shares = Ensemble(members=5, leave_out=True)._shares(20, stream(0, "test"))
    assert (shares > 0).sum(0).tolist() == [4] * 20
    torch.testing.assert_close(shares.sum(1), torch.ones(5))
    assert shares[shares > 0].tolist() == pytest.approx([1 / 16] * 80)


@pytest.mark.parametrize("n", [1, 2])
def test_no_member_is_left_without_an_example(n: int) -> None:
    shares = Ensemble(members=2, leave_out=True)._shares(n, stream(0, "test"))
    torch.testing.assert_close(shares.sum(1), torch.ones(2))


def test_thompson_draws_have_the_mean_and_the_spread_of_the_members() -> None:
    predictions = torch.tensor([[1.0, -3.0], [2.0, -3.0], [6.0, -3.0]])  # means 3 and -3
    generator = stream(0, "test")
    draws = torch.stack([thompson(predictions, generator) for _ in range(2000)])
    assert draws[:, 1].tolist() == [-3.0] * 2000
    # Kolmogorov-Smirnov against the normal distribution of the sample standard deviation, root 7.
    assert kstest(draws[:, 0].numpy(), "norm", args=(3.0, math.sqrt(7))).pvalue > 0.001


def make(space: Grid = SPACE, seed: int = 0, **params: object) -> Predictor:
    return Predictor(space, Predictor.Params(**{**SMALL, **params}), seed=seed)


def search(sampler: Predictor, space: Grid, n: int) -> list[tuple[int, ...]]:
    asked = []
    for _ in range(n):
        genotype = sampler.ask()
        asked.append(space.encode(genotype))
        sampler.tell(genotype, height(asked[-1]))
    return asked


def test_nothing_is_asked_for_twice_until_nothing_else_is_left() -> None:
    for space in (Grid((3, 3, 3)), Tree(depth=3)):
        everything = list(space.sequences())
        asked = search(make(space), space, len(everything) + 5)
        # Draws at random may miss the last few of many.
        assert len(set(asked[: len(everything)])) == len(everything)
        assert len(asked) == len(everything) + 5


def test_the_best_of_its_space_is_among_the_first_few_after_the_random_ones() -> None:
    # Of 1,024 sequences, of which a random search of 50 finds the best in one run of 21.
    found = sum((3,) * 5 in search(make(seed=seed), SPACE, 50) for seed in range(5))
    assert found >= 4  # by chance once in 35,000


def test_a_batch_comes_from_one_ensemble_and_the_next_knows_what_it_scored() -> None:
    told, deaf = make(), make()
    for sampler in (told, deaf):
        search(sampler, SPACE, 10)
    for _ in range(10):
        genotype = told.ask()
        told.tell(genotype, -math.inf)
        assert deaf.ask() == genotype
    assert [told.ask() for _ in range(10)] != [deaf.ask() for _ in range(10)]


def test_candidates_that_fail_are_the_worst_of_all_to_it() -> None:
    sampler = make()
    for genotype in [sampler.ask() for _ in range(10)]:
        sampler.tell(genotype, 1e-6 if SPACE.encode(genotype)[0] == 2 else -math.inf)
    for _ in range(40):
        genotype = sampler.ask()
        sampler.tell(genotype, 1e-6 if SPACE.encode(genotype)[0] == 2 else -math.inf)
    asked = list(sampler.evidence.scores)
    assert np.mean([d[0] == 2 for d in asked[20:]]) > 0.7
