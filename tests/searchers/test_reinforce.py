"""REINFORCE: its gradient against the closed form of a bandit, PPO's clipping, what it learns."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from search_space.genotype import Genotype
from searchers.reinforce import Reinforce, clipped_gain
from tree_spaces import Grid, Tree

BANDIT = Grid((4,))


def make(space: Grid = BANDIT, seed: int = 0, **params: object) -> Reinforce:
    return Reinforce(space, Reinforce.Params(**params), seed=seed)


def chances(sampler: Reinforce) -> Tensor:
    """Return the probability of each arm of the bandit, [4]."""
    return sampler.controller.replay([(arm,) for arm in range(4)]).log_probs.detach().exp()


def gradient(sampler: Reinforce) -> Tensor:
    """Return the gradient of what is maximised by the biases of the logits, at the last step."""
    bias = sampler.controller.parts["bias_0_of_4"].grad
    assert bias is not None
    return -bias


def arm(genotype: Genotype) -> int:
    return BANDIT.encode(genotype)[0]


def test_the_gradient_is_the_advantage_times_the_gradient_of_the_log_probability() -> None:
    """Williams 1992: for a softmax, d log p(a) / d logit = [a] - p."""
    sampler = make(entropy=0.0, baseline_decay=0.5)
    sampler.tell(sampler.ask(), 0.0)
    assert torch.equal(gradient(sampler), torch.zeros(4))  # the first reward is the baseline
    sampler.ask()  # never told
    chosen, before = sampler.ask(), chances(sampler)
    sampler.tell(chosen, 1.0)
    # Scores 0 and 1 have quartiles 1/4, 1/2 and 3/4: the reward is (1 - 1/2) / (1/2) = 1.
    # The baseline is the first reward still, which was 0 on the scale of then.
    wanted = 1.0 * (torch.eye(4)[arm(chosen)] - before)
    torch.testing.assert_close(gradient(sampler), wanted)
    assert sampler.baseline == 0.5
    assert chances(sampler)[arm(chosen)] > before[arm(chosen)]


def test_a_batch_takes_the_mean_gradient_of_its_choices() -> None:
    sampler = make(entropy=0.0, batch=3)
    asked, before = [sampler.ask() for _ in range(3)], chances(sampler)
    for genotype, score in zip(asked, (0.0, 1.0, 4.0), strict=True):
        sampler.tell(genotype, score)
    # Quartiles 0.5, 1 and 2.5; the baseline is the mean of the first rewards.
    rewards = torch.tensor([-0.5, 0.0, 1.5])
    chosen = torch.eye(4)[[arm(genotype) for genotype in asked]]
    wanted = ((rewards - rewards.mean())[:, None] * (chosen - before)).mean(0)
    torch.testing.assert_close(gradient(sampler), wanted)


def test_the_bonus_is_the_gradient_of_the_entropy() -> None:
    """d H / d logit of a softmax = -p (log p + H)."""
    sampler = make(entropy=0.7)
    genotype, before = sampler.ask(), chances(sampler)
    sampler.tell(genotype, 3.0)  # no advantage: only the bonus is left
    entropy = -(before * before.log()).sum()
    torch.testing.assert_close(gradient(sampler), -0.7 * before * (before.log() + entropy))


def test_ppo_gains_nothing_from_a_ratio_beyond_its_bounds() -> None:
    """Schulman et al. 2017, figure 1: flat above 1 + clip for gains, below 1 - clip for losses."""
    ratios = torch.tensor([0.5, 0.9, 1.1, 2.0], requires_grad=True)
    for advantage, value, slope in (
        (3.0, [1.5, 2.7, 3.3, 3.6], [3.0, 3.0, 3.0, 0.0]),
        (-3.0, [-2.4, -2.7, -3.3, -6.0], [0.0, -3.0, -3.0, -3.0]),
    ):
        gain = clipped_gain(ratios.log(), torch.zeros(4), torch.full((4,), advantage), 0.2)
        torch.testing.assert_close(gain, torch.tensor(value))
        (found,) = torch.autograd.grad(gain.sum(), ratios)
        torch.testing.assert_close(found, torch.tensor(slope))


def test_the_first_step_of_ppo_is_that_of_reinforce() -> None:
    weights = []
    for algorithm in ("reinforce", "ppo"):
        sampler = make(algorithm=algorithm, epochs=1, batch=2)
        for score, genotype in enumerate([sampler.ask(), sampler.ask()]):
            sampler.tell(genotype, score)
        weights.append(sampler.controller.parts["bias_0_of_4"].detach())
    torch.testing.assert_close(weights[0], weights[1])


@pytest.mark.parametrize("algorithm", ["reinforce", "ppo"])
def test_finds_the_best_arm_whatever_the_unit_of_the_scores(algorithm: str) -> None:
    for seed, unit in enumerate((1.0, 1e-4, 1e4)):
        sampler = make(seed=seed, algorithm=algorithm)
        for _ in range(100):
            genotype = sampler.ask()
            sampler.tell(genotype, unit * arm(genotype) - 7 * unit)
        assert sampler.controller.greedy() == (3,)
        assert chances(sampler)[3] > 0.8


def test_learns_to_avoid_what_fails_and_stays_finite() -> None:
    sampler = make()
    for _ in range(100):
        genotype = sampler.ask()
        sampler.tell(genotype, -math.inf if arm(genotype) else 0.3)
    assert chances(sampler)[0] > 0.8
    assert all(torch.isfinite(weight).all() for weight in sampler.controller.parameters())


def test_learns_nothing_from_what_it_did_not_choose() -> None:
    sampler = make()
    before = chances(sampler)
    for _ in range(5):
        sampler.tell(BANDIT.decode((2,)), 1.0)
    assert torch.equal(chances(sampler), before)
    twice = sampler.ask()
    for score in (1.0, 2.0, 3.0):
        sampler.tell(twice, score)
    assert sampler.waiting == {}


def test_with_the_papers_number_of_candidates_it_has_the_papers_numbers() -> None:
    params = Reinforce.Params(evaluations=20_000)
    assert (params.scaled_batch, params.scaled_learning_rate) == (20, pytest.approx(0.00035))
    params = Reinforce.Params(evaluations=100)
    assert (params.scaled_batch, params.scaled_learning_rate) == (1, pytest.approx(0.0035))
    assert Reinforce.Params(batch=7, learning_rate=0.1).scaled_learning_rate == 0.1


def asked(sampler: Reinforce, space: Grid, turns: int) -> Iterator[tuple[int, ...]]:
    for _ in range(turns):
        genotype = sampler.ask()
        decisions = space.encode(genotype)
        yield decisions
        sampler.tell(genotype, float(sum(decisions)))


def test_goes_on_alike_where_decisions_are_met_after_the_restart() -> None:
    space = Tree(depth=9)
    whole = list(asked(make(space), space, 30))
    first = make(space)
    start = list(asked(first, space, 2))
    second = make(space)
    second.load_state_dict(first.state_dict())
    assert {len(s) for s in whole} > {len(s) for s in start}  # something new was met
    assert start + list(asked(second, space, 28)) == whole
