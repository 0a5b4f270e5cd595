"""Studies that were interrupted, or in which jobs fail: what is owed, and what is left to do."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from orchestrator.jobs import Job, Result
from study_world import FULL, World, check_spent, failing, made_up_result, of_arm, places

pytestmark = pytest.mark.usefixtures("made_up_entries")


def test_what_is_known_beforehand_is_not_handed_out(world: Callable[..., World]) -> None:
    w = world(FULL)
    unbroken = w.run()
    w.handed.clear()
    again = w.run()
    assert w.handed == []
    assert again.finished
    assert set(places(again.assigned)) == set(places(unbroken.assigned))


def test_what_another_plan_has_done_is_not_handed_out(world: Callable[..., World]) -> None:
    first = world(FULL)
    first.run()
    other = world(FULL.replace("name: full", "name: other").replace("few:", "fewer:"))
    other.results.update(first.results)
    other.run()
    assert other.handed == []


INTERRUPTED = {
    "each": FULL,
    "best of several tasks": """\
name: x
task: [digits, mnist]
arms:
  darts: {method: darts, seeds: [0, 1, 2]}
  random: {method: random_search, estimator: made_up, budget: {same_as: darts}}
  chained: {method: random_search, estimator: made_up, budget: {same_as: random}, seeds: [8, 9]}
  twin: {method: darts, seeds: [2, 5]}
  floor: {network: constant}
evaluate: {seeds: [0, 1], pick: best}
""",
}


@pytest.mark.parametrize("text", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupted_study_hands_out_what_is_missing_and_ends_like_an_unbroken_one(
    text: str, world: Callable[..., World]
) -> None:
    whole = world(text)
    wanted = set(places(whole.run().assigned))
    jobs = {place[-1] for place in wanted}
    assert {a.job.key for a in whole.handed} == jobs
    rng = random.Random(0)
    for _ in range(10):
        w = world(text)
        finished: set[str] = set()
        for _ in range(rng.randrange(4)):
            w.run(rng, rng.randint(1, 5), stop_after=rng.randrange(len(jobs)))
            assert not finished & {a.job.key for a in w.handed}, "a finished job ran again"
            finished = set(w.results)
            w.handed.clear()
        study = w.run(rng, rng.randint(1, 5))
        handed = [a.job.key for a in w.handed]
        assert len(handed) == len(set(handed))
        assert set(handed) == jobs - finished
        assert set(places(study.assigned)) == wanted


def test_jobs_that_failed_are_owed_again_and_those_that_diverged_are_not(
    world: Callable[..., World],
) -> None:
    w = world(FULL, failing(evaluate="bug"))
    w.run()
    failed = {a.job.key for a in w.handed if a.job.kind == "evaluate"}
    w.handed.clear()
    w.outcome = failing(evaluate="diverged")
    w.run()
    assert {a.job.key for a in w.handed} == failed
    w.handed.clear()
    w.run()
    assert w.handed == []


def test_a_search_that_failed_takes_only_its_own_evaluations_with_it(
    world: Callable[..., World],
) -> None:
    def outcome(job: Job) -> Result:
        if (job.kind, job.seed) == ("search", 0):
            return Result("bug", seconds=1.0)
        return made_up_result(job)

    w = world(FULL, outcome)
    study = w.run()
    assert {a.position for a in of_arm(study.assigned, "darts", "evaluate")} == {1}
    assert len(of_arm(study.assigned, "floor", "evaluate")) == 3
    assert len(of_arm(study.assigned, "random", "evaluate")) == 6
    # Nothing is equal to a failed search: its counterpart gets what the other search spent.
    spent = w.results[of_arm(w.handed, "darts", "search")[1].job.key].compute
    for position in (0, 1):
        check_spent(w.handed, "random", position, spent)


def test_when_all_candidates_fail_or_diverge_nothing_is_evaluated(
    world: Callable[..., World],
) -> None:
    for outcome in ("bug", "diverged", "out_of_memory"):
        w = world(FULL, failing(candidate=outcome))
        study = w.run()
        assert len(of_arm(study.assigned, "few", "candidate")) == 3
        assert of_arm(study.assigned, "few", "evaluate") == []
        assert len(of_arm(study.assigned, "darts", "evaluate")) == 6


def test_a_candidate_that_failed_is_never_chosen(world: Callable[..., World]) -> None:
    w = world(FULL)
    study = w.run()
    best = of_arm(study.assigned, "few", "evaluate")[0].job.genotype

    def outcome(job: Job) -> Result:
        if job.kind == "candidate" and job.genotype == best:
            return Result("diverged")
        return made_up_result(job)

    other = world(FULL, outcome)
    chosen = of_arm(other.run().assigned, "few", "evaluate")
    assert len(chosen) == 3
    assert all(a.job.genotype != best for a in chosen)


@pytest.mark.parametrize("kind", ["search", "evaluate"])
@pytest.mark.parametrize("outcome", ["bug", "diverged"])
@pytest.mark.parametrize("pick", ["each", "best"])
def test_a_study_ends_when_everything_fails(
    kind: str, outcome: str, pick: str, world: Callable[..., World]
) -> None:
    w = world(FULL.replace("seeds: [0, 1, 2]", f"seeds: [0, 1], pick: {pick}"))
    w.outcome = failing(**{kind: outcome, "candidate": outcome})
    study = w.run()
    assert study.finished
    if kind == "search":
        assert of_arm(study.assigned, "darts", "evaluate") == []
