"""What searches with shared weights have in common: train paths, then choose by scores.

Epoch after epoch the weights are trained on one part of the training data, a single architecture
at each step. Then architectures are scored with these weights on the other part, with statistics of
batch norm of their own, and the best is measured on the validation split, which nothing was chosen
by.
"""

from __future__ import annotations

import abc
import math
import random
from typing import Any

import torch
from torch import Tensor, nn

from search_space.genotype import Genotype
from search_space.shared import SharedWeights
from search_space.space import SearchSpace
from search_space.task import Task
from searchers import _plain
from searchers._base import Measurement, Outcome, Report, Search
from searchers._chance import Chance
from searchers._epochs import EpochProgram, Row
from searchers._passes import EVALUATION_BATCH, Evaluation, Pass, halves
from searchers._refit import Refit
from searchers._schedule import cosine
from searchers._shared_recipe import completed
from searchers._spending import Meter

# Share of an epoch that its batches take, about; of a search that its epochs take.
_TRAINING, _EPOCHS = 0.85, 0.7

# Progress while there is something left to do.
_ALMOST = 0.999


class OneShot(EpochProgram, Search):
    """A search that trains single paths of shared weights and scores architectures with them.

    Whoever derives from it says which architecture a step trains (:meth:`_path`), which one is
    measured after an epoch (:meth:`_standing`), and which are scored at the end (:meth:`_next`).
    """

    needs = "shared"

    network: SharedWeights

    def __init__(
        self, space: SearchSpace, task: Task, params: Any, *, seed: int, device: torch.device
    ):
        self.space, self.seed, self.device = space, seed, device
        self.chance = Chance(seed, device)
        self.task = task.to(device)
        self.generator = torch.Generator().manual_seed(seed)
        rows, self.held = halves(task, params.train_portion, self.generator)
        self.params = params = completed(params, task, len(rows))
        with self.chance:
            network = space.shared(task, channels=params.channels, layers=params.layers)
        self.network = network.to(device)
        self.meter = Meter(self.network, self.task)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=params.learning_rate,
            momentum=params.momentum,
            weight_decay=params.weight_decay,
            nesterov=params.momentum > 0,
        )
        self.batches = Pass(rows, params.batch_size, self.generator)
        self.valid = Evaluation(self.task, self.task.valid)
        self.refit = Refit(self.network, self.task, rows, params.batch_size, params.refit, seed)
        scored = self.held[: params.examples].to(device)
        # All that scores are of, and the first batch of it.
        self.trial = Evaluation(self.task, self.task.train.rows(scored))
        self.glance = Evaluation(self.task, self.task.train.rows(scored[:EVALUATION_BATCH]))
        self.rng = random.Random(f"{seed} architectures")
        self.found: list[tuple[str, float]] = []  # what was scored, higher is better
        self.candidate: Genotype | None = None
        self.chosen: Genotype | None = None
        self.announced = self.closed = False
        self.booked = 0  # multiply-adds of what is finished
        self._begin(device)

    @abc.abstractmethod
    def _path(self) -> Genotype:
        """Draw the architecture that the next step trains."""

    @abc.abstractmethod
    def _standing(self) -> Genotype:
        """Return the architecture that is measured after an epoch, the same until the next one."""

    @property
    @abc.abstractmethod
    def _total(self) -> int:
        """How many architectures are scored at the end."""

    @property
    def _glances(self) -> int:
        """How many of these, the first ones, are scored on one batch only and not chosen."""
        return 0

    @abc.abstractmethod
    def _next(self) -> Genotype:
        """Return the architecture to score next, given those ``found``."""

    @property
    def progress(self) -> float:
        if self.diverged or self.closed:
            return 1.0
        share = self._share_of_epoch() if self.epoch < self._epochs else 0.0
        done = _EPOCHS * (self.epoch + share) / self._epochs
        return min(_ALMOST, done + (1 - _EPOCHS) * len(self.found) / (self._total + 1))

    def _share_of_epoch(self) -> float:
        batches = self.batches.position / self.batches.length
        measured = (self.refit.share + self.valid.share) / 2
        return _TRAINING * batches + (1 - _TRAINING) * measured

    def outcome(self) -> Outcome:
        return Outcome(
            score=math.nan if self.diverged else self.score,
            genotype=None if self.diverged else self.chosen,
            parameters=sum(p.numel() for p in self.network.parameters()),
            multiply_adds=0 if self.diverged else self.meter.each,
            compute=float(self.booked),
            diverged=self.diverged,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "chance": self.chance.state_dict(),
            "generator": self.generator.get_state(),
            "rng": _plain.of_random(self.rng),
            "refit": self.refit.state_dict(),
            "trial": self.trial.state_dict(),
            "glance": self.glance.state_dict(),
            "found": [list(pair) for pair in self.found],
            "candidate": _text(self.candidate),
            "chosen": _text(self.chosen),
            "announced": self.announced,
            "closed": self.closed,
            "booked": self.booked,
            "spent": self.meter.spent,
            "each": self.meter.each,
            **self._record(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("network", "optimizer", "chance", "refit", "trial", "glance"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"].cpu())
        _plain.to_random(self.rng, state["rng"])
        self.found = [(text, score) for text, score in state["found"]]
        self.candidate, self.chosen = _genotype(state["candidate"]), _genotype(state["chosen"])
        self.announced, self.closed = state["announced"], state["closed"]
        self.booked = state["booked"]
        self.meter.spent, self.meter.each = state["spent"], state["each"]
        self._load_record(state)

    @property
    def _epochs(self) -> int:
        assert self.params.epochs is not None
        return self.params.epochs

    def _advance(self) -> Report | None:
        training = self.epoch < self._epochs
        report = self._advance_epoch() if training else self._conclude()
        if self.announced or report is None or not report.measurements:
            return report
        self.announced = True
        settings = tuple(Measurement(0, 0, *row) for row in self._settings())
        return Report(settings + report.measurements)

    def _settings(self) -> list[Row]:
        names = ("epochs", "batch_size", "loss_scale")
        return [("settings", name, float(getattr(self.params, name))) for name in names]

    def _train(self, rows: Tensor) -> Tensor:
        assert self.params.loss_scale is not None
        done = self.epoch + (self.batches.position - 1) / self.batches.length
        rate = cosine(self.params.learning_rate, self.params.learning_rate_min, done / self._epochs)
        inputs, targets = self._batch(rows)
        outputs = self.network(inputs, self._path())
        loss = self.task.loss(outputs, targets) / self.params.loss_scale
        self._descend(loss, rate)
        return loss.detach() * self.params.loss_scale

    def _descend(self, loss: Tensor, rate: float) -> None:
        # Weights that the path does not hold have no gradient and stay as they are.
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.network.parameters(), self.params.clip)
        self.optimizer.step()

    def _batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.task.batch(self.task.train, rows.to(self.device), self.generator)

    def _measure(self) -> bool:
        return self._evaluate(self._standing(), self.valid)

    def _evaluate(self, genotype: Genotype, on: Evaluation) -> bool:
        """Do one batch of the evaluation of ``genotype``; return whether that was the last one."""
        if not self.refit.finished:
            self.refit.advance(genotype)
            return False
        on.advance(self.network, lambda inputs: self.network(inputs, genotype))
        return on.finished

    def _after_epoch(self) -> None:
        self.refit.restart()
        self.booked = self.meter.spent

    def _choose(self) -> None:
        """Score the next architecture, a batch at a time; after the last one choose the best."""
        if self.candidate is None:
            self.candidate = self._next()
        on = self.glance if len(self.found) < self._glances else self.trial
        if not self._evaluate(self.candidate, on):
            return
        self.found.append((self.candidate.to_json(), self._standardised(on.results()[0])))
        self.candidate = None
        on.restart()
        self.refit.restart()
        if len(self.found) == self._total:
            best, _ = max(self.found[self._glances :], key=lambda pair: pair[1])
            self.chosen = Genotype.from_json(best)

    def _standardised(self, metric: float) -> float:
        """Return a metric so that higher is better, and worst where it is not a number."""
        if not math.isfinite(metric):
            return -math.inf
        return metric if self.task.metric.higher_is_better else -metric

    def _conclude(self) -> Report | None:
        """Choose an architecture, then measure it on the validation split, a batch at a time."""
        if self.chosen is None:
            self._choose()
            return None
        if not self._evaluate(self.chosen, self.valid):
            return None
        found = self.valid.measured()
        self.score = found[self.task.metric.name]
        self.diverged = not math.isfinite(found["loss"])
        self.closed, self.booked = True, self.meter.spent
        self.valid.restart()
        scores = [score for _, score in self.found[self._glances :] if math.isfinite(score)]
        rows: list[Row] = [("candidates", "count", float(len(self.found)))]
        if scores:
            sign = 1 if self.task.metric.higher_is_better else -1
            name = self.task.metric.name
            rows.append(("candidates", f"best_{name}", sign * max(scores)))
            rows.append(("candidates", f"mean_{name}", sign * sum(scores) / len(scores)))
        rows += [("valid", name, value) for name, value in found.items()]
        step, epoch = self.epoch * self.batches.length, self.epoch + 1
        return Report(tuple(Measurement(step, epoch, *row) for row in rows))


class UniformPaths(OneShot):
    """Shared weights that are trained by architectures drawn uniformly.

    After an epoch one architecture is measured, drawn once, so that the curve tells of the weights.
    """

    def __init__(
        self, space: SearchSpace, task: Task, params: Any, *, seed: int, device: torch.device
    ):
        super().__init__(space, task, params, seed=seed, device=device)
        self.probe = space.sample(random.Random(f"{seed} probe"))

    def _path(self) -> Genotype:
        return self.space.sample(self.rng)

    def _standing(self) -> Genotype:
        return self.probe


def _text(genotype: Genotype | None) -> str | None:
    return None if genotype is None else genotype.to_json()


def _genotype(text: str | None) -> Genotype | None:
    return None if text is None else Genotype.from_json(text)
