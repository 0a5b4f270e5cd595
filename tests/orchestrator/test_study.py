"""Studies: which job follows from which, told with made-up results and no cluster."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from orchestrator._contender import Assignment, Board
from orchestrator.jobs import Job, Result
from orchestrator.plan import Plan, parse_plan
from orchestrator.study import Study, forecast, study_key
from search_space.genotype import Genotype
from search_space.spaces import SPACES
from search_space.task import Task
from searchers.estimators import ESTIMATORS

MakeTask = Callable[..., Task]

ESTIMATOR = '''
"""Made up: costs between 5 and 15 multiply-adds, by the genotype."""
from searchers.estimators._base import Estimator


class MadeUp(Estimator):
    """Runs nothing."""

    def program(self, space, genotype, task, *, seed, device):
        raise NotImplementedError

    def compute(self, space, genotype, task):
        return 5 + int(genotype.key, 16) % 1000 / 100
'''

SAMPLER = '''
"""Learns nothing and remembers what it is told."""
import random

from searchers._base import Sampler, StrictParams


class Remembering(Sampler):
    """Asks for a number of candidates, then has no more."""

    class Params(StrictParams):
        """How many."""

        count: int = 4

    told = []
    asked = []

    def __init__(self, space, params, *, seed):
        super().__init__(space, params, seed=seed)
        self.rng = random.Random(seed)
        self.left = params.count

    def ask(self):
        if not self.left:
            return None
        self.left -= 1
        self.asked.append(self.space.sample(self.rng))
        return self.asked[-1]

    def tell(self, genotype, score):
        self.told.append((genotype, score))

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
'''

FULL = """\
name: full
task: digits
arms:
  floor: {network: constant}
  darts: {method: darts, seeds: [0, 1]}
  random: {method: random_search, estimator: made_up, budget: {same_as: darts}}
  few: {method: random_search, estimator: made_up, budget: {samples: 3}, seeds: [7]}
evaluate: {seeds: [0, 1, 2]}
"""


@pytest.fixture(autouse=True)
def made_up_entries(add_entry: Callable[..., None]) -> None:
    """An estimator that costs nothing to ask, and a sampler that can be looked at."""
    add_entry("searchers.estimators", "made_up", ESTIMATOR)
    add_entry("searchers", "remembering", SAMPLER)


def number(job: Job, name: str) -> float:
    """Return a number from 0 to 1 that a job and a name decide."""
    return random.Random(f"{job.key} {name}").random()


def made_up_result(job: Job) -> Result:
    """Return the result that a job always ends with in these tests."""
    genotype, compute = None, 10.0
    space = SPACES.load("darts")()
    if job.kind == "search":
        genotype = space.sample(random.Random(job.key))
        compute = 50 + 100 * number(job, "compute")
    elif job.kind == "candidate":
        compute = cost_of(job)
    return Result("done", number(job, "score"), genotype, compute, 5 + 10 * number(job, "seconds"))


def cost_of(job: Job) -> float:
    """Return the multiply-adds of a candidate."""
    assert job.genotype is not None
    estimator = ESTIMATORS.load("made_up")
    return estimator(estimator.Params()).compute(None, Genotype.from_json(job.genotype), None)


@dataclass
class World:
    """A store and a cluster that are not there.

    Args:
        plan, tasks: of the study.
        outcome: how a job ends.
        results: of finished jobs; failed ones are owed again, as in the store.
        decisions: made so far, and how often one was written.
        handed: every assignment that was handed out, of all runs.
    """

    plan: Plan
    tasks: Mapping[str, Task]
    outcome: Callable[[Job], Result] = made_up_result
    results: dict[str, Result] = field(default_factory=dict)
    decisions: dict[str, float] = field(default_factory=dict)
    written: list[tuple[str, str, float]] = field(default_factory=list)
    handed: list[Assignment] = field(default_factory=list)

    def study(self, slots: int = 2) -> Study:
        """Return a new study that knows what is finished."""

        def decide(key: str, name: str, value: float) -> None:
            self.written.append((key, name, value))
            self.decisions[key] = value

        known = {k: r for k, r in self.results.items() if not r.failed}
        return Study(Board(self.plan, self.tasks, known, dict(self.decisions), decide, slots))

    def end(self, study: Study, assignment: Assignment) -> None:
        """End a job."""
        result = self.results[assignment.job.key] = self.outcome(assignment.job)
        study.tell(assignment.job.key, result)

    def run(
        self, order: random.Random | None = None, slots: int = 2, stop_after: int | None = None
    ) -> Study:
        """Run what is owed, or die after ``stop_after`` jobs with what is running then lost.

        Jobs end in the order they were started in, or in a random ``order``.
        """
        study = self.study(slots)
        running: list[Assignment] = []
        ended = 0
        while True:
            while len(running) < slots and (assignment := study.next()) is not None:
                running.append(assignment)
                self.handed.append(assignment)
            if not running:
                assert study.finished, "nothing is ready, nothing runs, and it is not over"
                return study
            if ended == stop_after:
                return study
            place = order.randrange(len(running)) if order else 0
            self.end(study, running.pop(place))
            ended += 1


@pytest.fixture
def world(small_task: MakeTask) -> Callable[..., World]:
    """Factory of worlds: ``world(plan_text, outcome, higher_is_better=True)``."""

    def make(
        text: str,
        outcome: Callable[[Job], Result] = made_up_result,
        higher_is_better: bool = True,
    ) -> World:
        plan = parse_plan(textwrap.dedent(text))
        tasks = {
            choice.name: small_task(choice.name, seed, higher_is_better)
            for seed, choice in enumerate(plan.task)
        }
        return World(plan, tasks, outcome)

    return make


def places(assignments: list[Assignment]) -> list[tuple[str, str, str, int, str]]:
    """Return assignments as comparable rows."""
    return [(a.task, a.arm, a.job.kind, a.position, a.job.key) for a in assignments]


def of_arm(assignments: list[Assignment], arm: str, kind: str) -> list[Assignment]:
    """Return the assignments of one arm and kind."""
    return [a for a in assignments if (a.arm, a.job.kind) == (arm, kind)]


def failing(**kinds: str) -> Callable[[Job], Result]:
    """Return an outcome by which all jobs of a kind fail or diverge: ``failing(search="bug")``."""

    def outcome(job: Job) -> Result:
        if job.kind in kinds:
            return Result(kinds[job.kind], math.nan, None, 3.0, 1.0)
        return made_up_result(job)

    return outcome


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


def check_spent(handed: list[Assignment], arm: str, position: int, budget: float) -> None:
    """Check that an arm's search spent a budget of compute, and not one candidate more."""
    costs = [cost_of(a.job) for a in of_arm(handed, arm, "candidate") if a.position == position]
    assert sum(costs) >= budget
    assert sum(costs[:-1]) < budget


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


