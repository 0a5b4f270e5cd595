"""Samplers in a study: what they are told, when, and how their questions end."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from orchestrator.jobs import Result
from study_world import World, made_up_result, of_arm

pytestmark = pytest.mark.usefixtures("made_up_entries")


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_sampler_is_told_scores_in_the_order_of_its_questions_higher_being_better(
    higher_is_better: bool, world: Callable[..., World]
) -> None:
    from searchers import METHODS

    sampler = METHODS.load("remembering")
    sampler.told, sampler.asked = [], []
    outcomes = iter(
        [
            Result("done", 0.25),
            Result("diverged"),
            Result("bug"),
            Result("done", 0.75),
            Result("done", 0.5),
        ]
    )
    w = world(
        """\
        name: x
        task: digits
        arms:
          r: {method: remembering, estimator: made_up, budget: {samples: 5}, params: {count: 9}}
        """,
        lambda job: next(outcomes) if job.kind == "candidate" else made_up_result(job),
        higher_is_better,
    )
    w.run(slots=1)
    sign = 1 if higher_is_better else -1
    # The last score changes nothing any more: no question follows it.
    assert [score for _, score in sampler.told] == [sign * 0.25, -math.inf, -math.inf, sign * 0.75]
    assert [genotype for genotype, _ in sampler.told] == sampler.asked[:4]


def test_a_sampler_is_told_the_costs_that_are_known(world: Callable[..., World]) -> None:
    from searchers import METHODS

    sampler = METHODS.load("remembering")
    sampler.told, sampler.costs, sampler.asked = [], [], []
    outcomes = iter(
        [
            Result("done", 0.25, parameters=7, multiply_adds=9),
            Result("diverged", parameters=5, multiply_adds=0),
            Result("bug"),
            Result("done", 0.5),
        ]
    )
    w = world(
        """\
        name: x
        task: digits
        arms:
          r: {method: remembering, estimator: made_up, budget: {samples: 4}, params: {count: 9}}
        """,
        lambda job: next(outcomes) if job.kind == "candidate" else made_up_result(job),
    )
    w.run(slots=1)
    assert sampler.costs == [{"parameters": 7, "multiply_adds": 9}, {"parameters": 5}, {}]


def test_a_score_that_comes_early_waits_for_those_before_it(world: Callable[..., World]) -> None:
    from searchers import METHODS

    sampler = METHODS.load("remembering")
    sampler.told, sampler.asked = [], []
    w = world("""\
        name: x
        task: digits
        arms:
          r: {method: remembering, estimator: made_up, budget: {samples: 5}, params: {count: 9}}
    """)
    study = w.study()
    candidates = [study.next() for _ in range(3)]
    w.end(study, candidates[2])  # type: ignore[arg-type]
    w.end(study, candidates[1])  # type: ignore[arg-type]
    study.next()
    assert sampler.told == []
    w.end(study, candidates[0])  # type: ignore[arg-type]
    study.next()
    assert [genotype for genotype, _ in sampler.told] == sampler.asked[:3]


def test_a_sampler_that_has_no_more_to_ask_ends_before_its_budget(
    world: Callable[..., World],
) -> None:
    w = world("""\
        name: x
        task: digits
        arms: {r: {method: remembering, estimator: made_up, budget: {samples: 50}}}
    """)
    study = w.run()
    assert len(of_arm(w.handed, "r", "candidate")) == 4
    assert len(of_arm(study.assigned, "r", "evaluate")) == 3
