"""DARTS: gradient descent on the architecture and the weights of a supernet in turn.

Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, ICLR 2019, algorithm 1, section A.1
and quark0/darts; with what others have added since, each by choice. docs/darts.md lists the choices
with their papers.

Deviations, everywhere: the halves of the training data are drawn by a seeded generator; batches of
the architecture's half are drawn without replacement; progress is measured on the task's own
validation split, which neither half contains. Where a parameter is left out, which means that it
adapts to the task: width, depth, epochs, batch size, rates and the selection are not the paper's
(PAPER has those), and losses are divided by that of the best constant prediction, so that clip and
rates mean the same on every task.
Partial channels (PC-DARTS): the edge parameters share the optimiser of the others; the first
epochs train weights only if ``warmup`` says so (the paper's share: 0.3).
Sampled relaxations (GDAS): the supernet is measured on its likeliest path.
Stages (P-DARTS, Chen et al. 2019): no dropout on skip connections, and no limit on how many the
derived cell has; weights begin anew in every stage, as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from search_space.genotype import Cell
from search_space.mixture import Mixtures
from search_space.space import SearchSpace
from search_space.supernet import Supernet
from search_space.task import Task
from searchers._alternation import Alternation
from searchers._architecture import Architecture
from searchers._base import ArchitectureWeight, Measurement, Outcome, Report, Search
from searchers._chance import Chance, stream
from searchers._ending import Ending
from searchers._epochs import PASSES_OF_A_STEP, EpochProgram, Row
from searchers._passes import Evaluation, Pass, halves
from searchers._rates import STEPS, RangeTest
from searchers._recipe import Recipe, completed
from searchers._schedule import Schedule, cosine
from searchers._stage import Stage
from searchers._watchdog import SPLIT, Inherited, discrete, gap, signs
from searchers.stopping import Evidence

# Share of an epoch that its batches, the validation and the watchdog take, about.
_TRAINING, _VALIDATION, _WATCHDOG = 0.85, 0.05, 0.1

# Progress while there is something left to do.
_ALMOST = 0.999


class Darts(EpochProgram, Search):
    """A supernet whose weights fit one half of the training data and its architecture the other."""

    class Params(Recipe):
        """A search on any task; what is left out or null adapts to it."""

    # The paper's search on CIFAR-10 (section A.1; train_search.py for what it omits), as far as
    # the defaults are others.
    PAPER: ClassVar[dict[str, Any]] = {
        "epochs": 50,
        "channels": 16,
        "layers": 8,
        "batch_size": 64,
        "learning_rate": 0.025,
        "architecture_learning_rate": 3e-4,
        "loss_scale": 1.0,
        "selection": "argmax",
    }

    smoke: ClassVar[dict[str, Any]] = {"epochs": 2, "channels": 2, "layers": 2, "batch_size": 16}

    network: Supernet
    architecture: Architecture
    alternation: Alternation

    def __init__(
        self, space: SearchSpace, task: Task, params: Params, *, seed: int, device: torch.device
    ):
        self.space, self.seed, self.device = space, seed, device
        self.chance = Chance(seed, device)
        self.task = task.to(device)
        self.generator = torch.Generator().manual_seed(seed)
        rows, self.architecture_rows = halves(task, params.train_portion, self.generator)
        self.params = params = completed(params, space, task, len(rows))
        assert params.epochs is not None
        assert params.batch_size is not None
        self.selection, self.ending = params.selection.make(), Ending(params.stopping.make())
        self.schedule = Schedule(
            epochs=params.epochs,
            own=self.selection.epochs(params.epochs),
            stages=len(params.depths),
            warmup=params.warmup,
        )
        self.draws = stream(seed, "architecture")
        self._enter(0, None)
        self.batches = Pass(rows, params.batch_size, self.generator)
        self.architecture_batches = Pass(self.architecture_rows, params.batch_size, self.generator)
        self.valid = Evaluation(self.task, self.task.valid)
        self.inherited = Inherited(self.task, rows, params.batch_size, seed)
        self.rate = params.learning_rate
        self.range_test = RangeTest(
            self.network,
            rows,
            params.batch_size,
            self._rehearse,
            stream(seed, "rates"),
            momentum=params.momentum,
            weight_decay=params.weight_decay,
            clip=params.clip,
        )
        self.announced = self.closed = False
        self.skipped = 0  # epochs that the stopping rule left out
        self.tuned = 0  # steps of the weights after the last epoch
        # Multiply-adds: as they are spent, and those of what is finished.
        self.spent = self.booked = 0
        self.mixed_score = math.nan  # of the supernet in the last epoch before any pruning
        self._begin(device)

    def _enter(self, number: int, kept: Mapping[str, Tensor] | None) -> None:
        """Begin a stage with new weights and a new architecture."""
        self.number = number
        self.stage = Stage(
            self.space,
            self.task,
            self.params,
            number,
            kept,
            self._scaled_loss,
            chance=self.chance,
            generator=self.draws,
            device=self.device,
        )
        self.network, self.alternation = self.stage.network, self.stage.alternation
        self.architecture = self.stage.architecture

    @property
    def clock(self) -> int:
        """Epochs done, and those that the stopping rule left out."""
        return self.epoch + self.skipped

    @property
    def progress(self) -> float:
        if self.diverged or self.closed:
            return 1.0
        test = 0.0 if self.params.learning_rate else STEPS / self.batches.length
        total = test + self.schedule.epochs + self.selection.effort
        done = test * self.range_test.share + self.clock
        if self.clock < self.schedule.epochs:
            done += _TRAINING * self.batches.position / self.batches.length
            done += _VALIDATION * self.valid.share + _WATCHDOG * self.inherited.share
        else:
            done += self.selection.effort * self.selection.share
        return min(_ALMOST, done / total)

    def outcome(self) -> Outcome:
        chosen = None if self.diverged else self.selection.genotype(self.space, self.architecture)
        return Outcome(
            score=float("nan") if self.diverged else self.score,
            genotype=chosen,
            parameters=sum(p.numel() for p in self.network.parameters()),
            multiply_adds=self.stage.prices.of(self.network.uniform()),
            compute=float(self.booked),
            diverged=self.diverged,
        )

    # What is saved as it is; the rest of the state has load_state_dict or is a generator's.
    _PLAIN = (
        "number",
        "rate",
        "announced",
        "closed",
        "skipped",
        "tuned",
        "spent",
        "booked",
        "mixed_score",
    )
    _PARTS = (
        "alternation",
        "chance",
        "architecture_batches",
        "inherited",
        "range_test",
        "ending",
    )

    def state_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self._PLAIN},
            **{name: getattr(self, name).state_dict() for name in self._PARTS},
            "generator": self.generator.get_state(),
            "selection": self.selection.state_dict() if self._selects else None,
            **self._record(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["number"] != self.number:
            parts = state["alternation"]["architecture"]
            self._enter(state["number"], {k: parts[f"kept_{k}"] for k in self.architecture.alpha})
        for name in self._PLAIN:
            setattr(self, name, state[name])
        for name in self._PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"].cpu())
        self._load_record(state)
        if state["selection"] is not None:
            self.selection.load_state_dict(state["selection"], self)

    @property
    def _selects(self) -> bool:
        """Whether the epochs are over and the selection is at work."""
        return self.clock == self.schedule.epochs and not self.diverged

    def _advance(self) -> Report | None:
        report = None
        if self.rate is None:
            self._test_rates()
        elif self.clock < self.schedule.epochs:
            report = self._advance_epoch()
        else:
            report = self._select()
        if self.rate is None or self.announced:
            return report
        self.announced = True
        settings = self._report(self._settings())
        if report is None:
            return settings
        return Report(settings.measurements + report.measurements, report.weights)

    def _test_rates(self) -> None:
        self.range_test.advance()
        if self.range_test.finished:
            self.rate = self.range_test.result()

    def _rehearse(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch of the range test."""
        inputs, targets = self._batch(rows, generator)
        with torch.no_grad():
            mixtures = self.architecture.draw(0.0, generator).mixtures
        self.charge(mixtures, PASSES_OF_A_STEP * len(rows))
        return self._scaled_loss(self.network(inputs, mixtures), targets)

    def _settings(self) -> list[Row]:
        names = ("epochs", "batch_size", "loss_scale", "architecture_learning_rate")
        chosen = [("settings", name, float(getattr(self.params, name))) for name in names]
        assert self.rate is not None
        return [*chosen, ("settings", "learning_rate", self.rate)]

    def _train(self, rows: Tensor) -> Tensor:
        assert self.rate is not None
        assert self.params.loss_scale is not None
        rate = cosine(self.rate, self.params.learning_rate_min, self.schedule.share(self.clock))
        done = (self.batches.position - 1) / self.batches.length
        progress = (self.clock + done) / self.schedule.epochs
        train = self._batch(rows, self.generator)
        if not self.schedule.warms_up(self.clock):
            if self.architecture_batches.finished:
                self.architecture_batches.restart()
            valid = self._batch(self.architecture_batches.next(), self.generator)
            if self.schedule.selecting(self.clock) and self.architecture.discrete:
                # Nothing is left to learn about it: its half is for the weights too.
                _, computed = self.alternation.weights_step(valid, rate, progress)
            else:
                computed = self.alternation.architecture_step(train, valid, rate, progress)
            self.charge(*computed)
        loss, computed = self.alternation.weights_step(train, rate, progress)
        self.charge(*computed)
        return loss * self.params.loss_scale

    def tune(self, share: float) -> None:
        """Train the weights on a batch of theirs, at a share of the search's learning rate."""
        assert self.rate is not None
        if self.batches.finished:
            self.batches.restart()
        batch = self._batch(self.batches.next(), self.generator)
        mixtures = self.architecture.expected()
        _, computed = self.alternation.weights_step(batch, share * self.rate, 1.0, mixtures)
        self.charge(*computed)
        self.tuned += 1

    def _measure(self) -> bool:
        searching = not self.schedule.selecting(self.clock)
        if not self.valid.finished:
            self._validate(self.architecture.standing())
        elif self._watches and not self.inherited.finished:
            mixtures = discrete(self.network.operations, self._cells(), self.device)
            self.charge(mixtures, self.inherited.next_rows)
            self.inherited.advance(self.network, mixtures)
        elif searching and not self.ending.finished:
            self.ending.advance(self)
        watched = self.inherited.finished or not self._watches
        return self.valid.finished and watched and (self.ending.finished or not searching)

    @property
    def _watches(self) -> bool:
        """Whether the derived network has to be measured: it isn't what trains already."""
        return self.params.watchdog and not self.architecture.discrete

    def _validate(self, mixtures: Mixtures) -> None:
        self.charge(mixtures, self.valid.next_rows)
        self.valid.advance(self.network, lambda inputs: self.network(inputs, mixtures))

    def _remarks(self) -> list[Row]:
        cells = self._cells()
        rows = signs(cells, self.architecture.tables())
        searched = not self.schedule.selecting(self.clock - 1)  # in the epoch that has just ended
        if searched:
            self.mixed_score = self.score
        if self.params.watchdog:
            metric = self.task.metric
            derived = self.inherited.results()[0] if self._watches else self.score
            rows.append((SPLIT, f"derived_{metric.name}", derived))
            rows.append((SPLIT, "discretisation_gap", gap(metric, self.mixed_score, derived)))
        if searched:
            told = self.ending.ask(Evidence(self.epoch, cells), self.architecture)
            rows += [(SPLIT, name, value) for name, value in told.items()]
        return rows

    def _weights(self) -> list[ArchitectureWeight]:
        return self.architecture.rows(self.epoch)

    def _after_epoch(self) -> None:
        self.inherited.restart()
        self.booked = self.spent
        if self.diverged:
            return
        searched = not self.schedule.selecting(self.clock - 1)
        if searched and self.ending.stop(self.architecture):
            self.skipped = max(0, self.schedule.search - self.epoch)
        elif self.clock < self.schedule.search:
            self._deepen()
        if self.clock == self.schedule.epochs:
            self.selection.begin(self)
            self.closed = self.selection.finished
        elif self.schedule.selecting(self.clock):
            self.selection.before_epoch(self.architecture, self.schedule.due(self.clock))

    def _deepen(self) -> None:
        """Begin the next stage, if it is time, with the operations that it keeps."""
        number = self.schedule.stage(self.clock)
        if number == self.number:
            return
        keep = self.params.depths[number].keep
        kept = {kind: self.architecture.kept(kind).cpu() for kind in self.architecture.alpha}
        self._enter(number, kept if keep is None else self.architecture.strongest(keep))
        self.ending.forget()

    def _select(self) -> Report | None:
        """Do what the selection has to do after the last epoch; then measure what it left."""
        if not self.selection.finished:
            self.selection.advance(self)
            return None
        self._validate(self.architecture.expected())
        if not self.valid.finished:
            return None
        found = self.valid.measured()
        self.score = found[self.task.metric.name]
        self.valid.restart()
        self.closed, self.booked = True, self.spent
        self.diverged = not math.isfinite(found["loss"])
        rows = (
            *signs(self._cells(), self.architecture.tables()),
            *(("valid", name, value) for name, value in found.items()),
        )
        # What was tuned counts as one more epoch.
        step, epoch = self.epoch * self.batches.length + self.tuned, self.epoch + 1
        measurements = tuple(Measurement(step, epoch, *row) for row in rows)
        return Report(measurements, tuple(self.architecture.rows(epoch)))

    def _cells(self) -> dict[str, Cell]:
        return self.space.cells(self.space.discretise(self.architecture.tables()))

    def _scaled_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        assert self.params.loss_scale is not None
        return self.task.loss(outputs, targets) / self.params.loss_scale

    def _batch(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.task.batch(self.task.train, rows.to(self.device), generator)

    def charge(self, mixtures: Mixtures, passes: int) -> None:
        """Count passes times examples through what ``mixtures`` compute, a backward pass as two."""
        self.spent += passes * self.stage.prices.of(mixtures)
