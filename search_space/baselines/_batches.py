"""The training split as a model that is not a network wants it: in order, targets as numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from search_space.task import Task


def training_batches(task: Task, size: int = 1024) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield float inputs ``[n, C, ...]`` and targets ``[n, ...]`` on the CPU, ``size`` rows a time.

    Both are as networks see them (:meth:`Task.batch`), but that a class is a row of zeros with a
    one at its number: the mean of such rows is the share of each class.
    """
    for indices in torch.arange(len(task.train)).split(size):
        inputs, targets = task.batch(task.train, indices.to(task.train.inputs.device))
        if targets.dim() == 1:
            targets = functional.one_hot(targets.long(), task.output.size).float()
        yield inputs.cpu(), targets.cpu()
