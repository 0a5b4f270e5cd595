"""Training of one given network: what scores a candidate and evaluates a choice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor, nn

from search_space.cost import cost
from search_space.network import CellNetwork
from search_space.task import Task
from searchers._base import Outcome, Report, StrictParams
from searchers._chance import Chance
from searchers._epochs import PASSES_OF_A_STEP, EpochProgram
from searchers._passes import Evaluation, Pass


class TrainingParams(StrictParams):
    """How a network is trained: SGD with Nesterov momentum, warm-up, then a cosine to zero."""

    epochs: int = pydantic.Field(30, ge=1, description="passes over the training split")
    batch_size: int = pydantic.Field(64, ge=2)
    learning_rate: float = pydantic.Field(0.05, gt=0, description="peak, after the warm-up")
    momentum: float = pydantic.Field(0.9, ge=0, lt=1)
    weight_decay: float = pydantic.Field(3e-4, ge=0)
    warmup: float = pydantic.Field(0.1, ge=0, lt=1, description="share of the steps")
    clip: float = pydantic.Field(5.0, gt=0, description="largest norm of the gradient")
    drop_path: float = pydantic.Field(
        0.0, ge=0, lt=1, description="in the first epoch 0, rising in a line to this after the last"
    )
    precision: Literal["float32", "bfloat16"] = pydantic.Field(
        "float32", description="of the forward pass while training"
    )
    auxiliary: float = pydantic.Field(0.4, ge=0, description="weight of an auxiliary head's loss")


def learning_rate(params: TrainingParams, progress: float) -> float:
    """Return the learning rate when a share ``progress`` of the steps is done."""
    if progress < params.warmup:
        return params.learning_rate * progress / params.warmup
    rest = (progress - params.warmup) / (1 - params.warmup)
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))


def planned_compute(multiply_adds: int, task: Task, params: TrainingParams) -> float:
    """Return the multiply-adds of a whole training, without the evaluation of the test split."""
    an_epoch = PASSES_OF_A_STEP * len(task.train) + len(task.valid)
    return float(multiply_adds) * an_epoch * params.epochs


class Training(EpochProgram):
    """Train a network and measure it on the validation split after every epoch.

    Where the task comes with a test split, that is scored once, at the end.

    Args:
        build: makes the network; called once, with all chance seeded.
        task: what to fit.
        params: how.
        seed: of initialisation, order of the data, augmentation, dropout and drop-path.
        device: where it computes.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        task: Task,
        params: TrainingParams,
        *,
        seed: int,
        device: torch.device,
    ):
        self.params, self.device = params, device
        self.chance = Chance(seed, device)
        with self.chance:
            network = build()
        self.cost = cost(network, task)
        self.network = network.to(device)
        if isinstance(network, CellNetwork) and len(task.spatial) == 2:
            # Depthwise convolutions run 1.2 to 1.3 times as fast this way on a CPU; the dense
            # convolutions of a ResNet on small maps run at 0.7 of their speed.
            self.network.to(memory_format=torch.channels_last)
        self.task = task.to(device)
        self.generator = torch.Generator().manual_seed(seed)
        self.batches = Pass(torch.arange(len(task.train)), params.batch_size, self.generator)
        self.valid = Evaluation(self.task, self.task.valid)
        self.test = None if self.task.test is None else Evaluation(self.task, self.task.test)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=params.learning_rate,
            momentum=params.momentum,
            weight_decay=params.weight_decay,
            nesterov=params.momentum > 0,
        )
        self._begin(device)

    @property
    def progress(self) -> float:
        if self.diverged:
            return 1.0
        if self.epoch == self.params.epochs:
            return 1.0 if self.test is None or self.test.finished else 0.999
        # An epoch's evaluation runs without a backward pass; its end is the epoch's end.
        return (
            0.999
            * (self.epoch + 0.9 * self.batches.position / self.batches.length)
            / (self.params.epochs)
        )

    def _advance(self) -> Report | None:
        if self.epoch < self.params.epochs:
            return self._advance_epoch()
        if self.test is not None:
            self.test.advance(self.network)
            if self.test.finished:
                return self._report(self._also_of_test(self.test))
        return None

    def outcome(self) -> Outcome:
        test = None
        if self.test is not None:
            test = float("nan") if self.diverged else self.test.results()[0]
        share = self.epoch / self.params.epochs if self.diverged else 1.0
        return Outcome(
            score=float("nan") if self.diverged else self.score,
            test=test,
            parameters=self.cost.parameters,
            multiply_adds=self.cost.multiply_adds,
            compute=share * planned_compute(self.cost.multiply_adds, self.task, self.params),
            diverged=self.diverged,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "chance": self.chance.state_dict(),
            "generator": self.generator.get_state(),
            "test": None if self.test is None else self.test.state_dict(),
            **self._record(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.chance.load_state_dict(state["chance"])
        self.generator.set_state(state["generator"].cpu())
        if self.test is not None:
            self.test.load_state_dict(state["test"])
        self._load_record(state)

    def _train(self, rows: Tensor) -> Tensor:
        done = self.epoch + (self.batches.position - 0.5) / self.batches.length
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.params, done / self.params.epochs)
        if isinstance(self.network, CellNetwork):
            self.network.drop_path = self.params.drop_path * self.epoch / self.params.epochs
        rows = rows.to(self.device)
        inputs, targets = self.task.batch(self.task.train, rows, self.generator)
        mixed = self.params.precision == "bfloat16"
        with self.chance, torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            loss = self._loss(self.network(inputs), targets)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.params.clip)
        self.optimizer.step()
        return loss.detach()

    def _loss(self, outputs: Tensor | tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        if isinstance(outputs, Tensor):
            return self.task.loss(outputs, targets)
        main, auxiliary = outputs
        return self.task.loss(main, targets) + self.params.auxiliary * self.task.loss(
            auxiliary, targets
        )

    def _also_of_test(self, test: Evaluation) -> list[tuple[str, str, float]]:
        """Return the further metrics on the test split; the metric itself is in the outcome."""
        if not self.task.output.also:
            return []
        found = test.measured()
        return [("test", metric.name, found[metric.name]) for metric in self.task.output.also]
