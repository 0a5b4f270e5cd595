"""From a job, which is plain data, to the program that does it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from orchestrator.jobs import Entry, Job
from orchestrator.tasks import TASKS
from search_space.baselines import BASELINES
from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.task import Task
from searchers import METHODS, Program
from searchers._fitting import Fitting
from searchers._training import Training, TrainingParams
from searchers.estimators import ESTIMATORS


def load_task(entry: Entry, root: Path) -> Task:
    """Load a data set from under ``root``. Raises DataError."""
    return TASKS.load(entry.name).load(root, **entry.params)


def make_space(entry: Entry) -> SearchSpace:
    """Make a search space with its parameters."""
    params = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.params.items()}
    return SPACES.load(entry.name)(**params)


def make_program(job: Job, task: Task, *, device: torch.device, threads: int) -> Program:
    """Return the program that does ``job``. Search code gets the task without its test split."""
    if job.kind == "search":
        assert job.space is not None
        assert job.method is not None
        method = METHODS.load(job.method.name)
        params = method.Params(**job.method.params)
        space = make_space(job.space)
        return method(space, task.without_test(), params, seed=job.seed, device=device)
    if job.kind == "candidate":
        assert job.space is not None
        assert job.estimator is not None
        assert job.genotype is not None
        cls = ESTIMATORS.load(job.estimator.name)
        return cls(cls.Params(**job.estimator.params)).program(
            make_space(job.space),
            Genotype.from_json(job.genotype),
            task.without_test(),
            seed=job.seed,
            device=device,
        )
    return _evaluation(job, task, device, threads)


def _evaluation(job: Job, task: Task, device: torch.device, threads: int) -> Program:
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
