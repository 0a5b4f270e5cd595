"""Optuna's samplers over decisions: what it is given, what it finds, and what if it is missing."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest

from searchers._extras import MissingExtraError, require
from searchers.bayesian import Bayesian
from tree_spaces import Grid, Tree

installed = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="the extra `bayesian` is not installed"
)
SPACE = Grid((4,) * 5)


def make(space: Grid = SPACE, seed: int = 0, **params: object) -> Bayesian:
    return Bayesian(space, Bayesian.Params(**params), seed=seed)


def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"'bayesian' needs optuna.*\[bayesian\]"):
        make()


def test_what_a_library_itself_does_not_find_stays_its_own_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "half_installed.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found") as caught:
        require("half_installed", extra="x", purpose="a test")
    assert not isinstance(caught.value, MissingExtraError)


@installed
def test_finds_better_ones_than_chance() -> None:
    space = Grid((4,) * 4)
    best = []
    for seed in range(3):
        searcher = make(space, seed)
        for _ in range(30):
            genotype = searcher.ask()
            searcher.tell(genotype, float(sum(space.encode(genotype))))
        best.append(max(sum(t.decisions) for same in searcher.trials.values() for t in same))
    # The mean of the best of 30 of the 256 sequences, of 12, is 10.3 +- 0.7 for random search.
    assert sum(best) / 3 > 11


def turn(sampler: Bayesian, number: int) -> str:
    """Ask, and tell most times; now and then a failure, now and then what was not asked for."""
    genotype = sampler.ask()
    if number % 3:
        score = -math.inf if number % 4 == 0 else float(sum(sampler.space.encode(genotype)))
        sampler.tell(genotype, score)
    if number % 5 == 0:
        sampler.tell(sampler.space.decode((2, 1, 1)), 0.5)
    return genotype.key


@installed
@pytest.mark.parametrize(
    ("params", "turns"),
    [
        ({}, 25),
        ({"multivariate": False}, 25),
        ({"memory": 1}, 25),
        ({"sampler": "gp", "initial": 3}, 8),  # its choices take long
    ],
)
def test_goes_on_from_its_state_with_waiting_failed_and_foreign_candidates(
    params: dict[str, object], turns: int
) -> None:
    space, half = Tree(depth=4), turns // 2
    whole, first = make(space, **params), make(space, **params)
    keys = [turn(whole, number) for number in range(turns)]
    start = [turn(first, number) for number in range(half)]
    second = make(space, seed=7, **params)
    second.load_state_dict(first.state_dict())
    assert start + [turn(second, number) for number in range(half, turns)] == keys


@installed
def test_asks_for_none_twice_while_new_ones_are_near() -> None:
    space = Grid((4,) * 4)
    sampler, asked = make(space), []
    for _ in range(100):
        asked.append(sampler.ask())
        sampler.tell(asked[-1], float(sum(space.encode(asked[-1]))))
    assert len(set(asked)) == 100


@installed
def test_goes_on_where_nothing_new_is_left() -> None:
    space = Grid((1, 1))
    sampler = make(space, initial=2)
    for _ in range(4):
        genotype = sampler.ask()
        assert space.encode(genotype) == (0, 0)
        sampler.tell(genotype, 1.0)


@installed
def test_decisions_that_depend_on_others_are_parameters_of_their_own() -> None:
    sampler = make(Tree(depth=3), memory=1)
    for _ in range(40):
        genotype = sampler.ask()
        sampler.tell(genotype, 1.0)
    names = {name for trial in sampler.study.get_trials() for name in trial.distributions}
    assert {"decision 0 of 3", "decision 1 of 3 after 1", "decision 1 of 3 after 2"} <= names
    assert {"decision 2 of 2 after 0", "decision 2 of 3 after 1"} <= names
