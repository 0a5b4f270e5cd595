"""The gradient of the validation loss by mixture weights, of first and of second order.

Liu et al. 2019, section 2.3, with respect to theta, the weights of a mixture, in place of the
architecture parameters behind them: theta doesn't change within a step, so that the chain rule
leads from it to the parameters once, at the end (searchers/_architecture.py), for any relaxation.

Neither order copies the model: weights that differ from the model's own are put in for a single
call. The second order leaves running statistics of batch norm as they were; the first is one
forward pass of the model itself, which takes in the batch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]

# Norm of the step in the finite difference (equation 8 and its footnote).
RADIUS = 1e-2


@dataclass(frozen=True)
class Unrolling:
    """The virtual weight step ``w' = w - rate * (momentum * velocity + gradient + decay * w)``.

    ``velocities`` are the optimiser's momentum buffers, one for each weight, zeros before its
    first step.
    """

    rate: float
    momentum: float
    decay: float
    velocities: Sequence[Tensor]


class ArchitectureGradient:
    """Gradients by ``theta`` of the loss of ``network(inputs, mixtures)``.

    ``theta`` are leaves that require a gradient and that ``mixtures`` are made of.
    """

    def __init__(self, network: nn.Module, loss: Loss):
        self.network, self.loss = network, loss
        self.weights = dict(network.named_parameters())

    def first_order(
        self, valid: Batch, mixtures: Any, theta: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return the gradient of the validation loss at the present weights."""
        inputs, targets = valid
        return _gradients(self.loss(self.network(inputs, mixtures), targets), theta)

    def second_order(
        self,
        train: Batch,
        valid: Batch,
        mixtures: Any,
        theta: Sequence[Tensor],
        unrolling: Unrolling,
        *,
        exact: bool = False,
    ) -> tuple[Tensor, ...]:
        """Return the gradient of the validation loss after one virtual step on ``train``.

        It holds the product of the training loss's mixed second derivative, by weights and theta,
        with the validation gradient: the paper's finite difference (equation 8), or ``exact``, by
        differentiating twice.
        """
        moved = self._virtual_step(train, mixtures, unrolling)
        count = len(theta)
        gradients = _gradients(self._loss(moved, valid, mixtures), [*theta, *moved.values()])
        direct, vector = gradients[:count], gradients[count:]
        product = self._mixed if exact else self._difference
        return tuple(
            d - unrolling.rate * p
            for d, p in zip(direct, product(train, mixtures, theta, vector), strict=True)
        )

    def _virtual_step(self, train: Batch, mixtures: Any, unrolling: Unrolling) -> dict[str, Tensor]:
        gradients = _gradients(self._loss({}, train, mixtures), list(self.weights.values()))
        moved = {}
        for (name, w), gradient, velocity in zip(
            self.weights.items(), gradients, unrolling.velocities, strict=True
        ):
            direction = unrolling.momentum * velocity + gradient + unrolling.decay * w
            moved[name] = (w - unrolling.rate * direction).detach().requires_grad_()
        return moved

    def _difference(
        self, train: Batch, mixtures: Any, theta: Sequence[Tensor], vector: Sequence[Tensor]
    ) -> list[Tensor]:
        length = torch.cat([v.flatten() for v in vector]).norm()
        # Where the gradient is zero, so is the product.
        epsilon = RADIUS / length.clamp(min=1e-12)
        sides = []
        for sign in (1.0, -1.0):
            shifted = {
                name: w.detach() + sign * epsilon * v
                for (name, w), v in zip(self.weights.items(), vector, strict=True)
            }
            sides.append(_gradients(self._loss(shifted, train, mixtures), theta))
        return [(plus - minus) / (2 * epsilon) for plus, minus in zip(*sides, strict=True)]

    def _mixed(
        self, train: Batch, mixtures: Any, theta: Sequence[Tensor], vector: Sequence[Tensor]
    ) -> list[Tensor]:
        loss = self._loss({}, train, mixtures)
        gradients = _gradients(loss, list(self.weights.values()), create_graph=True)
        dot = torch.stack([(g * v).sum() for g, v in zip(gradients, vector, strict=True)]).sum()
        if not dot.requires_grad:  # no weight and no theta meet anywhere
            return [torch.zeros_like(t) for t in theta]
        return list(_gradients(dot, theta))

    def _loss(self, weights: Mapping[str, Tensor], batch: Batch, mixtures: Any) -> Tensor:
        inputs, targets = batch
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        outputs = functional_call(self.network, {**weights, **buffers}, (inputs, mixtures))
        return self.loss(outputs, targets)


def _gradients(
    loss: Tensor, inputs: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    # A shallow supernet may have no normal cell: its mixture then has a gradient of zero.
    return torch.autograd.grad(
        loss, inputs, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
