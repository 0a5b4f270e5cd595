"""The two optimisers of a DARTS search, in turn: Liu et al. 2019, algorithm 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from search_space.mixture import Mixtures
from search_space.supernet import Supernet
from searchers._architecture import Architecture, Draw
from searchers._epochs import PASSES_OF_A_STEP
from searchers._unrolled import ArchitectureGradient, Batch, Unrolling
from searchers.penalties import Penalty

Computed = tuple[Mixtures, int]
"""What went through a supernet: the mixtures, and passes times examples, a backward pass as two."""

Order = Literal["first", "finite_difference", "exact"]

# Passes over a weights' batch that an architecture step of each order takes beside the one over
# the architecture's, a backward pass as two: the virtual step (3), then either the two sides of the
# difference (6), or a pass that is differentiated twice (3 and 3 again).
_EXTRA_PASSES: dict[Order, int] = {"first": 0, "finite_difference": 9, "exact": 9}


class Alternation:
    """Steps of the architecture on one batch and of the weights on another.

    Args:
        network, architecture: what is trained.
        loss: of (outputs, targets); what both optimisers see.
        penalty: added to the loss of the architecture's step.
        order: of the architecture's gradient.
        momentum, weight_decay, clip: of the weights' SGD; its rate is set before each step.
        architecture_rate, architecture_decay: of the architecture's Adam.
        generator: of the chance in a relaxation.
    """

    def __init__(
        self,
        network: Supernet,
        architecture: Architecture,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        penalty: Penalty | None,
        order: Order,
        momentum: float,
        weight_decay: float,
        clip: float,
        architecture_rate: float,
        architecture_decay: float,
        generator: torch.Generator,
    ):
        self.network, self.architecture, self.loss = network, architecture, loss
        self.penalty, self.order, self.clip = penalty, order, clip
        self.generator = generator
        self.gradient = ArchitectureGradient(network, loss)
        self.weights = list(network.parameters())
        self.optimizer = torch.optim.SGD(
            self.weights, lr=0.0, momentum=momentum, weight_decay=weight_decay
        )
        self.architecture_optimizer = torch.optim.Adam(
            architecture.parameters(),
            lr=architecture_rate,
            betas=(0.5, 0.999),  # section A.1
            weight_decay=architecture_decay,
        )

    def architecture_step(
        self, train: Batch, valid: Batch, rate: float, progress: float
    ) -> Computed:
        """Move the architecture by the gradient of the loss on ``valid``.

        Args:
            train: the batch of the weights' next step, for the second order.
            valid: a batch of the architecture's half.
            rate: of the weights' next step.
            progress: share of the search that is done.
        """
        draw = self.architecture.draw(progress, self.generator)
        gradients = self._gradients(draw, train, valid, rate)
        term = self.architecture.penalty(self.penalty, progress) if self.penalty else None
        parameters = list(self.architecture.parameters())
        pulled = draw.pull_back(parameters, gradients, term)
        for parameter, gradient in zip(parameters, pulled, strict=True):
            parameter.grad = gradient
        self.architecture_optimizer.step()
        passes = PASSES_OF_A_STEP * len(valid[0]) + _EXTRA_PASSES[self.order] * len(train[0])
        return draw.mixtures, passes

    def weights_step(
        self, train: Batch, rate: float, progress: float, mixtures: Mixtures | None = None
    ) -> tuple[Tensor, Computed]:
        """Move the weights; return their loss on ``train``, detached, and what was computed.

        Weights that a sampled mixture does not hold coast on momentum and decay. Without
        ``mixtures`` they are drawn.
        """
        if mixtures is None:
            with torch.no_grad():
                mixtures = self.architecture.draw(progress, self.generator).mixtures
        loss = self.loss(self.network(train[0], mixtures), train[1])
        descend(self.optimizer, loss, rate, self.clip)
        return loss.detach(), (mixtures, PASSES_OF_A_STEP * len(train[0]))

    def _gradients(self, draw: Draw, train: Batch, valid: Batch, rate: float) -> tuple[Tensor, ...]:
        if self.order == "first":
            return self.gradient.first_order(valid, draw.mixtures, draw.leaves)
        return self.gradient.second_order(
            train,
            valid,
            draw.mixtures,
            draw.leaves,
            self._unrolling(rate),
            exact=self.order == "exact",
        )

    def _unrolling(self, rate: float) -> Unrolling:
        group, state = self.optimizer.param_groups[0], self.optimizer.state
        velocities = [state[w].get("momentum_buffer", torch.zeros_like(w)) for w in group["params"]]
        return Unrolling(rate, group["momentum"], group["weight_decay"], velocities)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later steps depend on but the batches."""
        return {
            "network": self.network.state_dict(),
            "architecture": self.architecture.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "architecture_optimizer": self.architecture_optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to what :meth:`state_dict` returned."""
        for name in ("network", "architecture", "optimizer", "architecture_optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"].cpu())


def descend(optimizer: torch.optim.SGD, loss: Tensor, rate: float, clip: float) -> None:
    """Take a step of ``rate`` on the optimiser's weights, with the gradient's norm clipped.

    Not by ``backward``, which would leave gradients on whatever else the loss hangs on.
    """
    (group,) = optimizer.param_groups
    group["lr"] = rate
    gradients = torch.autograd.grad(
        loss, group["params"], allow_unused=True, materialize_grads=True
    )
    for weight, gradient in zip(group["params"], gradients, strict=True):
        weight.grad = gradient
    nn.utils.clip_grad_norm_(group["params"], clip)
    optimizer.step()
