"""Defaults that adapt to the task: what a search takes where its plan doesn't say.

The paper's numbers are those of CIFAR-10 on a GPU for a day. These rules turn a budget of steps and
of memory into numbers for any task, from its shape and size alone: nothing is timed or measured, so
that they are the same on every machine.
"""

from __future__ import annotations

import math

import torch

from search_space.task import Task

EPOCHS = (5, 50)
BATCH = 64  # the paper's
BATCHES_AN_EPOCH = 10  # at least, where there are so many examples

# The paper's search takes 390 architecture steps in each of 50 epochs.
PAPER_STEPS = 19_500
PAPER_ARCHITECTURE_RATE = 3e-4
LARGEST_ARCHITECTURE_RATE = 1e-2

# Rows that the loss of the best constant is found on, and its least value: a task of one class, or
# nearly, must not turn noise into long steps.
CONSTANT_ROWS = 4096
LEAST_SCALE = 0.1


def batch_size(examples: int, bytes_each: float, gigabytes: float) -> int:
    """Return the batch size for ``examples`` of an epoch: at most 64, and what fits the memory.

    Args:
        examples: that the weights are trained on.
        bytes_each: that a step needs for each example of a batch.
        gigabytes: that a step may take.
    """
    fits = int(gigabytes * 2**30 / bytes_each)
    return max(2, min(BATCH, examples // BATCHES_AN_EPOCH, fits))


def epochs(steps: int, batches: int) -> int:
    """Return the number of epochs of ``batches`` that ``steps`` make, from 5 to 50."""
    least, most = EPOCHS
    return min(most, max(least, math.ceil(steps / batches)))


def architecture_rate(steps: int) -> float:
    """Return a rate that takes alpha as far in ``steps`` as the paper's does in its 19,500."""
    scaled = PAPER_ARCHITECTURE_RATE * PAPER_STEPS / max(1, steps)
    return min(LARGEST_ARCHITECTURE_RATE, max(PAPER_ARCHITECTURE_RATE, scaled))


def loss_scale(task: Task) -> float:
    """Return the training loss of the best constant prediction, by which losses are divided.

    The entropy of the classes' shares, 1 for standardised numbers; of any loss, by descent.
    """
    count = len(task.train)
    rows = torch.linspace(0, count - 1, min(count, CONSTANT_ROWS)).round().long()
    targets = task.targets(task.train.rows(rows.to(task.train.targets.device))).cpu()
    if targets.is_floating_point():
        targets = targets.double()
    spatial = task.spatial if task.output.dense else ()
    constant = torch.zeros(1, task.output.size, *[1] * len(spatial), dtype=torch.float64)
    constant.requires_grad_()
    optimizer = torch.optim.LBFGS([constant], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        return task.loss(constant.expand(len(rows), -1, *spatial), targets)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        found = float(loss())
    return max(LEAST_SCALE, found) if math.isfinite(found) else 1.0
