"""REINFORCE: an LSTM learns to choose from the scores of what it chose.

Zoph, Le: Neural Architecture Search with Reinforcement Learning, ICLR 2017, section 3.2; Zoph,
Vasudevan, Shlens, Le: Learning Transferable Architectures for Scalable Image Recognition, CVPR
2018, appendix A.1 (NASNet): Adam, an exponential moving average of rewards as the baseline, an
entropy bonus, and PPO (Schulman et al., arXiv 1707.06347) in the place of plain REINFORCE.

Deviations:

- NASNet drew 20,000 architectures and made 1,000 updates, of 20 architectures each, at a learning
  rate of 0.00035. With fewer evaluations an update takes fewer architectures, down to one, so that
  there are 1,000 updates as long as possible; and the learning rate rises as the number of updates
  falls, so that their product, and with it how far Adam can carry a weight, stays the paper's 0.35.
- Rewards are not accuracies but scores on a scale of their quartiles (``_scale.py``), so that any
  metric will do; a failed candidate has the lowest reward instead of none.
- The default is REINFORCE: with updates of one architecture, PPO has nothing to be careful about.
- The controller learns from what it chose only, not from scores of architectures it is told of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import pydantic
import torch
from torch import Tensor

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers import _plain
from searchers._base import NO_COSTS, Sampler, StrictParams
from searchers._chance import stream
from searchers._controller import Controller, Decided
from searchers._growing import GrowingAdam
from searchers._scale import Scale

_PAPER_UPDATES = 1000
_PAPER_BATCH = 20
_PAPER_TRAVEL = 0.35  # learning rate times number of updates


class _Choice(NamedTuple):
    """A sequence that the controller drew, its log-probability at that time, and its score."""

    decisions: tuple[int, ...]
    log_prob: float
    score: float | None = None


class Reinforce(Sampler):
    """Draws from a recurrent controller, which is updated whenever enough scores have come in.

    Scores may come late and in any order: the gradient is taken at the weights of that time.
    """

    class Params(StrictParams):
        """Parameters of the controller and of its training."""

        evaluations: int = pydantic.Field(
            100, ge=1, description="candidates that the search will score; sets what is not given"
        )
        units: int = pydantic.Field(100, ge=1, description="of the LSTM")
        algorithm: Literal["reinforce", "ppo"] = "reinforce"
        batch: int | None = pydantic.Field(None, ge=1, description="scores to an update")
        learning_rate: float | None = pydantic.Field(None, gt=0.0, description="of Adam")
        baseline_decay: float = pydantic.Field(0.95, ge=0.0, lt=1.0)
        entropy: float = pydantic.Field(1e-5, ge=0.0, description="weight of the bonus")
        epochs: int = pydantic.Field(4, ge=1, description="of PPO: steps to an update")
        clip: float = pydantic.Field(0.2, gt=0.0, description="of PPO: bound of the ratio")

        @property
        def scaled_batch(self) -> int:
            """Scores to an update: as given, or what leaves as many updates as the paper made."""
            return self.batch or min(max(self.evaluations // _PAPER_UPDATES, 1), _PAPER_BATCH)

        @property
        def scaled_learning_rate(self) -> float:
            """As given, or what carries weights as far in all as in the paper."""
            updates = max(self.evaluations // self.scaled_batch, 1)
            return self.learning_rate or _PAPER_TRAVEL / updates

    params: Params

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed)
        self.controller = Controller(space.options, units=params.units, seed=seed)
        self.adam = GrowingAdam(self.controller, params.scaled_learning_rate)
        self.generator = stream(seed, "reinforce")
        self.baseline: float | None = None
        self.scores: list[float] = []
        self.waiting: dict[str, list[_Choice]] = {}  # by key of the genotype
        self.batch: list[_Choice] = []

    def ask(self) -> Genotype:
        with torch.no_grad():
            drawn = self.controller.sample(1, self.generator)
        genotype = self.space.decode(drawn.decisions[0])
        choice = _Choice(drawn.decisions[0], drawn.log_probs.item())
        self.waiting.setdefault(genotype.key, []).append(choice)
        return genotype

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        self.scores.append(score)
        choices = self.waiting.get(genotype.key)
        if not choices:
            return
        self.batch.append(choices.pop(0)._replace(score=score))
        if not choices:
            del self.waiting[genotype.key]
        if len(self.batch) == self.params.scaled_batch:
            self._update()
            self.batch = []

    def state_dict(self) -> dict[str, Any]:
        weights = self.controller.state_dict()
        return {
            "controller": {name: _plain.of_tensor(w) for name, w in weights.items()},
            "adam": self.adam.state_dict(),
            "generator": _plain.of_generator(self.generator),
            "baseline": self.baseline,
            "scores": [str(score) for score in self.scores],  # JSON has no minus infinity
            "waiting": {k: [_to_plain(c) for c in v] for k, v in self.waiting.items()},
            "batch": [_to_plain(choice) for choice in self.batch],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        weights = {name: _plain.to_tensor(w) for name, w in state["controller"].items()}
        self.controller.load_state_dict(weights)
        self.adam.load_state_dict(state["adam"])
        _plain.to_generator(self.generator, state["generator"])
        self.baseline = state["baseline"]
        self.scores = [float(score) for score in state["scores"]]
        self.waiting = {k: [_of_plain(c) for c in v] for k, v in state["waiting"].items()}
        self.batch = [_of_plain(choice) for choice in state["batch"]]

    def _update(self) -> None:
        scale = Scale(self.scores)
        rewards = [scale(choice.score) for choice in self.batch if choice.score is not None]
        if self.baseline is None:
            self.baseline = sum(rewards) / len(rewards)
        advantages = torch.tensor([reward - self.baseline for reward in rewards])
        drawn_at = torch.tensor([choice.log_prob for choice in self.batch])
        for _ in range(self.params.epochs if self.params.algorithm == "ppo" else 1):
            now = self.controller.replay([choice.decisions for choice in self.batch])
            self.adam.step(-self._objective(now, advantages, drawn_at))
        decay = self.params.baseline_decay
        for reward in rewards:
            self.baseline = decay * self.baseline + (1 - decay) * reward

    def _objective(self, now: Decided, advantages: Tensor, drawn_at: Tensor) -> Tensor:
        if self.params.algorithm == "ppo":
            gain = clipped_gain(now.log_probs, drawn_at, advantages, self.params.clip)
        else:
            gain = advantages * now.log_probs
        return (gain + self.params.entropy * now.entropies).mean()


def clipped_gain(log_probs: Tensor, drawn_at: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return PPO's objective for each choice (Schulman et al., arXiv 1707.06347, equation 7)."""
    ratio = (log_probs - drawn_at).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def _to_plain(choice: _Choice) -> list[Any]:
    score = None if choice.score is None else str(choice.score)
    return [list(choice.decisions), choice.log_prob, score]


def _of_plain(plain: list[Any]) -> _Choice:
    decisions, log_prob, score = plain
    return _Choice(tuple(decisions), log_prob, None if score is None else float(score))
