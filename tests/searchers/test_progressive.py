"""Progressive search: what a size extends, what stays, and what the beam finds."""

from __future__ import annotations

import math

import pytest

from searchers.progressive import Progressive
from tree_spaces import Grid, Tree

SPACE = Grid((4,) * 6)
TREE = Tree(depth=7)


def make(space: Grid = SPACE, seed: int = 0, **params: object) -> Progressive:
    return Progressive(space, Progressive.Params(**{"epochs": 50, **params}), seed=seed)


def search(sampler: Progressive, n: int) -> list[tuple[int, ...]]:
    asked = []
    for _ in range(n):
        genotype = sampler.ask()
        asked.append(sampler.space.encode(genotype))
        sampler.tell(genotype, float(sum(asked[-1])))
    return asked


@pytest.mark.parametrize(
    ("length", "blocks", "cut"),
    [(6, 3, (2, 3)), (6, 5, (2, 3)), (6, 9, (1, 6)), (5, 2, (3, 2)), (6, 1, (6, 1))],
)
def test_sequences_are_cut_into_blocks(length: int, blocks: int, cut: tuple[int, int]) -> None:
    sampler = make(Grid((2,) * length), blocks=blocks, evaluations=100)
    assert (sampler.block, sampler.sizes) == cut
    assert sampler.beam == 100 // (cut[1] + 1)


def test_the_first_candidates_start_as_differently_as_can_be() -> None:
    asked = search(make(Grid((4, 2, 3, 3)), blocks=2, beam=16), 16)
    starts = [decisions[:2] for decisions in asked]
    assert {start: starts.count(start) for start in starts} == dict.fromkeys(
        [(a, b) for a in range(4) for b in range(2)], 2
    )


def test_a_size_extends_the_best_so_far_by_one_block_and_keeps_the_rest() -> None:
    sampler = make(blocks=3, beam=8, epochs=5)
    asked = search(sampler, 8)
    for block in (0, 1, 2, 0):
        beam = sorted(asked, key=sum, reverse=True)[:8]
        new = search(sampler, 8)
        for decisions in new:
            kept = [i for i in range(6) if i // 2 != block]
            assert any(all(decisions[i] == parent[i] for i in kept) for parent in beam)
        asked += new
    assert len(set(asked)) == len(asked)


def test_all_extensions_of_a_beam_are_predicted_where_there_are_few() -> None:
    sampler = make(Grid((2, 3, 2)), blocks=3, beam=1)
    sampler.tell(sampler.space.decode((1, 0, 1)), 1.0)
    assert set(sampler._extensions(1, 2)) == {(1, 1, 1), (1, 2, 1)}
    assert set(sampler._extensions(1, None)) == {
        (1, middle, last) for middle in range(3) for last in range(2)
    } - {(1, 0, 1)}


def test_the_rest_is_kept_as_far_as_it_is_still_possible() -> None:
    sampler = make(TREE)
    for _ in range(20):
        # After option 0 there are two options only, so 2 can't stay; the 1 after it can.
        rest = sampler._rest((4, 0), (4, 1, 2, 1, 2))
        assert len(rest) == 5
        assert rest[:2] == (4, 0)
        assert rest[2] < 2
        assert rest[3] == 1
        assert sampler._rest((2,), (4, 1, 2, 1, 2)) == (2, 1, 2)
        assert len(sampler._rest((6,), (2, 1, 2))) == 7


def test_asks_for_the_extensions_that_are_predicted_to_be_the_best() -> None:
    """On an additive landscape those of the second size are above the beam that they extend."""
    for seed in range(3):
        sampler = make(seed=seed, blocks=3, beam=12, epochs=200)
        first = search(sampler, 12)
        sizes = [search(sampler, 12) for _ in range(3)]
        means = [sum(map(sum, size)) / 12 for size in (first, *sizes)]
        assert means == sorted(means)
        assert means[-1] > 13  # of 18; a mean of 12 random ones has 9 +- 0.8


@pytest.mark.parametrize("space", [SPACE, TREE])
def test_what_fails_is_never_extended(space: Grid) -> None:
    sampler = make(space, beam=6)
    for _ in range(30):
        genotype = sampler.ask()
        decisions = space.encode(genotype)
        sampler.tell(genotype, float(sum(decisions)) if decisions[-1] == 1 else -math.inf)
    parents = sampler.evidence.best(6)
    assert sum(sampler.evidence.scores[d] > -math.inf for d in parents) >= 1
    for first in range(0, 4, sampler.block):
        for found in sampler._extensions(first, first + 1):
            assert found not in sampler.evidence.scores
    only = make(Grid((3, 3)), beam=2)
    for decisions in ((0, 0), (1, 1)):
        only.tell(only.space.decode(decisions), -math.inf)
    assert only._extensions(0, 1) == []
