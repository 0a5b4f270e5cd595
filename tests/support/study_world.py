"""A store and a cluster that are not there, for tests of studies; results are made up."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator._contender import Assignment, Board
from orchestrator.jobs import Job, Result
from orchestrator.plan import Plan
from orchestrator.study import Study
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

from searchers._base import NO_COSTS, Sampler, StrictParams


class Remembering(Sampler):
    """Asks for a number of candidates, then has no more."""

    class Params(StrictParams):
        """How many."""

        count: int = 4

    told = []
    costs = []
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

    def tell(self, genotype, score, costs=NO_COSTS):
        self.told.append((genotype, score))
        self.costs.append(dict(costs))

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


def check_spent(handed: list[Assignment], arm: str, position: int, budget: float) -> None:
    """Check that an arm's search spent a budget of compute, and not one candidate more."""
    costs = [cost_of(a.job) for a in of_arm(handed, arm, "candidate") if a.position == position]
    assert sum(costs) >= budget
    assert sum(costs[:-1]) < budget
