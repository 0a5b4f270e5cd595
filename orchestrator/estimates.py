"""Estimates of time before anything runs, from a few steps of every kind of job, really done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from orchestrator.jobs import Job
from orchestrator.plan import MethodArm, Plan
from orchestrator.programs import make_program
from orchestrator.study import Forecast
from search_space.task import Task
from searchers._base import STEP_SECONDS

# Long enough for a rate, short enough to wait for; at least two batches whatever they take.
CALIBRATION_SECONDS = 0.7


@dataclass(frozen=True)
class Estimate:
    """What the jobs of one kind of an arm will take: ``each`` and ``total`` seconds of a trial."""

    forecast: Forecast
    each: float
    total: float


def estimate(
    plan: Plan, forecasts: Sequence[Forecast], tasks: Mapping[str, Task]
) -> list[Estimate]:
    """Time a few batches of every kind of job of a plan, in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.resources.cpu)
    measured: dict[tuple[str, str], float] = {}
    found: list[Estimate] = []
    for one in forecasts:
        # Arms that evaluate cells of one space train networks of about one size.
        space = one.example.space.name if one.example.space else one.example.network
        what = f"{one.kind} {space} {one.example.method} {one.example.estimator}"
        like = (one.task, what)
        if like not in measured:
            measured[like] = _seconds(one.example, tasks[one.task])
        each = measured[like]
        total = each * one.total if one.total is not None else _as_other(plan, one, found)
        found.append(Estimate(one, each, total))
    torch.set_num_threads(threads)
    return found


def _as_other(plan: Plan, one: Forecast, found: Sequence[Estimate]) -> float:
    """An arm with the budget of another takes about as long as that one's searches."""
    arm = plan.arms[one.arm]
    assert isinstance(arm, MethodArm)
    other = arm.budget.same_as if arm.budget else None
    known = [e for e in found if e.forecast.arm == other and e.forecast.task == one.task]
    return next((e.total for e in known if e.forecast.kind != "evaluate"), 0.0)


def _seconds(job: Job, task: Task) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    program = make_program(job, task, device=device, threads=1)
    token = STEP_SECONDS.set(0.0)
    try:
        begun = time.monotonic()
        program.step()  # the first batch pays for much that later ones find done
        first = time.monotonic() - begun
        if program.done:
            return first
        STEP_SECONDS.set(CALIBRATION_SECONDS)
        before, begun = program.progress, time.monotonic()
        program.step()
        elapsed, gained = time.monotonic() - begun, program.progress - before
        return first + elapsed * (1 - before) / max(gained, 1e-9)
    finally:
        STEP_SECONDS.reset(token)