KEYED = FULL + "compare: {arm: darts}\n"


def key_of(text: str, fingerprint: str = "f") -> str:
    """Return the key of a study by its plan's text and its data."""
    return study_key(parse_plan(text), {"digits": fingerprint})


@pytest.mark.parametrize(
    "change",
    [
        ("name: full\n", "name: full\nstore: s3://bucket/elsewhere\n"),
        ("name: full\n", "name: full\nresources: {cpu: 4, gpu: 0}\n"),
        ("name: full\n", "name: full\nbudget: {hours: 3}\n"),
        ("seeds: [0, 1]}", "seeds: [0, 1], resources: {cpu: 2}}"),
        ("{network: constant}", "{network: constant, resources: {gpu: 1}}"),
        ("task: digits", "task: [{name: digits}]"),
        ("task: digits", "task: digits  # with a remark"),
        ("method: darts,", "method: darts, space: darts, params: {order: 1},"),
    ],
)
def test_the_key_of_a_study_does_not_hang_on_where_or_how_long_it_runs_or_how_it_is_written(
    change: tuple[str, str],
) -> None:
    changed = KEYED.replace(*change)
    assert changed != KEYED
    assert key_of(changed) == key_of(KEYED)


@pytest.mark.parametrize(
    "change",
    [
        ("name: full", "name: other"),
        ("task: digits", "task: mnist"),
        ("task: digits", "task: [digits, mnist]"),
        ("seeds: [0, 1]}", "seeds: [0, 2]}"),
        ("method: darts,", "method: darts, params: {order: 2},"),
        ("method: darts,", "method: darts, space: {name: darts, nodes: 3},"),
        ("{samples: 3}", "{samples: 4}"),
        ("{same_as: darts}", "{same_as: darts, unit: seconds}"),
        ("few:", "fewer:"),
        ("constant", "random_forest"),
        ("seeds: [0, 1, 2]", "seeds: [0, 1, 3]"),
        ("seeds: [0, 1, 2]", "seeds: [0, 1, 2], epochs: 3"),
        ("seeds: [0, 1, 2]", "seeds: [0, 1, 2], pick: best"),
        ("{arm: darts}", "{arm: random}"),
        ("{arm: darts}", "{arm: darts, with: [floor]}"),
    ],
)
def test_the_key_of_a_study_hangs_on_all_that_decides_its_answer(change: tuple[str, str]) -> None:
    changed = KEYED.replace(*change)
    assert changed != KEYED
    assert key_of(changed) != key_of(KEYED)


def test_the_key_of_a_study_hangs_on_the_data() -> None:
    assert key_of(KEYED, "f") != key_of(KEYED, "g")
