"""Petridish: a cell grows node by node, by what lowers the loss of the network that is there.

Hu, Langford, Caruana, Mukherjee, Horvitz, Dey: Efficient Forward Architecture Search, NeurIPS 2019,
section 3. While the network trains, every operation on every earlier state is a candidate for its
next node, behind a stop-gradient and a stop-forward; an L1 penalty on their weights makes few of
them matter. The strongest become the node, the network goes on with its weights, and the next node
is grown, until the cell is complete; then it trains alone.

Deviations: the cell is of the search space, with two inputs for each node (the paper's grows to any
size, with three), so the cell starts from nodes that pass on its newer input and each is replaced
once; nodes of both kinds grow at the same time; one network grows, there is no queue of parents to
choose from. The penalty's weight is the paper's; what is left out adapts to the task: see
docs/one_shot.md.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

from search_space.genotype import Genotype
from search_space.growing import Choices, GrowingNetwork
from search_space.mixture import edges
from search_space.space import SearchSpace
from search_space.supernet import TextbookSupernet
from search_space.task import Task
from searchers import _adaptation as adaptation
from searchers._base import ArchitectureWeight, Outcome, Search, StrictParams
from searchers._chance import Chance
from searchers._epochs import PASSES_OF_A_STEP, EpochProgram
from searchers._passes import Evaluation, Pass
from searchers._prices import Shape, prices
from searchers._schedule import cosine

_ALMOST = 0.999


class Petridish(EpochProgram, Search):
    """One network that trains all the time and whose cells grow in the course of it."""

    class Params(StrictParams):
        """How the network trains and what its candidates cost."""

        steps: int = pydantic.Field(2000, ge=1, description="which make the epochs")
        epochs: int | None = pydantic.Field(None, ge=1)
        channels: int = pydantic.Field(8, ge=2, multiple_of=2)
        layers: int = pydantic.Field(5, ge=1)
        batch_size: int | None = pydantic.Field(None, ge=2)
        learning_rate: float = pydantic.Field(0.025, gt=0)
        learning_rate_min: float = pydantic.Field(0.001, ge=0, description="end of the cosine")
        momentum: float = pydantic.Field(0.9, ge=0, lt=1)
        weight_decay: float = pydantic.Field(3e-4, ge=0)
        clip: float = pydantic.Field(5.0, gt=0, description="largest norm of the gradient")
        loss_scale: float | None = pydantic.Field(None, gt=0)
        l1: float = pydantic.Field(1e-3, ge=0, description="weight of the candidates' penalty")

    smoke: ClassVar[dict[str, Any]] = {"epochs": 3, "channels": 2, "layers": 2, "batch_size": 16}

    network: GrowingNetwork

    def __init__(
        self, space: SearchSpace, task: Task, params: Params, *, seed: int, device: torch.device
    ):
        self.space, self.params, self.device = space, params, device
        self.chance = Chance(seed, device)
        self.task = task.to(device)
        self.generator = torch.Generator().manual_seed(seed)
        with self.chance:
            supernet = space.supernet(
                task, channels=params.channels, layers=params.layers, fast=False
            )
        assert isinstance(supernet, TextbookSupernet)
        shape = {name: supernet.shape[name] for name in Shape.__dataclass_fields__}
        self.prices = prices(task, Shape(**shape))
        self.network = GrowingNetwork(supernet).to(device)
        examples = len(task.train)
        size = params.batch_size or max(
            2, min(adaptation.BATCH, examples // adaptation.BATCHES_AN_EPOCH)
        )
        self.batches = Pass(torch.arange(examples), size, self.generator)
        epochs = params.epochs or adaptation.epochs(params.steps, self.batches.length)
        self.epochs = max(epochs, supernet.nodes + 1)  # each node needs one, and so does the end
        self.loss_scale = params.loss_scale or adaptation.loss_scale(task)
        self.valid = Evaluation(self.task, self.task.valid)
        self.optimizer = torch.optim.SGD(
            [
                {"params": list(supernet.parameters()), "weight_decay": params.weight_decay},
                {"params": list(self.network.alpha.values()), "weight_decay": 0.0},
            ],
            lr=params.learning_rate,
            momentum=params.momentum,
        )
        self.spent = self.booked = 0  # multiply-adds: as they are spent, and of what is finished
        self._begin(device)

    @property
    def progress(self) -> float:
        if self.diverged or self.epoch == self.epochs:
            return 1.0
        share = 0.9 * self.batches.position / self.batches.length + 0.1 * self.valid.share
        return min(_ALMOST, (self.epoch + share) / self.epochs)

    def outcome(self) -> Outcome:
        return Outcome(
            score=math.nan if self.diverged else self.score,
            genotype=None if self.diverged else self._genotype(),
            parameters=sum(p.numel() for p in self.network.supernet.parameters()),
            multiply_adds=self.prices.of(self.network.mixtures(candidates=False)),
            compute=float(self.booked),
            diverged=self.diverged,
        )

    def state_dict(self) -> dict[str, Any]:
        chosen = {
            kind: [[list(choice) for choice in node] for node in nodes]
            for kind, nodes in self.network.chosen.items()
        }
        return {
            "network": self.network.state_dict(),
            "chosen": chosen,
            "optimizer": self.optimizer.state_dict(),
            "chance": self.chance.state_dict(),
            "generator": self.generator.get_state(),
            "spent": self.spent,
            "booked": self.booked,
            **self._record(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("network", "optimizer", "chance"):
            getattr(self, name).load_state_dict(state[name])
        self.network.chosen = {
            kind: [tuple((row, column) for row, column in node) for node in nodes]
            for kind, nodes in state["chosen"].items()
        }
        self.generator.set_state(state["generator"].cpu())
        self.spent, self.booked = state["spent"], state["booked"]
        self._load_record(state)

    def _train(self, rows: Tensor) -> Tensor:
        done = self.epoch + (self.batches.position - 1) / self.batches.length
        rate = cosine(self.params.learning_rate, self.params.learning_rate_min, done / self.epochs)
        inputs, targets = self.task.batch(self.task.train, rows.to(self.device), self.generator)
        loss = self.task.loss(self.network(inputs), targets) / self.loss_scale
        self.spent += PASSES_OF_A_STEP * len(rows) * self.prices.of(self.network.mixtures(True))
        self.optimizer.zero_grad(set_to_none=True)
        (loss + self.params.l1 * self._size_of_candidates()).backward()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Apart, or what candidates want would slow the network down.
        for group in self.optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], self.params.clip)
        self.optimizer.step()
        return loss.detach() * self.loss_scale

    def _size_of_candidates(self) -> Tensor:
        """Return the L1 norm of the weights of the candidates."""
        if self.network.complete:
            return torch.zeros((), device=self.device)
        rows = self.network.rows[self.network.size]
        return torch.stack([table[rows].abs().sum() for table in self.network.alpha.values()]).sum()

    def _measure(self) -> bool:
        self.spent += self.valid.next_rows * self.prices.of(self.network.mixtures(False))
        return super()._measure()

    def _weights(self) -> list[ArchitectureWeight]:
        """Return the weights of the present candidates."""
        if self.network.complete:
            return []
        places, rows = edges(self.network.supernet.nodes), self.network.rows[self.network.size]
        return [
            ArchitectureWeight(
                self.epoch, kind, f"{places[row][1]}->{places[row][0] + 2}", name, weight
            )
            for kind, table in self.network.alpha.items()
            for row in rows
            for name, weight in zip(
                self.network.supernet.operations, table[row].tolist(), strict=True
            )
        ]

    def _after_epoch(self) -> None:
        self.booked = self.spent
        nodes = self.network.supernet.nodes
        due = round(self.epochs * (self.network.size + 1) / (nodes + 1))
        if self.epoch >= due and not self.network.complete and not self.diverged:
            self.network.grow(self._strongest())

    def _strongest(self) -> dict[str, Choices]:
        """Return for each kind the edges of the next node with the largest weights."""
        tables = {kind: table.detach().abs() for kind, table in self.network.alpha.items()}
        cells = self.space.cells(self.space.discretise(self._both(tables)))
        node, operations = self.network.size, self.network.supernet.operations
        first = self.network.rows[node][0]
        return {
            kind: tuple(
                (first + edge.source, operations.index(edge.operation))
                for edge in cells[kind].nodes[node]
            )
            for kind in tables
        }

    def _genotype(self) -> Genotype:
        tables = {kind: torch.zeros_like(table) for kind, table in self.network.alpha.items()}
        for kind, table in tables.items():
            for row, column in (choice for node in self.network.chosen[kind] for choice in node):
                table[row, column] = 1.0
        return self.space.discretise(self._both(tables))

    @staticmethod
    def _both(tables: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return tables of both kinds; a network too shallow for one takes the other's."""
        (some, *_) = tables.values()
        return {kind: tables.get(kind, some) for kind in ("normal", "reduce")}
