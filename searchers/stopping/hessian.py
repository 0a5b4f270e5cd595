"""Hessian: ends when the validation loss becomes sharp in the architecture.

Zela, Elsken, Saikia, Marrakchi, Brox, Hutter: Understanding and Robustifying Differentiable
Architecture Search, ICLR 2020 (R-DARTS), section 4.3: with the dominant eigenvalue of the Hessian
of the validation loss by alpha, smoothed over k = 5 epochs, stop at epoch i if that of epoch i - k
is less than 0.75 of it, and keep the architecture of epoch i - k.

Deviations: the mean is of the last k epochs, not of those around i; the eigenvalue is found by
power iteration on Hessian-vector products, from a fixed start, on one batch of the architecture's
half that is the same in all epochs; it is the one of largest magnitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor
from torch.func import functional_call

from searchers._base import StrictParams
from searchers._chance import stream
from searchers.selections import Bench
from searchers.stopping._base import Evidence, Stopping

# A product costs about as much as differentiating the training loss twice.
_PASSES = 6


class Hessian(Stopping):
    """Stops when the smoothed eigenvalue has grown by a third within some epochs."""

    class Params(StrictParams):
        """The paper's numbers, but for the size of the measurement."""

        window: int = pydantic.Field(5, ge=1, description="epochs")
        ratio: float = pydantic.Field(0.75, gt=0)
        iterations: int = pydantic.Field(10, ge=1, description="of the power method")
        examples: int = pydantic.Field(64, ge=2, description="in its batch")

    mixed: ClassVar[bool] = True
    smoke: ClassVar[dict[str, Any]] = {"window": 1, "iterations": 2, "examples": 4}

    def __init__(self, params: Any):
        super().__init__(params)
        self.values: list[float] = []
        self._restart()

    def _restart(self) -> None:
        self.products = 0
        self.vector: Tensor | None = None
        self.eigenvalue = float("nan")

    @property
    def memory(self) -> int:
        return self.params.window

    @property
    def finished(self) -> bool:
        return self.products == self.params.iterations

    @property
    def share(self) -> float:
        return self.products / self.params.iterations

    def advance(self, bench: Bench) -> None:
        parameters = list(bench.architecture.parameters())
        if self.vector is None:
            count = sum(p.numel() for p in parameters)
            start = torch.randn(count, generator=stream(bench.seed, "hessian"))
            self.vector = start / start.norm()
        self.vector = self.vector.to(parameters[0])
        rows = bench.architecture_rows[: self.params.examples].to(bench.device)
        batch = bench.task.batch(bench.task.train, rows)
        product = hessian_vector(bench, batch, parameters, self.vector)
        self.eigenvalue = float(self.vector @ product)
        self.vector = product / product.norm().clamp(min=torch.finfo(product.dtype).tiny)
        self.products += 1
        bench.charge(bench.architecture.expected(), _PASSES * len(rows))

    def decide(self, evidence: Evidence) -> int | None:
        self.values.append(self.eigenvalue)
        self._restart()
        window = self.params.window
        if len(self.values) < 2 * window:
            return None
        now = sum(self.values[-window:]) / window
        before = sum(self.values[-2 * window : -window]) / window
        return window if now > 0 and before < self.params.ratio * now else None

    def told(self) -> dict[str, float]:
        return {"eigenvalue": self.values[-1]}

    def state_dict(self) -> dict[str, Any]:
        return {
            "values": list(self.values),
            "products": self.products,
            "vector": self.vector,
            "eigenvalue": self.eigenvalue,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values, self.products = list(state["values"]), state["products"]
        self.vector, self.eigenvalue = state["vector"], state["eigenvalue"]


def hessian_vector(
    bench: Bench, batch: tuple[Tensor, Tensor], parameters: Sequence[Tensor], vector: Tensor
) -> Tensor:
    """Return the Hessian of the loss on ``batch`` by flattened ``parameters`` times ``vector``.

    The network is in training mode, whose statistics are the batch's; it keeps its own.
    """
    buffers = {name: buffer.clone() for name, buffer in bench.network.named_buffers()}
    mixtures = bench.architecture.composed()
    outputs = functional_call(bench.network, buffers, (batch[0], mixtures))
    loss = bench.task.loss(outputs, batch[1])
    gradients = torch.autograd.grad(
        loss, parameters, create_graph=True, allow_unused=True, materialize_grads=True
    )
    dot = torch.cat([g.flatten() for g in gradients]) @ vector
    products = torch.autograd.grad(dot, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([p.flatten() for p in products])
