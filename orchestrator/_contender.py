"""A contender: an arm of a plan on one of its tasks, and the jobs it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.jobs import Entry, Job, Result
from orchestrator.plan import MethodArm, NetworkArm, Plan, TaskChoice
from search_space.baselines import BASELINES
from search_space.genotype import Genotype
from search_space.task import Task
from searchers._training import TrainingParams


@dataclass(frozen=True)
class Assignment:
    """A job and its place in the study: it belongs to the ``position``-th search of an arm."""

    job: Job
    task: str
    arm: str
    position: int

    def member(self, study: str) -> dict[str, Any]:
        """Return it as a row of the store's table ``members``."""
        return {
            "study": study,
            "task": self.task,
            "arm": self.arm,
            "role": self.job.kind,
            "position": self.position,
            "seed": self.job.seed,
            "job": self.job.key,
        }


@dataclass(frozen=True)
class Searched:
    """What one search of an arm, of either kind, has found and spent.

    ``given_up`` says why it was ended before its budget; empty where it was not.
    """

    genotype: Genotype | None
    score: float
    compute: float
    seconds: float
    failed: bool
    given_up: str = ""


@dataclass
class Board:
    """What the contenders of a study see of one another and of what is known.

    Args:
        plan: checked.
        tasks: the loaded data sets, by :func:`task_label`.
        results: of the jobs that have ended, by key.
        decisions: what was decided once, by key.
        decide: called with (key, name, value) for each new decision.
        slots: how many jobs can run at once; bounds how far a budget of seconds is overrun.
    """

    plan: Plan
    tasks: Mapping[str, Task]
    results: dict[str, Result]
    decisions: Mapping[str, float]
    decide: Callable[[str, str, float], None]
    slots: int = 1
    searched: dict[tuple[str, str, int], Searched] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fingerprints = {label: task.fingerprint() for label, task in self.tasks.items()}


def task_label(choice: TaskChoice) -> str:
    """Return the name of a task in a study: the entry's, with parameters that are not default."""
    defaults = TaskChoice.check(choice.name, {})
    given = {k: v for k, v in choice.params.items() if defaults.get(k) != v}
    if not given:
        return choice.name
    return f"{choice.name}({', '.join(f'{k}={v}' for k, v in given.items())})"


class Contender:
    """The arm called ``name`` on the task ``choice``."""

    def __init__(self, board: Board, choice: TaskChoice, name: str, arm: MethodArm | NetworkArm):
        self.board, self.choice, self.name, self.arm = board, choice, name, arm
        self.label = task_label(choice)
        self.evaluate = board.plan.evaluate
        self.task = board.tasks[self.label]
        self.sign = 1.0 if self.task.metric.higher_is_better else -1.0
        self.seeds = board.plan.seeds_of(arm) if isinstance(arm, MethodArm) else ()

    def result(self, job: Job) -> Result | None:
        """Return what is known of a job, None if it has not ended."""
        return self.board.results.get(job.key)

    def searched(self, position: int, name: str | None = None) -> Searched | None:
        """Return what a search of this arm, or of the arm ``name``, has found; None: not yet."""
        return self.board.searched.get((self.label, name or self.name, position))

    def record(self, position: int, searched: Searched) -> None:
        """Let the others know what a search has found and spent."""
        self.board.searched[self.label, self.name, position] = searched

    def assign(self, job: Job, position: int = 0) -> Assignment:
        """Return the job with its place in the study."""
        return Assignment(job, self.label, self.name, position)

    def search_job(self, seed: int) -> Job:
        """Return the job that runs a one-shot method."""
        assert isinstance(self.arm, MethodArm)
        method = Entry(self.arm.method, self.arm.params.model_dump(mode="json"))
        return self._job("search", seed, space=self.arm.space.entry(), method=method)

    def candidate_job(self, genotype: Genotype, seed: int) -> Job:
        """Return the job that scores a candidate of a sampler."""
        assert isinstance(self.arm, MethodArm)
        assert self.arm.estimator is not None  # the plan fills it in for samplers
        return self._job(
            "candidate",
            seed,
            space=self.arm.space.entry(),
            estimator=self.arm.estimator.entry(),
            genotype=genotype.to_json(),
        )

    def evaluation_job(self, genotype: Genotype, seed: int) -> Job:
        """Return the job that retrains what a search found and scores the test split."""
        assert isinstance(self.arm, MethodArm)
        return self._job(
            "evaluate",
            seed,
            space=self.arm.space.entry(),
            genotype=genotype.to_json(),
            training=self.evaluate.model_dump(mode="json", exclude={"seeds", "pick"}),
        )

    def baseline_job(self, seed: int) -> Job:
        """Return the job that trains a baseline and scores the test split.

        What the plan says of the size of networks does not touch a hand-designed one, and a
        baseline that is no network is not trained by the plan's recipe: neither is in the key.
        """
        assert isinstance(self.arm, NetworkArm)
        training = None
        if not isinstance(BASELINES.load(self.arm.network), type):
            recipe = set(TrainingParams.model_fields)
            training = self.evaluate.model_dump(mode="json", include=recipe)
        return self._job("evaluate", seed, network=self.arm.network, training=training)

    def _job(
        self, kind: Literal["search", "candidate", "evaluate"], seed: int, **content: Any
    ) -> Job:
        fingerprint = self.board.fingerprints[self.label]
        return Job(kind, self.choice.entry(), fingerprint, seed, **content)
