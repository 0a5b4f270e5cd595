"""Q-learning: Baker's update by hand, the schedule of its table, and what it learns."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from searchers.q_learning import QLearning, exploration
from tree_spaces import Grid, Tree


def make(space: Grid, seed: int = 0, **params: object) -> QLearning:
    return QLearning(space, QLearning.Params(**params), seed=seed)


def told(sampler: QLearning, *scored: tuple[tuple[int, ...], float]) -> QLearning:
    for decisions, score in scored:
        sampler.tell(sampler.space.decode(decisions), score)
    return sampler


def test_the_values_are_those_of_the_update_by_hand() -> None:
    """Q(s, a) <- (1 - rate) Q(s, a) + rate (r + discount x max Q(s', .)), the last one first."""
    sampler = make(Grid((2, 2)), learning_rate=0.5, discount=0.5, replay=0, shaping=False, memory=1)
    told(sampler, ((0, 1), 7.0))  # alone: the median, reward 0
    assert set(map(tuple, sampler.values.values())) == {(0.0, 0.0)}
    # Scores 7 and 9: quartiles 7.5, 8 and 8.5, so rewards (9 - 8) / 1 = 1 and -1.
    told(sampler, ((1, 0), 9.0))
    # Last: 0.5 x 0 + 0.5 x 1; first: 0.5 x 0 + 0.5 (0 + 0.5 x 0.5).
    assert sampler.values == {
        (0, 2): [0.0, 0.125],
        (1, 2, 0): [0.0, 0.0],
        (1, 2, 1): [0.5, 0.0],
    }
    # Scores 7, 9 and 6: quartiles 6.5, 7 and 8, so the reward of 6 is -1 / 1.5 = -2 / 3.
    told(sampler, ((1, 1), 6.0))
    assert sampler.values[1, 2, 1] == pytest.approx([0.5, -1 / 3])
    # First: the best that can follow is 0.5 still.
    assert sampler.values[0, 2] == pytest.approx([0.0, 0.5 * 0.125 + 0.5 * 0.5 * 0.5])


def test_shaping_spreads_the_reward_over_the_decisions() -> None:
    """BlockQNN: each of T decisions is rewarded by r / T; with rate 1 the start is worth all."""
    sampler = make(Grid((1, 2, 1)), learning_rate=1.0, replay=0)
    told(sampler, ((0, 0, 0), 0.0), ((0, 1, 0), 1.0))  # rewards 0 and 1
    assert sampler.values[2, 1, 1] == pytest.approx([1 / 3])
    assert sampler.values[1, 2, 0] == pytest.approx([0.0, 2 / 3])
    assert sampler.values[0, 1] == pytest.approx([1.0])


@pytest.mark.parametrize("memory", [0, 1, 9])
def test_with_replay_it_reaches_the_values_of_the_best_that_can_follow(memory: int) -> None:
    """An additive landscape: the state does not matter, so any memory finds the fixed point."""
    space = Grid((2, 2))
    sampler = make(space, memory=memory, learning_rate=0.1, replay=300, shaping=False)
    told(sampler, *((d, float(2 * d[0] + d[1])) for d in space.sequences()))
    # Scores 0 to 3: quartiles 0.75, 1.5, 2.25, so rewards -1, -1/3, 1/3 and 1.
    if memory > 0:
        assert sampler.values[0, 2] == pytest.approx([-1 / 3, 1.0], abs=0.05)
        assert sampler.values[1, 2, 0] == pytest.approx([-1.0, -1 / 3], abs=0.05)
    first, second = sampler.values[0, 2], sampler.values[(1, 2) if memory == 0 else (1, 2, 1)]
    assert first[1] > first[0]
    assert second[1] > second[0]


@pytest.mark.parametrize(
    ("models", "epsilon"),
    [(0, 1.0), (1499, 1.0), (1500, 0.9), (1600, 0.8), (1800, 0.6), (2699, 0.1), (9999, 0.1)],
)
def test_epsilon_falls_as_in_the_papers_table(models: int, epsilon: float) -> None:
    assert exploration(models / 2700) == epsilon


def test_the_schedule_is_stretched_to_the_evaluations_and_failures_don_t_count() -> None:
    sampler = make(Grid((3,) * 5), evaluations=90)
    for _ in range(90):
        genotype = sampler.ask()
        sampler.tell(genotype, 1.0)
    assert exploration(sampler.drawn / 90) == 0.1
    sampler = make(Grid((3,) * 5), evaluations=90)
    for _ in range(90):
        sampler.tell(sampler.ask(), -math.inf)
    assert exploration(sampler.drawn / 90) == 1.0


def test_explores_uniformly_at_first() -> None:
    sampler = make(Grid((4, 50, 50)), evaluations=10_000)
    drawn = Counter(sampler.space.encode(sampler.ask())[0] for _ in range(2000))
    assert all(abs(drawn[option] - 500) < 5 * math.sqrt(2000 * 3 / 16) for option in range(4))


def test_what_it_would_take_in_the_end_is_far_above_chance() -> None:
    space = Grid((4,) * 5)
    for seed in range(4):
        sampler = make(space, seed=seed)
        for _ in range(100):
            genotype = sampler.ask()
            sampler.tell(genotype, float(sum(space.encode(genotype))))
        # A random sequence has 12 or more of the 15 once in 18 times.
        assert sum(sampler._draw(0.0)) >= 12


def test_a_known_candidate_is_learned_from_again_instead_of_asked_for_again() -> None:
    for space in (Grid((3, 3, 3)), Tree(depth=3)):
        everything = len(list(space.sequences()))
        sampler, asked = make(space, evaluations=everything), []
        for _ in range(everything // 2):
            asked.append(sampler.ask())
            sampler.tell(asked[-1], 1.0)
        assert len(set(asked)) == len(asked)
