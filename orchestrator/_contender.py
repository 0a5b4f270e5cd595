"""A contender: an arm of a plan on one of its tasks, and the jobs it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.jobs import Entry, Job, Result
from orchestrator.plan import MethodArm, NetworkArm, Plan, TaskChoice
from search_space.baselines import BASELINES
from search_space.genotype import Genotype, canonical_json, digest
from search_space.space import SearchSpace
from search_space.task import Task
from searchers import Sampler
from searchers._pricing import Admission, Blueprint, Pricing
from searchers._training import TrainingParams
from searchers.estimators import Estimator


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
        searched: what the searches that have ended found, by task, arm and position.
        measured: latencies that this run has measured, by key; decisions like others.
    """

    plan: Plan
    tasks: Mapping[str, Task]
    results: dict[str, Result]
    decisions: Mapping[str, float]
    decide: Callable[[str, str, float], None]
    slots: int = 1
    searched: dict[tuple[str, str, int], Searched] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)

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
        self.limits = board.plan.limits_of(arm) if isinstance(arm, MethodArm) else {}
        # A table says the same each time it is asked.
        once = self.task.table is not None
        self.evaluation_seeds = self.evaluate.seeds[:1] if once else self.evaluate.seeds

    def result(self, job: Job) -> Result | None:
        """Return what is known of a job, None if it has not ended."""
        return self.board.results.get(job.key)

    def searched(self, position: int, name: str | None = None) -> Searched | None:
        """Return what a search of this arm, or of the arm ``name``, has found; None: not yet."""
        return self.board.searched.get((self.label, name or self.name, position))

    def record(self, position: int, searched: Searched) -> None:
        """Let the others know what a search has found and spent."""
        self.board.searched[self.label, self.name, position] = searched

    def admission(self, sampler: Sampler) -> Admission:
        """Return who asks ``sampler`` for candidates that keep the limits of the arm."""
        if not self.limits:
            return Admission(sampler, {}, [])
        sizes = dict.fromkeys([self._estimator.size, self._evaluated_size])
        pricings = [self._pricing(sampler.space, size, self.limits) for size in sizes]
        return Admission(sampler, self.limits, pricings)

    def costs(
        self, sampler: Sampler, genotype: Genotype, known: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Return the ``known`` costs of a candidate, and all others that ``sampler`` weighs."""
        if known.keys() >= set(sampler.weighs):
            return known
        pricing = self._pricing(sampler.space, self._estimator.size, sampler.weighs)
        return {**pricing(genotype), **known}

    @property
    def _estimator(self) -> Estimator:
        assert isinstance(self.arm, MethodArm)
        assert self.arm.estimator is not None
        return self.arm.estimator.make()

    @property
    def _evaluated_size(self) -> tuple[int, int]:
        return self.evaluate.channels, self.evaluate.layers

    def _pricing(self, space: SearchSpace, size: tuple[int, int], names: Iterable[str]) -> Pricing:
        """Return what tells costs; latencies are decisions, measured once and kept."""
        assert isinstance(self.arm, MethodArm)
        about = ["latency", self.arm.space.model_dump(mode="json"), self.label, *size]

        def key_of(genotype: str) -> str:
            return digest(canonical_json([*about, genotype]))

        def measured(genotype: str) -> float | None:
            key = key_of(genotype)
            return self.board.measured.get(key, self.board.decisions.get(key))

        def remember(genotype: str, seconds: float) -> None:
            self.board.measured[key_of(genotype)] = seconds
            self.board.decide(key_of(genotype), "latency", seconds)

        return Pricing(Blueprint.of(space, self.task, size), names, measured, remember)

    def assign(self, job: Job, position: int = 0) -> Assignment:
        """Return the job with its place in the study."""
        return Assignment(job, self.label, self.name, position)

    def search_job(self, seed: int) -> Job:
        """Return the job that runs a one-shot method."""
        assert isinstance(self.arm, MethodArm)
        method = Entry(self.arm.method, self.arm.params.model_dump(mode="json"))
        return self._job("search", seed, space=self.arm.space.entry(), method=method)

    def inline_job(self, seed: int, budget: dict[str, float]) -> Job:
        """Return the job in which a sampler scores its candidates itself."""
        assert isinstance(self.arm, MethodArm)
        assert self.arm.estimator is not None
        limits = self.limits
        size = dict(zip(("channels", "layers"), self._evaluated_size, strict=True))
        return self._job(
            "search",
            seed,
            space=self.arm.space.entry(),
            method=Entry(self.arm.method, self.arm.params.model_dump(mode="json")),
            estimator=self.arm.estimator.entry(),
            budget=budget,
            limits={"at_most": limits, "evaluated": size} if limits else None,
        )

    def candidate_job(
        self, genotype: Genotype, seed: int, recalled: dict[str, Any] | None = None
    ) -> Job:
        """Return the job that scores a candidate of a sampler, given what it recalls."""
        assert isinstance(self.arm, MethodArm)
        assert self.arm.estimator is not None  # the plan fills it in for samplers
        return self._job(
            "candidate",
            seed,
            space=self.arm.space.entry(),
            estimator=self.arm.estimator.entry(),
            genotype=genotype.to_json(),
            recalled=recalled,
        )

    def evaluation_job(self, genotype: Genotype, seed: int) -> Job:
        """Return the job that retrains what a search found and scores the test split.

        Where the task is a table only the size of the network counts, for its costs.
        """
        assert isinstance(self.arm, MethodArm)
        content = self.evaluate.model_dump(mode="json", exclude={"seeds", "pick"})
        if self.task.table is not None:
            content = {name: content[name] for name in ("channels", "layers")}
        return self._job(
            "evaluate",
            seed,
            space=self.arm.space.entry(),
            genotype=genotype.to_json(),
            training=content,
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
