"""Labels: what jobs are called in tables, such as ``training(epochs=3)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.jobs import Entry, Job
from orchestrator.plan import EstimatorChoice, Evaluate
from search_space.shelf import BrokenEntryError, UnknownEntryError


def estimator_label(entry: Entry) -> str:
    """Return the estimator's name, with parameters that are not default."""
    try:
        defaults = EstimatorChoice.model_validate(entry.name).entry().params
    except (UnknownEntryError, BrokenEntryError, ValueError):  # of another version of the program
        defaults = {}
    return _called(entry.name, entry.params, defaults)


def training_label(job: Job) -> str:
    """Return "evaluate" with what is not the default of the recipe."""
    defaults = Evaluate().model_dump(mode="json")
    return _called("evaluate", job.training or {}, defaults)


def _called(name: str, params: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    given = {key: value for key, value in params.items() if defaults.get(key) != value}
    if not given:
        return name
    return f"{name}({', '.join(f'{key}={_short(value)}' for key, value in given.items())})"


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
