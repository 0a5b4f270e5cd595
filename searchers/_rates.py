"""A learning rate by a short range test: the rate grows until the loss explodes.

Smith: Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3; on a
logarithmic scale and with a smoothed loss, as practice has it. In so few steps a loss falls little
and, where targets have long tails, differs by a factor of three between batches: where it is
lowest is chance. Where it explodes is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from searchers._alternation import descend
from searchers._passes import Pass

# From the smallest rate to the largest in so many steps.
STEPS = 36
SMALLEST, LARGEST = 1e-4, 1.0
SMOOTHING = 0.8  # of the exponential mean of the losses
FIRST = 6  # losses at rates that change nothing yet; their mean is what the others are held against
EXPLODED = 2.0  # times that mean
MARGIN = 10.0  # below the largest rate at which the smoothed loss has not exploded
ALLOWED = (5e-3, 0.1)


class RangeTest:
    """Trains the weights at growing rates, then puts them back as they were.

    Args:
        network: its parameters are trained and its buffers change, for the time of the test.
        rows, batch_size: of the training.
        loss: takes a batch's rows and a generator for all chance, and returns the loss with its
            graph.
        generator: which that is: the rest of a search's chance doesn't depend on the test.
        momentum, weight_decay, clip: of the training that the rate is for.
    """

    def __init__(
        self,
        network: nn.Module,
        rows: Tensor,
        batch_size: int,
        loss: Callable[[Tensor, torch.Generator], Tensor],
        generator: torch.Generator,
        *,
        momentum: float,
        weight_decay: float,
        clip: float,
    ):
        self.network, self.loss, self.clip = network, loss, clip
        self.generator = generator
        self.batches = Pass(rows, batch_size, generator)
        self.weights = list(network.parameters())
        self.optimizer = torch.optim.SGD(
            self.weights, lr=SMALLEST, momentum=momentum, weight_decay=weight_decay
        )
        self.losses: list[float] = []
        self.before: dict[str, Tensor] | None = None
        self.finished = False

    def advance(self) -> None:
        """Take one step; after the last one the network is as it was before the first."""
        if self.before is None:
            self.before = {k: v.clone() for k, v in self.network.state_dict().items()}
        if self.batches.finished:
            self.batches.restart()
        loss = self.loss(self.batches.next(), self.generator)
        descend(self.optimizer, loss, rate_at(len(self.losses)), self.clip)
        self.losses.append(float(loss.detach()))
        if exploded(self.losses) or len(self.losses) == STEPS:
            self.network.load_state_dict(self.before)
            for weight in self.weights:
                weight.grad = None
            self.before, self.finished = None, True
            self.optimizer.state.clear()

    @property
    def share(self) -> float:
        """Share of the test that is done."""
        return 1.0 if self.finished else len(self.losses) / STEPS

    def result(self) -> float:
        """Return the rate that was found."""
        return choose(self.losses)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the test depends on but the network."""
        return {
            "losses": list(self.losses),
            "before": self.before,
            "finished": self.finished,
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to what :meth:`state_dict` returned."""
        self.losses, self.finished = list(state["losses"]), state["finished"]
        self.before = state["before"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state["batches"])
        self.generator.set_state(state["generator"].cpu())


def rate_at(step: int) -> float:
    """Return the rate of a step of the test, from 0."""
    return SMALLEST * (LARGEST / SMALLEST) ** (step / (STEPS - 1))


def exploded(losses: list[float]) -> bool:
    """Whether the smoothed loss has left where it began, upwards, at the last of the steps."""
    if not math.isfinite(losses[-1]):
        return True
    mean = 0.0
    for loss in losses:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
    smooth = mean / (1 - SMOOTHING ** len(losses))
    first = losses[:FIRST]
    return len(losses) > FIRST and smooth > EXPLODED * abs(sum(first) / len(first))


def choose(losses: list[float]) -> float:
    """Return the rate for a training, from the losses of a test's steps, the last one included.

    A factor below the largest at which the loss had not exploded.
    """
    last = len(losses) - 1
    highest = max(0, last - 1) if exploded(losses) else last
    least, most = ALLOWED
    return min(most, max(least, rate_at(highest) / MARGIN))
