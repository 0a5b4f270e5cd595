"""Which arms of a plan make no sense on which of its tasks, as far as only the data can tell."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from orchestrator.errors import PlanError
from orchestrator.plan import Arm, MethodArm, Plan
from search_space.table import Table, TableError
from search_space.task import Task
from searchers.estimators import ESTIMATORS


def check_combinations(plan: Plan, tasks: Mapping[str, Task], source: str) -> None:
    """Raise PlanError, with all faults, where an arm has no meaning on a task.

    A task that is a table of results trains nothing: its arms have to look their scores up, in a
    column that it has, and in a space whose architectures it holds.
    """
    faults = [
        (f"arms.{name}", f"on the task {label}: {fault}")
        for label, task in tasks.items()
        for name, arm in plan.arms.items()
        for fault in _faults(arm, task)
    ]
    if faults:
        raise PlanError(source, faults)


def _faults(arm: Arm, task: Task) -> Iterator[str]:
    looks_up = isinstance(arm, MethodArm) and arm.looks_up
    names = ", ".join(n for n in ESTIMATORS.names() if ESTIMATORS.load(n).looks_up)
    if task.table is None:
        if looks_up:
            others = ", ".join(n for n in ESTIMATORS.names() if not ESTIMATORS.load(n).looks_up)
            yield f"it has no table to look scores up in; choose an estimator that runs: {others}"
    elif not looks_up:
        yield (
            "it is a table of results, on which nothing can be trained; choose a method that "
            f"samples, with the estimator {names}"
        )
    elif isinstance(arm, MethodArm) and arm.estimator is not None:
        yield from _missing(arm, task.table.without_report(), arm.estimator.params["column"])


def _missing(arm: MethodArm, table: Table, column: str) -> Iterator[str]:
    space = arm.space.make()
    try:
        table.value(space.text(space.sample(random.Random(0))), column)
    except TableError as error:
        yield str(error)
