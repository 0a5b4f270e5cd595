"""ENAS: a controller learns by REINFORCE which path through shared weights has the best reward.

Pham, Guan, Zoph, Le, Dean: Efficient Neural Architecture Search via Parameter Sharing, ICML 2018,
section 2.2, and melodyguan/enas. An epoch trains the shared weights on their half of the training
data, each step on one architecture that the controller draws; then the controller on the other
half: each step draws some architectures, the reward of one is its accuracy on one batch, with the
statistics of that batch. At the end some are drawn from the controller and the best is the result.

Deviations, for all: the baseline begins at the first reward and not at zero; the bonus is the
entropy itself, not the log-probability of what was drawn in its place; the final architectures are
scored on all held-out examples, with statistics fitted anew, and not on one batch. Weights that an
architecture does not hold stay as they are; in TensorFlow they coast on momentum and decay. The
rate of the weights follows one cosine, not several with restarts. The LSTM has no attention for
choosing states: each decision has a softmax of its own (searchers/_controller.py).

For tasks without classes, the reward is 1 - loss / loss of the best constant, at least -1.

What is left out adapts to the task: see docs/one_shot.md. PAPER has the paper's numbers.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pydantic
import torch

from search_space.genotype import Genotype
from search_space.metric import accuracy
from search_space.space import SearchSpace
from search_space.task import Task
from searchers._chance import stream
from searchers._controller import Controller
from searchers._epochs import Row
from searchers._growing import GrowingAdam
from searchers._one_shot import OneShot
from searchers._passes import Pass
from searchers._shared_recipe import SharedRecipe

_CONTROLLER = "controller"  # split of its measurements
_LARGEST_BATCH = 160

# Steps of the controller: one for so many of the weights.
_EVERY = 3

# Learning rate times number of steps in the published scripts: 0.001 x 310 x 50 (macro), and
# 0.0035 x 150 x 30 (micro), which is about the same.
_PAPER_RATE, _PAPER_TRAVEL = 1e-3, 15.6
_LARGEST_RATE = 5e-3

# Rewards that the baseline is of, about, and the share of an epoch's that it is of at most: the
# weights get better from epoch to epoch, and all architectures look good by an old baseline.
_PAPER_HORIZON, _RECENT = 100, 1 / 3


class Enas(OneShot):
    """Alternates between shared weights and the controller that draws from them."""

    class Params(SharedRecipe):
        """How the weights and the controller are trained."""

        units: int = pydantic.Field(100, ge=1, description="of the controller's LSTM")
        controller_steps: int | None = pydantic.Field(None, ge=1, description="in an epoch")
        arcs: int = pydantic.Field(10, ge=1, description="architectures of a controller's step")
        controller_batch_size: int | None = pydantic.Field(None, ge=2, description="of a reward")
        controller_learning_rate: float | None = pydantic.Field(None, gt=0, description="of Adam")
        baseline_decay: float | None = pydantic.Field(None, ge=0, lt=1, description="a reward")
        entropy: float = pydantic.Field(1e-4, ge=0, description="weight of the bonus")
        temperature: float = pydantic.Field(5.0, gt=0, description="of the controller's logits")
        bound: float = pydantic.Field(2.5, ge=0, description="of the logits; 0: none")
        skip_target: float = pydantic.Field(0.4, gt=0, lt=1, description="share of skips, macro")
        skip_weight: float = pydantic.Field(0.8, ge=0, description="of the distance to it")
        candidates: int = pydantic.Field(10, ge=1, description="drawn at the end")

    # Macro, on CIFAR-10: scripts/cifar10_macro_search.sh, as far as the defaults are others. Micro
    # has 150 epochs of 30 steps of 10, batches of 160, 20 channels, 6 + 2 layers, decay 1e-4, a
    # bound of 1.1 and a rate of 0.0035. A published run on MNIST: batches of 160 for 150 epochs
    # (controller), of 128 for 309 (weights).
    PAPER: ClassVar[dict[str, Any]] = {
        "epochs": 310,
        "channels": 36,
        "batch_size": 128,
        "learning_rate_min": 5e-4,
        "weight_decay": 2.5e-4,
        "units": 64,
        "controller_steps": 50,
        "arcs": 20,
        "controller_batch_size": 128,
        "controller_learning_rate": 1e-3,
        "baseline_decay": 0.99,
        "temperature": 1.0,
        "bound": 1.5,
        "train_portion": 0.9,
        "loss_scale": 1.0,
    }

    smoke: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "channels": 2,
        "layers": 2,
        "batch_size": 16,
        "units": 4,
        "controller_steps": 2,
        "arcs": 2,
        "controller_batch_size": 16,
        "candidates": 2,
        "refit": 2,
    }

    def __init__(
        self, space: SearchSpace, task: Task, params: Params, *, seed: int, device: torch.device
    ):
        super().__init__(space, task, params, seed=seed, device=device)
        self.params = params = self._adapted(self.params)
        assert params.controller_learning_rate is not None
        assert params.controller_batch_size is not None
        # On the CPU whatever the device: it is small, and its draws are then the same everywhere.
        self.controller = Controller(
            space.options,
            units=params.units,
            seed=seed,
            temperature=params.temperature,
            bound=params.bound,
            targets=dict.fromkeys(space.skips(), (1 - params.skip_target, params.skip_target)),
        )
        self.adam = GrowingAdam(self.controller, params.controller_learning_rate)
        self.draws = stream(seed, "controller")
        self.reward_batches = Pass(self.held, params.controller_batch_size, self.generator)
        self.baseline: float | None = None
        self.arcs: list[tuple[int, ...]] = []  # of the present step
        self.rewards: list[float] = []  # of those among them that have been rewarded
        self.taken = 0  # steps of the controller in this epoch
        # Sums over the steps of this epoch: reward, baseline, entropy, distance from the skip rate.
        self.sums = [0.0] * 4

    def _adapted(self, params: Params) -> Params:
        """Return the parameters with those of the controller filled in."""
        steps = params.controller_steps or math.ceil(self.batches.length / _EVERY)
        rate = max(_PAPER_RATE, _PAPER_TRAVEL / (steps * self._epochs))
        horizon = min(_PAPER_HORIZON, max(params.arcs, _RECENT * steps * params.arcs))
        size = max(2, min(_LARGEST_BATCH, len(self.held)))
        adapted = {
            "controller_steps": steps,
            "controller_batch_size": params.controller_batch_size or size,
            "controller_learning_rate": params.controller_learning_rate or min(_LARGEST_RATE, rate),
            "baseline_decay": 1 - 1 / horizon
            if params.baseline_decay is None
            else params.baseline_decay,
        }
        return params.model_copy(update=adapted)

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "controller": self.controller.state_dict(),
            "adam": self.adam.state_dict(),
            "draws": self.draws.get_state(),
            "reward_batches": self.reward_batches.state_dict(),
            "baseline": self.baseline,
            "arcs": [list(arc) for arc in self.arcs],
            "rewards": list(self.rewards),
            "taken": self.taken,
            "sums": list(self.sums),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.controller.load_state_dict(state["controller"])
        self.adam.load_state_dict(state["adam"])
        self.draws.set_state(state["draws"].cpu())
        self.reward_batches.load_state_dict(state["reward_batches"])
        self.baseline, self.taken = state["baseline"], state["taken"]
        self.arcs = [tuple(arc) for arc in state["arcs"]]
        self.rewards, self.sums = list(state["rewards"]), list(state["sums"])

    def _settings(self) -> list[Row]:
        chosen = (
            "controller_steps",
            "controller_batch_size",
            "controller_learning_rate",
            "baseline_decay",
        )
        return [
            *super()._settings(),
            *(("settings", name, float(getattr(self.params, name))) for name in chosen),
        ]

    def _path(self) -> Genotype:
        return self.space.decode(self._draw(1)[0])

    def _draw(self, n: int) -> list[tuple[int, ...]]:
        with torch.no_grad():
            return self.controller.sample(n, self.draws).decisions

    def _standing(self) -> Genotype:
        return self.space.decode(self.controller.greedy())

    @property
    def _total(self) -> int:
        return self.params.candidates

    def _next(self) -> Genotype:
        return self._path()

    def _share_of_epoch(self) -> float:
        assert self.params.controller_steps is not None
        done = (self.taken + len(self.rewards) / self.params.arcs) / self.params.controller_steps
        return (super()._share_of_epoch() + min(1.0, done)) / 2

    def _measure(self) -> bool:
        if self.taken == self.params.controller_steps:
            return super()._measure()
        if not self.arcs:
            self.arcs = self._draw(self.params.arcs)
        self.rewards.append(self._reward(self.space.decode(self.arcs[len(self.rewards)])))
        if len(self.rewards) == len(self.arcs):
            self._learn()
        return False

    def _reward(self, genotype: Genotype) -> float:
        """Return the reward of an architecture on the next batch."""
        if self.reward_batches.finished:
            self.reward_batches.restart()
        inputs, targets = self._batch(self.reward_batches.next())
        with torch.no_grad():  # in training mode: with the statistics of the batch
            outputs = self.network(inputs, genotype)
        if self.task.output.of_classes:
            reward = accuracy(outputs, targets)
        else:
            assert self.params.loss_scale is not None
            reward = max(-1.0, 1 - float(self.task.loss(outputs, targets)) / self.params.loss_scale)
        return reward if math.isfinite(reward) else -1.0

    def _learn(self) -> None:
        """Take a step of the controller, with the rewards of its architectures."""
        mean = sum(self.rewards) / len(self.rewards)
        if self.baseline is None:
            self.baseline = mean
        decided = self.controller.replay(self.arcs)
        advantages = torch.tensor([reward - self.baseline for reward in self.rewards])
        gain = advantages * decided.log_probs + self.params.entropy * decided.entropies
        targets = max(1, len(self.controller.targets))
        distance = decided.divergences / targets  # mean over the decisions that have a target
        self.adam.step((self.params.skip_weight * distance - gain).mean())
        seen = (decided.entropies.detach().mean(), distance.detach().mean())
        found = (mean, self.baseline, *map(float, seen))
        self.sums = [total + value for total, value in zip(self.sums, found, strict=True)]
        assert self.params.baseline_decay is not None
        for reward in self.rewards:
            self.baseline += (1 - self.params.baseline_decay) * (reward - self.baseline)
        self.arcs, self.rewards = [], []
        self.taken += 1

    def _remarks(self) -> list[Row]:
        names = ["reward", "baseline", "entropy", *["skip_distance"] * bool(self.space.skips())]
        return [
            (_CONTROLLER, name, total / self.taken)
            for name, total in zip(names, self.sums, strict=False)
        ]

    def _after_epoch(self) -> None:
        super()._after_epoch()
        self.taken, self.sums = 0, [0.0] * 4
