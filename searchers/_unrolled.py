"""The gradient of the validation loss by the architecture, of first and of second order.

Liu et al. 2019, section 2.3. Neither order copies the model: weights that differ from the model's
own are put in for a single call, in which running statistics of batch norm are left as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
    """Gradients by ``architecture`` of the loss of ``network``, as names of its parameters."""

    def __init__(self, network: nn.Module, architecture: Sequence[str], loss: Loss):
        self.network, self.loss = network, loss
        parameters = dict(network.named_parameters())
        self.architecture = {name: parameters[name] for name in architecture}
        self.weights = {n: p for n, p in parameters.items() if n not in self.architecture}

    def first_order(self, valid: Batch) -> tuple[Tensor, ...]:
        """Return the gradient of the validation loss at the present weights."""
        inputs, targets = valid
        loss = self.loss(self.network(inputs), targets)
        return _gradients(loss, list(self.architecture.values()))

    def second_order(self, train: Batch, valid: Batch, unrolling: Unrolling) -> tuple[Tensor, ...]:
        """Return the gradient of the validation loss after one virtual step on ``train``.

        The product of the mixed second derivative with the validation gradient is the paper's
        finite difference (equation 8).
        """
        moved = self._virtual_step(train, unrolling)
        names, unrolled = list(moved), list(moved.values())
        own = list(self.architecture.values())
        gradients = _gradients(self._loss(moved, valid), [*own, *unrolled])
        direct, vector = gradients[: len(own)], gradients[len(own) :]
        length = torch.cat([v.flatten() for v in vector]).norm()
        # Where the gradient is zero, so is the product.
        epsilon = RADIUS / length.clamp(min=1e-12)
        sides = []
        for sign in (1.0, -1.0):
            shifted = {
                name: self.weights[name].detach() + sign * epsilon * v
                for name, v in zip(names, vector, strict=True)
            }
            sides.append(_gradients(self._loss(shifted, train), own))
        return tuple(
            d - unrolling.rate * (plus - minus) / (2 * epsilon)
            for d, plus, minus in zip(direct, *sides, strict=True)
        )

    def _virtual_step(self, train: Batch, unrolling: Unrolling) -> dict[str, Tensor]:
        weights = list(self.weights.values())
        gradients = _gradients(self._loss({}, train), weights)
        moved = {}
        for (name, w), gradient, velocity in zip(
            self.weights.items(), gradients, unrolling.velocities, strict=True
        ):
            direction = unrolling.momentum * velocity + gradient + unrolling.decay * w
            moved[name] = (w - unrolling.rate * direction).detach().requires_grad_()
        return moved

    def _loss(self, weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
        inputs, targets = batch
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        return self.loss(functional_call(self.network, {**weights, **buffers}, inputs), targets)


def _gradients(loss: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    # A shallow supernet may have no normal cell: its parameters then have a gradient of zero.
    return torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
