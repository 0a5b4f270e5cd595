"""DARTS: gradient descent on the architecture and the weights of a supernet in turn.

Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, ICLR 2019, algorithm 1; defaults
from section A.1 and quark0/darts.

Deviations: the halves of the training data are drawn by a seeded generator; batches of the
architecture's half are drawn without replacement; progress is measured on the task's own
validation split, which neither half contains.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from search_space.cost import cost
from search_space.space import SearchSpace
from search_space.supernet import edges
from search_space.task import Task
from searchers._base import (
    ArchitectureWeight,
    Deadline,
    Measurement,
    Outcome,
    Report,
    Search,
    StrictParams,
)
from searchers._chance import Chance
from searchers._passes import Evaluation, Pass
from searchers._training import PASSES_OF_A_STEP
from searchers._unrolled import ArchitectureGradient, Unrolling

# Forward and backward passes over the weights' batch: one by the step of the weights; the second
# order adds the virtual step and the two sides of the finite difference.
_PASSES = {1: 1, 2: 4}


class Darts(Search):
    """A supernet whose weights fit one half of the training data and its architecture the other."""

    class Params(StrictParams):
        """The paper's search on CIFAR-10."""

        order: Literal[1, 2] = pydantic.Field(1, description="of the architecture's gradient")
        epochs: int = pydantic.Field(50, ge=1)
        channels: int = pydantic.Field(16, ge=2, multiple_of=2)
        layers: int = pydantic.Field(8, ge=1)
        batch_size: int = pydantic.Field(64, ge=2)
        learning_rate: float = pydantic.Field(0.025, gt=0)
        learning_rate_min: float = pydantic.Field(0.001, ge=0, description="end of the cosine")
        momentum: float = pydantic.Field(0.9, ge=0, lt=1)
        weight_decay: float = pydantic.Field(3e-4, ge=0)
        clip: float = pydantic.Field(5.0, gt=0, description="largest norm of the gradient")
        architecture_learning_rate: float = pydantic.Field(3e-4, gt=0)
        architecture_weight_decay: float = pydantic.Field(1e-3, ge=0)
        train_portion: float = pydantic.Field(0.5, gt=0, lt=1, description="share for the weights")

    smoke: ClassVar[dict[str, Any]] = {"epochs": 2, "channels": 2, "layers": 2, "batch_size": 16}

    def __init__(
        self, space: SearchSpace, task: Task, params: Params, *, seed: int, device: torch.device
    ):
        self.space, self.params, self.device = space, params, device
        self.chance = Chance(seed, device)
        with self.chance:
            network = space.supernet(task, channels=params.channels, layers=params.layers)
        self.cost = cost(network, task)
        self.network = network.to(device)
        self.task = task.to(device)
        self.generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(task.train), generator=self.generator)
        cut = int(params.train_portion * len(rows))
        self.weight_batches = Pass(rows[:cut], params.batch_size, self.generator)
        self.architecture_batches = Pass(rows[cut:], params.batch_size, self.generator)
        self.valid = Evaluation(self.task, self.task.valid)
        self._make_optimizers()
        names = [n for n, _ in network.named_parameters() if n.startswith("architecture.")]
        self.gradient = ArchitectureGradient(self.network, names, self.task.loss)
        self.epoch = 0
        self.loss = torch.zeros((), device=device)
        self.score = float("nan")
        self.diverged = False

    @property
    def progress(self) -> float:
        if self.diverged:
            return 1.0
        batches = self.weight_batches
        return (self.epoch + 0.9 * batches.position / batches.length) / self.params.epochs

    def step(self) -> Report:
        deadline = Deadline()
        first = True
        while first or not deadline.over:
            first = False
            if not self.weight_batches.finished:
                self._alternate()
            else:
                self.valid.advance(self.network)
                if self.valid.finished:
                    return self._end_epoch()
        if not torch.isfinite(self.loss):
            self.diverged = True
        return Report()

    def outcome(self) -> Outcome:
        genotype = None if self.diverged else self.space.discretise(self.network)
        return Outcome(
            score=float("nan") if self.diverged else self.score,
            genotype=genotype,
            parameters=self.cost.parameters,
            multiply_adds=self.cost.multiply_adds,
            compute=float(self.cost.multiply_adds) * self._forward_passes(),
            diverged=self.diverged,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "architecture_optimizer": self.architecture_optimizer.state_dict(),
            "chance": self.chance.state_dict(),
            "generator": self.generator.get_state(),
            "weight_batches": self.weight_batches.state_dict(),
            "architecture_batches": self.architecture_batches.state_dict(),
            "valid": self.valid.state_dict(),
            "epoch": self.epoch,
            "loss": self.loss,
            "score": self.score,
            "diverged": self.diverged,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in (
            "network",
            "optimizer",
            "schedule",
            "architecture_optimizer",
            "chance",
            "weight_batches",
            "architecture_batches",
            "valid",
        ):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"].cpu())
        self.epoch, self.score = state["epoch"], state["score"]
        self.loss, self.diverged = state["loss"].to(self.device), state["diverged"]

    def _make_optimizers(self) -> None:
        params = self.params
        self.optimizer = torch.optim.SGD(
            self.network.weight_parameters(),
            lr=params.learning_rate,
            momentum=params.momentum,
            weight_decay=params.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, params.epochs, eta_min=params.learning_rate_min
        )
        self.architecture_optimizer = torch.optim.Adam(
            self.network.architecture_parameters(),
            lr=params.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=params.architecture_weight_decay,
        )

    def _alternate(self) -> None:
        if self.architecture_batches.finished:
            self.architecture_batches.restart()
        train = self._batch(self.weight_batches)
        valid = self._batch(self.architecture_batches)
        if self.params.order == 1:
            gradients = self.gradient.first_order(valid)
        else:
            gradients = self.gradient.second_order(train, valid, self._unrolling())
        architecture = self.network.architecture_parameters()
        for parameter, gradient in zip(architecture, gradients, strict=True):
            parameter.grad = gradient
        self.architecture_optimizer.step()
        weights = self.network.weight_parameters()
        loss = self.task.loss(self.network(train[0]), train[1])
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        nn.utils.clip_grad_norm_(weights, self.params.clip)
        self.optimizer.step()
        self.loss += loss.detach()

    def _batch(self, batches: Pass) -> tuple[Tensor, Tensor]:
        return self.task.batch(self.task.train, batches.next().to(self.device), self.generator)

    def _unrolling(self) -> Unrolling:
        group, state = self.optimizer.param_groups[0], self.optimizer.state
        velocities = [state[w].get("momentum_buffer", torch.zeros_like(w)) for w in group["params"]]
        return Unrolling(group["lr"], group["momentum"], group["weight_decay"], velocities)

    def _end_epoch(self) -> Report:
        train_loss = float(self.loss) / self.weight_batches.length
        if not math.isfinite(train_loss):
            # As in a shorter step, which would have seen it in the middle of the epoch.
            self.diverged = True
            return Report()
        self.score, valid_loss = self.valid.results()
        self.epoch += 1
        self.diverged = not math.isfinite(valid_loss)
        step = self.epoch * self.weight_batches.length
        rows = (
            ("train", "loss", train_loss),
            ("valid", "loss", valid_loss),
            ("valid", self.task.metric.name, self.score),
        )
        self.schedule.step()
        self.weight_batches.restart()
        self.valid.restart()
        self.loss.zero_()
        measurements = tuple(Measurement(step, self.epoch, *row) for row in rows)
        return Report(measurements, tuple(self._architecture_weights()))

    def _architecture_weights(self) -> list[ArchitectureWeight]:
        network, rows = self.network, []
        for cell, table in network.mixture().items():
            for (node, source), weights in zip(edges(network.nodes), table.tolist(), strict=True):
                edge = f"{source}->{node + 2}"
                for operation, weight in zip(network.operations, weights, strict=True):
                    rows.append(ArchitectureWeight(self.epoch, cell, edge, operation, weight))
        return rows

    def _forward_passes(self) -> int:
        """Single examples' forward passes in the finished epochs, a backward pass as two."""
        batches = self.epoch * self.weight_batches.length
        weights = _PASSES[self.params.order] * self.weight_batches.rows_of(batches)
        architecture = self.architecture_batches.rows_of(batches)
        return PASSES_OF_A_STEP * (weights + architecture) + self.epoch * len(self.task.valid)
