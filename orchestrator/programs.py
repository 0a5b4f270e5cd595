"""From a job, which is plain data, to the program that does it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from orchestrator.jobs import Entry, Job
from orchestrator.tasks import TASKS
from search_space.baselines import BASELINES
from search_space.cost import cost
from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.table import TableError
from search_space.task import DataError, Task
from searchers import METHODS, Outcome, Program
from searchers._fitting import Fitting
from searchers._inline import InlineSearch
from searchers._lookup import Lookup
from searchers._training import Training, TrainingParams
from searchers.estimators import ESTIMATORS, Estimator
from searchers.estimators._base import Legacy, RecallingEstimator


def load_task(entry: Entry, root: Path) -> Task:
    """Load a data set from under ``root``. Raises DataError."""
    return TASKS.load(entry.name).load(root, **entry.params)


def make_space(entry: Entry) -> SearchSpace:
    """Make a search space with its parameters."""
    params = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.params.items()}
    return SPACES.load(entry.name)(**params)


def make_program(
    job: Job,
    task: Task,
    *,
    device: torch.device,
    threads: int,
    legacies: Callable[[str], Legacy] | None = None,
) -> Program:
    """Return the program that does ``job``. Search code gets the task without its test split.

    ``legacies`` returns what an earlier job left, by its key, for jobs that recall some.
    """
    if job.kind == "search":
        assert job.space is not None
        assert job.method is not None
        if job.estimator is not None:
            return _inline(job, task, device)
        method = METHODS.load(job.method.name)
        params = method.Params(**job.method.params)
        space = make_space(job.space)
        return method(space, task.without_test(), params, seed=job.seed, device=device)
    if job.kind == "candidate":
        assert job.space is not None
        assert job.estimator is not None
        assert job.genotype is not None
        estimator = _estimator(job.estimator)
        recalling = isinstance(estimator, RecallingEstimator)
        return estimator.program(
            make_space(job.space),
            Genotype.from_json(job.genotype),
            task.without_test(),
            seed=job.seed,
            device=device,
            **({"recalled": job.recalled, "legacies": legacies} if recalling else {}),
        )
    return _evaluation(job, task, device, threads)


def _estimator(entry: Entry) -> Estimator:
    cls = ESTIMATORS.load(entry.name)
    return cls(cls.Params(**entry.params))


def _inline(job: Job, task: Task, device: torch.device) -> Program:
    assert job.space is not None
    assert job.method is not None
    assert job.estimator is not None
    assert job.budget is not None
    method = METHODS.load(job.method.name)
    params = method.Params(**job.method.params)
    limits = job.limits or {}
    evaluated = limits.get("evaluated")
    return InlineSearch(
        method(make_space(job.space), params, seed=job.seed),
        _estimator(job.estimator),
        task.without_test(),
        budget=job.budget,
        limits=limits.get("at_most"),
        evaluated=evaluated and (evaluated["channels"], evaluated["layers"]),
        seed=job.seed,
        device=device,
    )


def _look_up(job: Job, task: Task) -> Program:
    """Report what a table has of a genotype, with the costs of its network."""
    assert job.space is not None
    assert job.genotype is not None
    assert job.training is not None
    assert task.table is not None
    space, genotype = make_space(job.space), Genotype.from_json(job.genotype)
    try:
        reported = task.table.report(space.text(genotype))
    except TableError as error:
        raise DataError(str(error)) from None
    with torch.device("meta"):
        counted = cost(space.build(genotype, task, **job.training), task)
    outcome = Outcome(
        math.nan, reported[task.table.reported[0]], None, counted.parameters, counted.multiply_adds
    )
    return Lookup(outcome, {f"table:{name}": value for name, value in reported.items()})


def _evaluation(job: Job, task: Task, device: torch.device, threads: int) -> Program:
    if task.table is not None:
        return _look_up(job, task)
    if job.training is None:
        assert job.network is not None
        predictor = BASELINES.load(job.network)
        return Fitting(lambda t: predictor(t, seed=job.seed, threads=threads), task)
    size = {k: v for k, v in job.training.items() if k not in TrainingParams.model_fields}
    params = TrainingParams(**{k: v for k, v in job.training.items() if k not in size})

    def build() -> nn.Module:
        if job.network is not None:
            return BASELINES.load(job.network)(task)
        assert job.space is not None
        assert job.genotype is not None
        genotype = Genotype.from_json(job.genotype)
        space = make_space(job.space)
        return space.build(genotype, task, auxiliary=params.auxiliary > 0, **size)

    return Training(build, task, params, seed=job.seed, device=device)
