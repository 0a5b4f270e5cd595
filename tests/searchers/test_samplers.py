"""Samplers: contracts over every method that only chooses."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
import pytest
import torch

from samplers import SAMPLERS, make_sampler
from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from searchers import Sampler
from searchers._base import NO_COSTS

# As many as a method may want to see before it starts to learn.
MANY = 60


def darts(**params: object) -> SearchSpace:
    return SPACES.load("darts")(**params)


def make(name: str, seed: int = 0, space: SearchSpace | None = None) -> Sampler:
    return make_sampler(name, space or fitting(name), seed)


SMALL = {"nodes": 2, "operations": ("none", "skip_connect", "max_pool_3x3")}


@cache
def fitting(name: str) -> SearchSpace:
    """Return the default space, or where the method says that this is too large a smaller one."""
    try:
        make_sampler(name, darts())
    except ValueError:
        return darts(**SMALL)
    return darts()


def score(genotype: Genotype) -> float:
    """Return a number from 0 to 1 that looks like chance and is always the same."""
    return int(genotype.key, 16) / 16**16


def costs(genotype: Genotype) -> dict[str, float]:
    """Return costs that look like chance; of some candidates only one of them is known."""
    draw = random.Random(genotype.key)
    known = {"parameters": float(draw.randrange(1, 1000))}
    if draw.random() < 0.8:
        known["multiply_adds"] = float(draw.randrange(1, 1000))
    return known


def conversation(sampler: Sampler) -> Iterator[str | None]:
    """Ask and tell as a cluster does: several at once, back in another order, some failed."""
    order, waiting = random.Random(0), []
    for turn in range(MANY):
        genotype = sampler.ask()
        yield None if genotype is None else genotype.key
        if genotype is not None:
            waiting.append(genotype)
        if len(waiting) > 4:
            told = waiting.pop(order.randrange(len(waiting)))
            if turn % 7 == 0:
                sampler.tell(told, float("-inf"))
            else:
                sampler.tell(told, score(told), costs(told))


def keys(sampler: Sampler) -> list[str | None]:
    return list(conversation(sampler))


@pytest.mark.parametrize("name", SAMPLERS)
class TestEverySampler:
    def test_same_seed_same_stream_and_another_seed_another_one(self, name: str) -> None:
        first = keys(make(name, 1))
        random.seed(5)
        torch.manual_seed(5)
        np.random.seed(5)
        assert keys(make(name, 1)) == first
        assert keys(make(name, 2)) != first

    def test_takes_nothing_from_the_global_generators(self, name: str) -> None:
        def states() -> tuple[object, ...]:
            return random.getstate(), torch.get_rng_state().tolist(), str(np.random.get_state())

        before = states()
        keys(make(name))
        assert states() == before

    @pytest.mark.parametrize("turn", [0, 1, 5, 13, MANY - 1])
    def test_goes_on_from_its_state_as_if_it_had_never_stopped(self, name: str, turn: int) -> None:
        whole = keys(make(name, 1))
        current = make(name, 1)

        class Relay:
            """Hands a conversation on from a sampler to a new one with its state."""

            asked = 0

            def ask(self) -> Genotype | None:
                nonlocal current
                if self.asked == turn:
                    state = json.loads(json.dumps(current.state_dict()))
                    current = make(name, 1)
                    current.load_state_dict(state)
                self.asked += 1
                return current.ask()

            def tell(
                self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS
            ) -> None:
                current.tell(genotype, score, costs)

        assert list(conversation(Relay())) == whole  # type: ignore[arg-type]

    def test_the_state_alone_decides_and_not_the_seed_of_who_loads_it(self, name: str) -> None:
        first, second = make(name, 1), make(name, 2)
        for _ in range(5):
            first.ask()
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert keys(second) == keys(first)

    def test_a_state_is_not_changed_by_going_on(self, name: str) -> None:
        sampler = make(name)
        sampler.ask()
        state = sampler.state_dict()
        before = json.dumps(state)
        keys(sampler)
        assert json.dumps(state) == before

    def test_can_be_asked_many_times_before_it_is_told_anything(self, name: str) -> None:
        sampler, space = make(name), fitting(name)
        for _ in range(MANY):
            genotype = sampler.ask()
            assert genotype is not None
            space.check(genotype)

    def test_takes_in_what_comes_back_in_another_order_after_many_questions(
        self, name: str
    ) -> None:
        sampler, space = make(name), fitting(name)
        asked = [genotype for _ in range(MANY) if (genotype := sampler.ask()) is not None]
        random.Random(1).shuffle(asked)
        for turn, genotype in enumerate(asked):
            if turn % 5 == 0:
                sampler.tell(genotype, float("-inf"))
            elif turn % 5 != 1:  # every fifth is never told
                sampler.tell(genotype, score(genotype), costs(genotype))
            space.check(sampler.ask())

    def test_can_be_told_one_candidate_twice(self, name: str) -> None:
        sampler, space = make(name), fitting(name)
        for _ in range(MANY // 2):
            genotype = sampler.ask()
            for _ in range(2):
                sampler.tell(genotype, score(genotype), costs(genotype))
        space.check(sampler.ask())

    def test_changes_nothing_of_what_it_is_told(self, name: str) -> None:
        sampler = make(name)
        for _ in range(MANY):
            genotype = sampler.ask()
            told = costs(genotype)
            sampler.tell(genotype, score(genotype), told)
            assert told == costs(genotype)

    def test_all_it_chooses_is_of_the_space(self, name: str) -> None:
        space = darts(**SMALL)
        sampler = make(name, space=space)
        for _ in range(MANY):
            genotype = sampler.ask()
            if genotype is None:
                break
            space.check(genotype)
            sampler.tell(genotype, score(genotype))

    def test_goes_on_if_every_candidate_fails(self, name: str) -> None:
        sampler, space = make(name), fitting(name)
        for _ in range(MANY):
            genotype = sampler.ask()
            assert genotype is not None
            space.check(genotype)
            sampler.tell(genotype, float("-inf"))

    def test_takes_in_scores_of_architectures_that_it_did_not_ask_for(self, name: str) -> None:
        # A store remembers results of other runs.
        sampler, space, rng = make(name), fitting(name), random.Random(3)
        for _ in range(MANY):
            genotype = space.sample(rng)
            sampler.tell(genotype, score(genotype))
        space.check(sampler.ask())

    def test_none_means_that_nothing_is_left_for_good(self, name: str) -> None:
        space = darts(nodes=1, operations=("none", "skip_connect"))
        assert space.size() == 1
        sampler = make(name, space=space)
        asked = []
        for _ in range(MANY):
            asked.append(sampler.ask())
            if asked[-1] is not None:
                sampler.tell(asked[-1], score(asked[-1]))
        ended = asked.index(None) if None in asked else MANY
        assert ended > 0
        assert all(genotype is not None for genotype in asked[:ended])
        assert asked[ended:] == [None] * (MANY - ended)


def test_random_search_draws_every_option_of_a_decision_as_often() -> None:
    """Li and Talwalkar 2019: uniformly; a chi-squared test on each of the first decisions."""
    space = darts()
    sampler = make("random_search")
    drawn = np.array([space.encode(sampler.ask()) for _ in range(2000)])
    for place in range(drawn.shape[1]):
        options = space.options(drawn[0, :place].tolist())
        counts = np.bincount(drawn[:, place], minlength=options)
        assert len(counts) == options
        expected = len(drawn) / options
        statistic = ((counts - expected) ** 2 / expected).sum()
        freedom = max(1, options - 1)
        assert statistic < freedom + 6 * (2 * freedom) ** 0.5


def test_random_search_does_not_learn_from_scores() -> None:
    told, deaf = make("random_search", 4), make("random_search", 4)
    for _ in range(20):
        genotype = told.ask()
        told.tell(genotype, score(genotype))
        assert deaf.ask() == genotype
