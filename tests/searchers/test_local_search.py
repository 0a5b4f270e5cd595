"""Local search and grid search: where they go next."""

from __future__ import annotations

import itertools
import math

import pytest

from search_space.genotype import Genotype
from searchers import METHODS, Sampler
from toy_spaces import Sequences, Stacks


def make(name: str, space: Sequences, seed: int = 0, **params: object) -> Sampler:
    cls = METHODS.load(name)
    return cls(space, cls.Params(**params), seed=seed)


def total(genotype: Genotype) -> float:
    return float(sum(genotype.data["decisions"]))


def differences(space: Sequences, a: Genotype, b: Genotype) -> int:
    return sum(x != y for x, y in zip(space.encode(a), space.encode(b), strict=True))


def asked(sampler: Sampler, count: int) -> list[Genotype]:
    found = []
    for _ in range(count):
        found.append(sampler.ask())
        sampler.tell(found[-1], total(found[-1]))
    return found


def test_local_search_scores_all_neighbours_of_the_best_and_moves_to_the_best_of_them():
    space = Sequences(3, 4)
    sampler = make("local_search", space, initial=4)
    first = asked(sampler, 4)
    centre = max(first, key=total)
    unknown = set(space.neighbours(centre)) - set(first)
    assert set(asked(sampler, len(unknown))) == unknown
    best = max([*first, *unknown], key=total)
    assert total(best) > total(centre)
    following = asked(sampler, 3)
    assert all(differences(space, best, genotype) == 1 for genotype in following)


def test_local_search_can_move_with_the_first_neighbour_that_is_better():
    space = Sequences(4, 5)
    sampler = make("local_search", space, initial=1, climb="first")
    centre = asked(sampler, 1)[0]
    for _ in range(12):
        genotype = sampler.ask()
        assert differences(space, centre, genotype) == 1
        sampler.tell(genotype, total(genotype))
        if total(genotype) > total(centre):
            centre = genotype


@pytest.mark.parametrize("climb", ["best", "first"])
def test_local_search_never_scores_a_neighbour_twice_and_starts_anew_at_an_optimum(climb):
    space = Sequences(3, 4)
    sampler = make("local_search", space, initial=1, climb=climb)
    found = asked(sampler, 40)
    assert len(set(found)) == 40  # of 64
    assert Genotype.of("sequences", {"decisions": [3, 3, 3]}) in found


def test_local_search_waits_for_all_neighbours_before_it_moves():
    space = Sequences(3, 4)
    sampler = make("local_search", space, initial=1)
    start = asked(sampler, 1)[0]
    neighbours = [sampler.ask() for _ in range(9)]
    assert set(neighbours) == set(space.neighbours(start))
    for genotype in neighbours[:-1]:
        sampler.tell(genotype, total(genotype))
    sampler.ask()  # drawn at random meanwhile
    sampler.tell(neighbours[-1], 100.0)
    assert differences(space, neighbours[-1], sampler.ask()) == 1


def test_local_search_goes_on_when_neighbours_fail():
    space = Sequences(2, 2)
    sampler = make("local_search", space, initial=1)
    sampler.tell(sampler.ask(), 1.0)
    for _ in range(30):
        sampler.tell(sampler.ask(), -math.inf)


@pytest.mark.parametrize("space", [Sequences(3, 4), Stacks(3, 3)], ids=["plain", "conditional"])
def test_grid_asks_for_every_architecture_once_and_then_for_none(space):
    sampler = make("grid", space)
    found = list(iter(sampler.ask, None))
    if isinstance(space, Stacks):
        every = {
            (depth - 1, *layers)
            for depth in (1, 2, 3)
            for layers in itertools.product(range(3), repeat=depth)
        }
    else:
        every = set(itertools.product(range(4), repeat=3))
    assert len(found) == len(every)
    assert {space.encode(genotype) for genotype in found} == every
    assert sampler.ask() is None


@pytest.mark.parametrize(
    ("space", "given"), [(Sequences(3, 4), "64"), (Stacks(5, 3), "more than 50")]
)
def test_grid_refuses_a_space_that_is_too_large_and_says_what_to_do(space, given):
    with pytest.raises(ValueError, match=rf"{given} decision sequences.*up to 50.*random_search"):
        make("grid", space, largest=50)


def test_grid_takes_a_space_of_exactly_the_largest_size():
    assert make("grid", Sequences(3, 4), largest=64).ask() is not None
    assert make("grid", Stacks(2, 3), largest=3 + 9).ask() is not None
