"""The driver: runs a study as one Tune experiment and writes every result into the store."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from ray import tune
from ray._private import ray_constants

from orchestrator._contender import Assignment, Board, task_label
from orchestrator._ledger import Ledger
from orchestrator._tune import ReadyJobs, StopInOrder, WhenAllIsSaved, Witness
from orchestrator.checkpoints import Checkpoints
from orchestrator.errors import UserError
from orchestrator.jobs import FINISHED, Entry, Job, Result
from orchestrator.plan import Plan, Resources
from orchestrator.programs import load_task, make_space
from orchestrator.store import Store
from orchestrator.study import Study
from orchestrator.trial import RECORDED, Trial, genotype_row, unpack
from search_space.genotype import Genotype
from search_space.task import Task

# How often a trial is started again after its process died before the job counts as lost.
RESTARTS = 3

# Tune's own files: no per-trial logs, and its state, which we never read, hardly ever.
_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
}


@dataclass
class Watched:
    """What is known of a job while it runs, for people who watch."""

    assignment: Assignment
    started: float = field(default_factory=time.monotonic)
    progress: float = 0.0
    score: float | None = None
    seconds: float = 0.0


@dataclass
class Progress:
    """The state of a run as its watchers see it; ``stopping`` says why it is being stopped."""

    started: float = field(default_factory=time.monotonic)
    running: dict[str, Watched] = field(default_factory=dict)
    ended: list[tuple[Assignment, Result]] = field(default_factory=list)
    failures: list[tuple[Assignment, str, str]] = field(default_factory=list)
    stopping: str | None = None
    at_rest: bool = False


def load_tasks(plan: Plan, data: Path) -> dict[str, Task]:
    """Load every data set of a plan, by label. Raises DataError."""
    return {
        task_label(choice): load_task(Entry(choice.name, choice.params), data)
        for choice in plan.task
    }


def make_study(
    plan: Plan, tasks: dict[str, Task], store: Store, slots: int = 1, *, keep: bool = True
) -> Study:
    """Return the study of a plan, with all that the store knows of it already.

    What it decides is written into the store, unless ``keep`` is false: then nothing is.
    """
    decisions = store.table("decisions")

    def decide(key: str, name: str, value: float) -> None:
        if not keep:
            return
        now = datetime.now(timezone.utc)
        row = {"key": key, "name": name, "value": value, "decided": now}
        store.add("decisions", key, [row])

    known = dict(zip(decisions["key"], decisions["value"], strict=True))
    return Study(Board(plan, tasks, _known_results(store), known, decide, slots))


def _known_results(store: Store) -> dict[str, Result]:
    jobs = store.jobs()
    genotypes = store.table("genotypes").set_index("key")["genotype"]
    results = {}
    for row in jobs[jobs["outcome"].isin(FINISHED)].itertuples():
        found = genotypes.get(row.found) if isinstance(row.found, str) else None
        genotype = None if found is None else Genotype.from_json(found)
        counts = (0 if pd.isna(n) else int(n) for n in (row.parameters, row.multiply_adds))
        results[str(row.key)] = Result(
            row.outcome, row.score, genotype, row.compute, row.seconds, *counts
        )
    return results


class Driver:
    """Runs the owed jobs of a plan on Ray; see :meth:`run`.

    Args:
        plan: checked.
        tasks: its loaded data sets.
        store: where results go.
        data: root of the data sets, as the workers see it.
    """

    def __init__(self, plan: Plan, tasks: dict[str, Task], store: Store, data: Path):
        self.plan, self.store, self.data = plan, store, data
        self.slots = _slots(plan)
        self.study = make_study(plan, tasks, store, self.slots)
        self.before = frozenset(self.study.board.results)
        self.progress = Progress()
        self.checkpoints = Checkpoints(store.url)
        self.has_gpu = ray.cluster_resources().get("GPU", 0) > 0
        attempts = store.table("jobs").groupby("key")["attempt"].max()
        self._attempts: dict[str, int] = {str(k): int(v) for k, v in attempts.items()}
        self.ledger = Ledger(store, self.study)

    def run(self) -> None:
        """Run every owed job; return when nothing is left or the run was stopped.

        The first Ctrl-C, SIGTERM or the end of the plan's hours lets running jobs write a
        checkpoint; a second signal aborts at once.
        """
        self.progress = Progress()
        self.ledger.open()
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.slots)
        with self._signals():
            tune.Tuner(
                tune.with_resources(Trial, _resources),
                tune_config=tune.TuneConfig(
                    search_alg=ReadyJobs(self),
                    scheduler=StopInOrder(self),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: str(trial.config["key"]),
                ),
                run_config=tune.RunConfig(
                    name=f"{self.plan.name}-{datetime.now():%Y%m%d-%H%M%S}",
                    storage_path=self._tune_storage(),
                    failure_config=tune.FailureConfig(max_failures=RESTARTS),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    stop=WhenAllIsSaved(self),
                    callbacks=[Witness(self)],
                    verbose=0,
                ),
            ).fit()
        self.ledger.update()

    def next_trial(self) -> dict[str, Any] | None:
        """Return the config of the next trial, or None if no job is ready."""
        if self.progress.ended:  # short jobs end without an intermediate result
            self._mind_the_hours()
        if self.progress.stopping or len(self.progress.running) >= self.slots:
            return None
        assignment = self.study.next()
        self.ledger.update()
        if assignment is None:
            return None
        job = assignment.job
        self.progress.running[job.key] = Watched(assignment)
        resources = self.plan.arms[assignment.arm].resources or self.plan.resources
        return {
            "key": job.key,
            "job": job.to_json(),
            "data": str(self.data),
            "store": self.checkpoints.folder.url,
            "threads": resources.cpu,
            "checkpoint_seconds": self.plan.checkpoint_seconds,
            "gpus": _gpus(resources, self.has_gpu),
        }

    def watch(self, key: str, result: dict[str, Any]) -> None:
        """Take in an intermediate result."""
        watched = self.progress.running.get(key)
        if watched is not None:
            watched.progress = result.get("progress", watched.progress)
            watched.score = result.get("score", watched.score)
            watched.seconds = result.get("job_seconds", watched.seconds)
        self._mind_the_hours()

    def _mind_the_hours(self) -> None:
        hours = self.plan.budget.hours
        if hours and time.monotonic() - self.progress.started > hours * 3600:
            self.stop(f"the plan's budget of {hours:g} hours is spent")

    def stop(self, why: str) -> None:
        """Let running jobs write a checkpoint and start nothing new."""
        self.progress.stopping = self.progress.stopping or why

    def end(self, key: str, result: dict[str, Any]) -> None:
        """Write the result of a job that has ended, and make way for those that wait for it."""
        watched = self.progress.running.pop(key, None)
        if watched is None or "outcome" not in result:
            return
        assignment = watched.assignment
        genotype = result.get("genotype")
        found = None if genotype is None else Genotype.from_json(genotype)
        self._write(assignment.job, result, found)
        score = result.get("score")
        ended = Result(
            result["outcome"],
            float("nan") if score is None else score,
            found,
            result.get("compute", 0.0),
            result["job_seconds"],
            result.get("parameters", 0),
            result.get("multiply_adds", 0),
        )
        if ended.failed:
            failure = (assignment, result["outcome"], result.get("detail") or "")
            self.progress.failures.append(failure)
        self.study.tell(key, ended)
        self.progress.ended.append((assignment, ended))
        if not ended.failed:
            self.checkpoints.forget(key)

    def _write(self, job: Job, result: dict[str, Any], found: Genotype | None) -> None:
        attempt = self._attempts[job.key] = self._attempts.get(job.key, -1) + 1
        part = f"{job.key}-{attempt}"
        rows = {
            table: unpack(content).to_pylist()
            for table in RECORDED
            if (content := result.get(f"{table}_rows"))
        }
        trained = None if job.genotype is None else Genotype.from_json(job.genotype)
        shown = [g for g in (trained, found) if g is not None]
        own = [genotype_row(g, _text(job, g)) for g in shown]
        if own:
            rows["genotypes"] = rows.get("genotypes", []) + own
        for table, content in rows.items():
            self.store.add(table, part, content)
        # Last: a job counts as done once this row is there.
        self.store.add("jobs", part, [_row(job, attempt, result, trained, found)])

    def _tune_storage(self) -> str:
        folder = self.checkpoints.folder
        return folder.path("tune") if folder.local else f"{self.store.url.rstrip('/')}/tune"

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop in order at the first SIGINT or SIGTERM, abort at the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: Any) -> None:
            if self.progress.stopping:
                raise KeyboardInterrupt
            self.stop(f"stopped by {signal.Signals(number).name}")

        before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def connect(address: str | None) -> None:
    """Connect to a Ray cluster, or start one on this machine that listens on loopback only.

    Args:
        address: of a cluster; None for one of one's own.

    Raises:
        UserError: nothing answers at ``address``.
    """
    os.environ.update({k: os.environ.get(k, v) for k, v in _QUIET.items()})
    # Ray's own switch, meant for desktops: on Linux a local Ray else listens on every address.
    ray_constants.ENABLE_RAY_CLUSTER = address is not None
    own: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **own,
        )
    except ConnectionError as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from None


def _slots(plan: Plan) -> int:
    """Return how many trials fit the cluster at once. Raises UserError if one does not."""
    there = ray.cluster_resources()
    wanted = max(r.cpu for r in [plan.resources, *_own_resources(plan)])
    cpus = int(there.get("CPU", 0))
    if wanted > cpus:
        raise UserError(
            f"resources.cpu is {wanted} and the cluster has {cpus} CPU cores; ask for at most that"
        )
    return cpus // plan.resources.cpu


def _own_resources(plan: Plan) -> list[Resources]:
    return [arm.resources for arm in plan.arms.values() if arm.resources is not None]


def _gpus(resources: Resources, has_gpu: bool) -> float:
    return float(has_gpu) if resources.gpu == "auto" else float(resources.gpu)


def _resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([{"CPU": config["threads"], "GPU": config["gpus"]}])


def _text(job: Job, genotype: Genotype) -> str:
    assert job.space is not None
    return make_space(job.space).text(genotype)


def _row(
    job: Job,
    attempt: int,
    result: dict[str, Any],
    trained: Genotype | None,
    found: Genotype | None,
) -> dict[str, Any]:
    started = result.get("started_at")
    same = ("metric", "score", "test", "parameters", "multiply_adds", "compute", "host", "device")
    return {
        "key": job.key,
        "attempt": attempt,
        "kind": job.kind,
        "task": job.task.name,
        "fingerprint": job.fingerprint,
        "space": job.space and job.space.name,
        "method": job.method and job.method.name,
        "estimator": job.estimator and job.estimator.name,
        "genotype": trained and trained.key,
        "network": job.network,
        "seed": job.seed,
        "job": job.to_json(),
        "outcome": result["outcome"],
        "detail": result.get("detail"),
        "found": found and found.key,
        "seconds": result["job_seconds"],
        "started": datetime.fromisoformat(started) if started else None,
        "finished": datetime.now(timezone.utc),
        "threads": result.get("threads"),
        "versions": result.get("versions"),
        **{name: result.get(name) for name in same},
    }
