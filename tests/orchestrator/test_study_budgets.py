"""Budgets of searches: how many candidates are asked for, in numbers, compute and seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.jobs import Job, Result
from study_world import FULL, World, check_spent, failing, made_up_result, of_arm, places

pytestmark = pytest.mark.usefixtures("made_up_entries")


def test_a_budget_of_samples_is_their_number_for_each_seed(world: Callable[..., World]) -> None:
    w = world("""\
        name: x
        task: digits
        arms:
          r: {method: random_search, estimator: made_up, budget: {samples: 4}, seeds: [1, 2]}
    """)
    w.run(random.Random(3), slots=3)
    got = [(a.position, a.job.seed) for a in of_arm(w.handed, "r", "candidate")]
    assert sorted(got) == [(0, 1)] * 4 + [(1, 2)] * 4


def test_equal_compute_is_reached_and_overrun_by_less_than_one_candidate(
    world: Callable[..., World],
) -> None:
    w = world(FULL)
    w.run(random.Random(1), slots=3)
    for position, search in enumerate(of_arm(w.handed, "darts", "search")):
        check_spent(w.handed, "random", position, w.results[search.job.key].compute)


# One node, two operations: four cells of each kind, and so 16 candidates in all.
TINY = "space: {name: darts, nodes: 1, operations: [skip_connect, sep_conv_3x3]}"


@pytest.mark.parametrize("budget", [90.0, 1e6])
def test_a_candidate_that_is_drawn_twice_is_counted_once_in_equal_compute(
    budget: float, world: Callable[..., World]
) -> None:
    def outcome(job: Job) -> Result:
        result = made_up_result(job)
        return replace(result, compute=budget) if job.kind == "search" else result

    w = world(FULL.replace("{same_as: darts}}", f"{{same_as: darts}}, {TINY}}}"), outcome)
    study = w.run()
    for position in (0, 1):
        of_search = [a for a in w.handed if (a.arm, a.position) == ("random", position)]
        assert len(of_arm(of_search, "random", "candidate")) <= 16
        if budget == 90.0:  # between 6 and 18 candidates
            check_spent(w.handed, "random", position, budget)
        else:  # more than there is: all of the space, and then an end
            assert len(of_arm(of_search, "random", "candidate")) == 16
        assert len(of_arm(of_search, "random", "evaluate")) == 3
    assert study.finished


def test_a_search_that_diverged_has_spent_what_it_spent(world: Callable[..., World]) -> None:
    def outcome(job: Job) -> Result:
        if job.kind == "search":
            return Result("diverged", compute=40.0 + job.seed)
        return made_up_result(job)

    w = world(FULL, outcome)
    study = w.run()
    for position in (0, 1):
        check_spent(w.handed, "random", position, 40.0 + position)
    assert of_arm(study.assigned, "darts", "evaluate") == []


def test_a_search_without_a_counterpart_gets_the_mean_of_the_others(
    world: Callable[..., World],
) -> None:
    w = world(FULL.replace("{same_as: darts}", "{same_as: darts}, seeds: [0, 1, 2]"))
    w.run()
    spent = [w.results[a.job.key].compute for a in of_arm(w.handed, "darts", "search")]
    check_spent(w.handed, "random", 2, sum(spent) / 2)


def test_a_budget_can_be_copied_from_a_sampler(world: Callable[..., World]) -> None:
    w = world(FULL.replace("{same_as: darts}", "{same_as: few}, seeds: [1]"))
    w.run()
    spent = sum(w.results[a.job.key].compute for a in of_arm(w.handed, "few", "candidate"))
    check_spent(w.handed, "random", 0, spent)


def test_the_number_of_candidates_at_equal_compute_hangs_on_no_order_of_completion(
    world: Callable[..., World],
) -> None:
    first = world(FULL)
    first.run()
    wanted = set(places(of_arm(first.handed, "random", "candidate")))
    for seed in range(10):
        w = world(FULL)
        w.run(random.Random(seed), slots=1 + seed % 5)
        assert set(places(of_arm(w.handed, "random", "candidate"))) == wanted


def test_an_arm_whose_reference_failed_is_given_nothing_and_the_study_ends(
    world: Callable[..., World],
) -> None:
    for unit in ("compute", "seconds"):
        w = world(FULL.replace("{same_as: darts}", f"{{same_as: darts, unit: {unit}}}"))
        w.outcome = failing(search="bug")
        study = w.run()
        assert study.finished
        assert of_arm(w.handed, "random", "candidate") == []
        assert of_arm(w.handed, "random", "evaluate") == []
        assert len(of_arm(w.handed, "few", "evaluate")) == 3


@pytest.mark.parametrize("unit", ["compute", "seconds"])
def test_after_the_reference_is_mended_the_arm_gets_its_budget(
    unit: str, world: Callable[..., World]
) -> None:
    text = FULL.replace("{same_as: darts}", f"{{same_as: darts, unit: {unit}}}")
    w = world(text, failing(search="bug"))
    w.run()
    assert w.written == [], "what a failure left is no measurement to decide by"
    w.outcome = made_up_result
    w.run()
    assert {a.position for a in of_arm(w.handed, "random", "candidate")} == {0, 1}


TIMED = """\
name: x
task: digits
arms:
  darts: {method: darts, seeds: [0, 1]}
  random: {method: random_search, estimator: made_up, budget: {same_as: darts, unit: seconds}}
