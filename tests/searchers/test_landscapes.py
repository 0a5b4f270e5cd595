"""Guided samplers on landscapes with a known optimum: they find it sooner than random search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from samplers import SAMPLERS, make_sampler
from searchers import METHODS, Sampler
from toy_spaces import Landscape, Sequences, Stacks, matches, rugged

SEEDS = 50

# A bound on the time of the tests: above the medians of random search, which are 710 among 1,024
# alike and up to 3,549 where the optimum is one of the deepest stacks. A run without success
# counts as so many.
ENDLESS = 5_000

LANDSCAPES = {
    "matches": (Sequences(5, 4), matches),
    "rugged": (Sequences(5, 4), rugged),
    "conditional": (Stacks(5, 4), matches),
}

GUIDED = [name for name in SAMPLERS if METHODS.load(name).guided]


def evaluations(sampler: Sampler, landscape: Landscape, most: int) -> int:
    """Return how many candidates were scored until one was the optimum, ``most`` if none was."""
    for count in range(1, most):
        genotype = sampler.ask()
        if genotype is None:
            break
        score = landscape(genotype)
        if score == 1:
            return count
        sampler.tell(genotype, score)
    return most


@pytest.fixture(scope="module")
def of_random_search() -> dict[str, list[int]]:
    found = {}
    for kind, (space, make_landscape) in LANDSCAPES.items():
        samplers = [make_sampler("random_search", space, seed) for seed in range(SEEDS)]
        landscapes = [make_landscape(space, seed) for seed in range(SEEDS)]
        pairs = zip(samplers, landscapes, strict=True)
        found[kind] = [evaluations(*pair, most=ENDLESS) for pair in pairs]
    return found


@pytest.mark.parametrize("kind", LANDSCAPES)
@pytest.mark.parametrize("name", GUIDED)
def test_a_guided_sampler_needs_fewer_evaluations_than_random_search(
    name: str, kind: str, of_random_search: dict[str, list[int]]
) -> None:
    """Median over the seeds, and a one-sided sign test of the pairs of runs at 1 %."""
    space, make_landscape = LANDSCAPES[kind]
    others = of_random_search[kind]
    # A run that takes as long as random search of the same seed has lost; how long is no matter.
    own = [
        evaluations(make_sampler(name, space, seed), make_landscape(space, seed), most=others[seed])
        for seed in range(SEEDS)
    ]
    wins = sum(a < b for a, b in zip(own, others, strict=True))
    assert np.median(own) < np.median(others)
    assert stats.binomtest(wins, SEEDS, alternative="greater").pvalue < 0.01, f"{wins} wins"


def test_random_search_needs_as_many_as_chance_says(of_random_search: dict[str, list[int]]) -> None:
    """The optimum of 1,024 is drawn with a geometric waiting time; a Kolmogorov-Smirnov test."""
    waiting = np.array(of_random_search["matches"])
    law = stats.geom(1 / 4**5)
    assert stats.ks_1samp(waiting, law.cdf).pvalue > 1e-3
