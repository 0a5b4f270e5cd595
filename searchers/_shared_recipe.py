"""The parameters of methods that train shared weights, and what adapts to the task."""

from __future__ import annotations

from typing import TypeVar

import pydantic

from search_space.task import Task
from searchers import _adaptation as adaptation
from searchers._base import StrictParams

P = TypeVar("P", bound="SharedRecipe")


class SharedRecipe(StrictParams):
    """How shared weights are trained; what is left out or null adapts to the task."""

    steps: int = pydantic.Field(2000, ge=1, description="of the weights, which make the epochs")
    epochs: int | None = pydantic.Field(None, ge=1)
    channels: int = pydantic.Field(8, ge=2, multiple_of=2)
    layers: int = pydantic.Field(5, ge=1)
    batch_size: int | None = pydantic.Field(None, ge=2)
    learning_rate: float = pydantic.Field(0.05, gt=0)
    learning_rate_min: float = pydantic.Field(0.001, ge=0, description="end of the cosine")
    momentum: float = pydantic.Field(0.9, ge=0, lt=1)
    weight_decay: float = pydantic.Field(1e-4, ge=0)
    clip: float = pydantic.Field(5.0, gt=0, description="largest norm of the gradient")
    loss_scale: float | None = pydantic.Field(None, gt=0, description="what losses are divided by")
    train_portion: float = pydantic.Field(0.5, gt=0, lt=1, description="share for the weights")
    examples: int = pydantic.Field(1000, ge=1, description="held out, that scores are of")
    refit: int = pydantic.Field(8, ge=1, description="batches that statistics are fitted to")


def completed(params: P, task: Task, examples: int) -> P:
    """Return ``params`` with what adapts filled in, for ``examples`` to train on."""
    size = params.batch_size or max(
        2, min(adaptation.BATCH, examples // adaptation.BATCHES_AN_EPOCH)
    )
    return params.model_copy(
        update={
            "batch_size": size,
            "epochs": params.epochs or adaptation.epochs(params.steps, max(1, examples // size)),
            "loss_scale": params.loss_scale or adaptation.loss_scale(task),
        }
    )