"""


def timed(search: float, candidate: float) -> Callable[[Job], Result]:
    """Return an outcome by which searches and candidates take these seconds."""

    def outcome(job: Job) -> Result:
        result = made_up_result(job)
        seconds = {"search": search + 100 * job.seed, "candidate": candidate}.get(job.kind, 1.0)
        return Result("done", result.score, result.genotype, result.compute, seconds)

    return outcome


def test_equal_seconds_are_as_many_candidates_as_fit_the_time(world: Callable[..., World]) -> None:
    w = world(TIMED, timed(search=95.0, candidate=10.0))
    w.run(random.Random(0))
    counts = [
        len([a for a in of_arm(w.handed, "random", "candidate") if a.position == p]) for p in (0, 1)
    ]
    assert counts == [10, 20]  # 95 s and 195 s, each overrun by the last one
    assert sorted((name, value) for _, name, value in w.written) == [
        ("candidates", 10.0),
        ("candidates", 20.0),
    ]


def test_a_candidate_that_is_drawn_twice_is_counted_once_in_equal_seconds(
    world: Callable[..., World],
) -> None:
    text = TIMED.replace("unit: seconds}", f"unit: seconds}}, {TINY}")
    for search, wanted in ((75.0, [8, 16]), (1e6, [16, 16])):
        w = world(text, timed(search, candidate=10.0))
        study = w.run(random.Random(0))
        handed = of_arm(w.handed, "random", "candidate")
        assert [len([a for a in handed if a.position == p]) for p in (0, 1)] == wanted
        again = w.study()
        assert again.next() is None
        assert set(places(again.assigned)) == set(places(study.assigned))


def test_the_number_that_fits_the_time_is_decided_once_and_obeyed_whatever_the_clock_says_later(
    world: Callable[..., World],
) -> None:
    text = TIMED.replace("unit: seconds}", "unit: seconds}, seeds: [0, 1, 2]")
    w = world(text, timed(search=95.0, candidate=10.0))
    whole = set(places(w.run().assigned))
    written = list(w.written)
    assert len(written) == len(w.decisions) == 3
    for slow in (1.0, 300.0):
        w.outcome = timed(search=95.0, candidate=slow)
        # Half of the candidates are lost and done again by a clock that says something else.
        lost = of_arm(w.handed, "random", "candidate")[::2]
        w.results = {k: r for k, r in w.results.items() if k not in {a.job.key for a in lost}}
        assert set(places(w.run(random.Random(1)).assigned)) == whole
        assert w.written == written


def test_a_run_that_dies_before_the_decision_goes_on_with_what_is_finished(
    world: Callable[..., World],
) -> None:
    for stop_after in range(1, 12):
        w = world(TIMED, timed(search=95.0, candidate=10.0))
        w.run(random.Random(stop_after), stop_after=stop_after)
        finished = set(w.results)
        w.handed.clear()
        study = w.run(random.Random(stop_after))
        assert not finished & {a.job.key for a in w.handed}
        assert len(of_arm(study.assigned, "random", "candidate")) == 10 + 20


def test_how_long_failing_candidates_took_decides_nothing_for_later_runs(
    world: Callable[..., World],
) -> None:
    def broken(job: Job) -> Result:
        result = timed(search=95.0, candidate=10.0)(job)
        return Result("bug", seconds=2.0) if job.kind == "candidate" else result

    w = world(TIMED.replace("seeds: [0, 1]", "seeds: [0]"), broken)
    w.run()
    assert w.written == []
    w.handed.clear()
    w.outcome = timed(search=95.0, candidate=10.0)
    w.run()
    assert len(of_arm(w.handed, "random", "candidate")) == 10


@pytest.mark.parametrize("slots", [1, 4, 9])
def test_where_candidates_fail_fast_a_search_by_the_clock_is_given_up_and_counts_as_failed(
    slots: int, world: Callable[..., World]
) -> None:
    def outcome(job: Job) -> Result:
        assert len(w.handed) < 100, "it goes on without end"
        worked = job.kind != "candidate" or len(of_arm(w.handed, "random", "candidate")) <= 2
        return timed(95.0, candidate=1.0)(job) if worked else Result("bug", seconds=0.0)

    w = world(TIMED.replace("seeds: [0, 1]", "seeds: [0]"), outcome)
    study = w.run(slots=slots)
    count = len(of_arm(w.handed, "random", "candidate"))
    assert 5 <= count <= 2 + 5 + slots, "those that were under way and not many more"
    assert of_arm(w.handed, "random", "evaluate") == [], "though a candidate has a score"
    assert len(of_arm(w.handed, "darts", "evaluate")) == 3
    (said,) = study.given_up
    assert said.startswith("On digits, search 0 of random was given up: ")
    assert "candidates in a row failed" in said
    # The cause is mended: they are owed, and the search goes on to its end.
    w.outcome = timed(95.0, candidate=10.0)
    study = w.run(slots=slots)
    assert study.given_up == []
    assert len(of_arm(study.assigned, "random", "evaluate")) == 3


def test_candidates_that_fail_now_and_then_do_not_end_a_search(
    world: Callable[..., World],
) -> None:
    def outcome(job: Job) -> Result:
        if job.kind == "candidate" and len(of_arm(w.handed, "random", "candidate")) % 5:
            return Result("out_of_memory", seconds=1.0)
        return timed(95.0, candidate=10.0)(job)

    w = world(TIMED.replace("seeds: [0, 1]", "seeds: [0]"), outcome)
    study = w.run(slots=1)
    assert study.given_up == []
    assert len(of_arm(w.handed, "random", "candidate")) > 30
    assert len(of_arm(w.handed, "random", "evaluate")) == 3


@pytest.mark.parametrize("slots", [1, 3])
def test_before_the_first_candidate_has_ended_no_more_are_asked_for_than_can_run(
    slots: int, world: Callable[..., World]
) -> None:
    w = world(TIMED.replace("seeds: [0, 1]", "seeds: [0]"), timed(search=1e6, candidate=10.0))
    study = w.study(slots)
    search = study.next()
    assert search is not None
    w.end(study, search)
    candidates = []
    while (a := study.next()) is not None:
        if a.job.kind == "candidate":
            candidates.append(a)
        else:
            w.end(study, a)
    assert len(candidates) == slots
    w.end(study, candidates[0])
    assert study.next() is not None


def test_a_decision_belongs_to_the_search_it_was_made_for(world: Callable[..., World]) -> None:
    w = world(TIMED, timed(search=95.0, candidate=10.0))
    w.run()
    for change in (
        ("seeds: [0, 1]", "seeds: [0, 1], params: {order: 2}"),
        ("estimator: made_up", "estimator: made_up, space: {name: darts, nodes: 3}"),
    ):
        other = world(TIMED.replace(*change), w.outcome)
        other.run()
        assert not set(other.decisions) & set(w.decisions)
