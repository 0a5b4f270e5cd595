"""Studies: which job follows from which, told with made-up results and no cluster."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from orchestrator.jobs import Job, Result
from orchestrator.study import forecast
from study_world import FULL, World, made_up_result, number, of_arm, places

pytestmark = pytest.mark.usefixtures("made_up_entries")


def test_long_work_comes_first_and_every_arm_gets_its_turn(world: Callable[..., World]) -> None:
    study = world(FULL).study()
    order = []
    while (a := study.next()) is not None:
        order.append((a.arm, a.job.kind, a.position, a.job.seed))
    assert order == [
        ("darts", "search", 0, 0),
        ("darts", "search", 1, 1),
        ("few", "candidate", 0, 7),
        ("few", "candidate", 0, 7),
        ("few", "candidate", 0, 7),
        ("floor", "evaluate", 0, 0),
        ("floor", "evaluate", 0, 1),
        ("floor", "evaluate", 0, 2),
    ]
    assert not study.finished


def test_evaluations_are_ready_as_soon_as_their_own_search_ends(
    world: Callable[..., World],
) -> None:
    w = world("""\
        name: x
        task: digits
        arms: {darts: {method: darts, seeds: [0, 1]}}
        evaluate: {seeds: [4, 5]}
    """)
    study = w.study()
    first, second = study.next(), study.next()
    assert first is not None
    assert second is not None
    assert study.next() is None
    w.end(study, second)
    got = [study.next(), study.next()]
    assert [(a.job.kind, a.position, a.job.seed) for a in got if a] == [
        ("evaluate", 1, 4),
        ("evaluate", 1, 5),
    ]
    genotype = w.results[second.job.key].genotype
    assert genotype is not None
    assert {a.job.genotype for a in got if a} == {genotype.to_json()}
    assert study.next() is None
    assert not study.finished
    w.end(study, first)
    assert [a.position for a in (study.next(), study.next()) if a] == [0, 0]


def test_an_arm_that_waits_for_anothers_budget_starts_when_the_search_of_its_position_ends(
    world: Callable[..., World],
) -> None:
    w = world(FULL)
    study = w.study()
    searches = [study.next(), study.next()]
    w.end(study, searches[1])  # type: ignore[arg-type]
    handed = []
    while (a := study.next()) is not None:
        handed.append(a)
    assert {a.position for a in of_arm(handed, "random", "candidate")} == {1}


def test_a_job_that_two_arms_share_runs_once_and_counts_for_both(
    world: Callable[..., World],
) -> None:
    w = world("""\
        name: x
        task: digits
        arms:
          one: {method: darts, seeds: [0]}
          two: {method: darts, seeds: [0, 1]}
          three: {network: constant}
          four: {network: constant}
    """)
    study = w.run()
    keys = [a.job.key for a in w.handed]
    assert len(keys) == len(set(keys))
    for kind in ("search", "evaluate"):
        one = {a.job.key for a in of_arm(study.assigned, "one", kind)}
        two = {a.job.key for a in of_arm(study.assigned, "two", kind) if a.position == 0}
        assert one == two
        assert len(one) == {"search": 1, "evaluate": 3}[kind]
    three = [a.job.key for a in of_arm(study.assigned, "three", "evaluate")]
    assert three == [a.job.key for a in of_arm(study.assigned, "four", "evaluate")]
    assert len(keys) == 2 + 2 * 3 + 3


def test_a_candidate_that_is_drawn_twice_runs_once(world: Callable[..., World]) -> None:
    w = world("""\
        name: x
        task: digits
        arms:
          tiny: {method: random_search, estimator: made_up, budget: {samples: 60},
                 space: {name: darts, nodes: 1, operations: [skip_connect, sep_conv_3x3]}}
    """)
    w.run()
    keys = [a.job.key for a in of_arm(w.handed, "tiny", "candidate")]
    assert len(keys) == len(set(keys)) <= 16 < 60


def test_every_search_seed_is_evaluated_with_every_evaluation_seed(
    world: Callable[..., World],
) -> None:
    w = world(FULL)
    study = w.run()
    for arm, positions in (("darts", 2), ("random", 2), ("few", 1), ("floor", 1)):
        got = [(a.position, a.job.seed) for a in of_arm(study.assigned, arm, "evaluate")]
        assert sorted(got) == [(p, s) for p in range(positions) for s in (0, 1, 2)]


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_best_candidate_of_each_search_is_evaluated(
    higher_is_better: bool, world: Callable[..., World]
) -> None:
    w = world(FULL, higher_is_better=higher_is_better)
    study = w.run()
    best = max if higher_is_better else min
    for position in (0, 1):
        candidates = [
            a.job for a in of_arm(study.assigned, "random", "candidate") if a.position == position
        ]
        wanted = best(candidates, key=lambda job: number(job, "score")).genotype
        evaluated = [
            a.job.genotype
            for a in of_arm(study.assigned, "random", "evaluate")
            if a.position == position
        ]
        assert evaluated == [wanted] * 3


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_pick_best_evaluates_the_genotype_of_the_best_search_alone(
    higher_is_better: bool, world: Callable[..., World]
) -> None:
    scores = {3: 0.5, 4: 0.9, 5: 0.1, 6: math.nan}

    def outcome(job: Job) -> Result:
        result = made_up_result(job)
        if job.kind != "search":
            return result
        if math.isnan(scores[job.seed]):
            return Result("diverged")
        return Result("done", scores[job.seed], result.genotype)

    w = world(
        """\
        name: x
        task: digits
        arms: {darts: {method: darts, seeds: [3, 4, 5, 6]}}
        evaluate: {seeds: [0, 1], pick: best}
        """,
        outcome,
        higher_is_better,
    )
    for seed in range(5):
        w.results.clear()
        study = w.run(random.Random(seed), slots=3)
        evaluated = of_arm(study.assigned, "darts", "evaluate")
        assert [a.position for a in evaluated] == [1 if higher_is_better else 2] * 2


def test_arms_are_independent_on_every_task(world: Callable[..., World]) -> None:
    w = world(FULL.replace("task: digits", "task: [digits, mnist]"))
    study = w.run(random.Random(0), slots=3)
    alone = world(FULL)
    alone.run()
    here = {place for place in places(study.assigned) if place[0] == "digits"}
    assert here == set(places(alone.handed))
    there = {place for place in places(study.assigned) if place[0] == "mnist"}
    assert {place[1:3] for place in there} == {place[1:3] for place in here}
    assert not {place[-1] for place in here} & {place[-1] for place in there}
    fingerprints = {a.task: a.job.fingerprint for a in study.assigned}
    assert fingerprints == {name: task.fingerprint() for name, task in w.tasks.items()}


def test_a_forecast_counts_what_a_run_then_hands_out(world: Callable[..., World]) -> None:
    for pick in ("each", "best"):
        w = world(FULL.replace("seeds: [0, 1, 2]", f"seeds: [0, 1, 2], pick: {pick}"))
        rows = forecast(w.study())
        w.run()
        for row in rows:
            count = len(of_arm(w.handed, row.arm, row.kind))
            assert row.total == (None if (row.arm, row.kind) == ("random", "candidate") else count)
            assert row.example.kind == row.kind
        kinds = {(row.arm, row.kind) for row in rows}
        assert kinds == {(a.arm, a.job.kind) for a in w.handed}


def test_a_baseline_is_the_same_work_whatever_the_plan_says_of_searched_networks(
    world: Callable[..., World],
) -> None:
    text = """\
        name: x
        task: digits
        arms: {{net: {{network: tiny_resnet}}, floor: {{network: constant}}}}
        evaluate: {{seeds: [0], {}}}
    """

    def keys(evaluate: str) -> dict[str, str]:
        w = world(text.format(evaluate))
        w.run()
        return {a.arm: a.job.key for a in w.handed}

    usual = keys("epochs: 30")
    # Width and depth are those of cells; a hand-designed network has its own.
    assert keys("channels: 8, layers: 3, pick: best") == usual
    # What is no network is not trained by the recipe either.
    other = keys("epochs: 31")
    assert other["floor"] == usual["floor"]
    assert other["net"] != usual["net"]
