"""Q-learning: a table of what each decision is worth after the one before, explored ever less.

Baker, Gupta, Naik, Raskar: Designing Neural Network Architectures using Reinforcement Learning,
ICLR 2017 (MetaQNN), sections 3 and 4: epsilon-greedy, tabular Q-learning with a replay memory, its
schedule of epsilon (table 2), learning rate 0.01, no discount, 100 replayed models after each that
was trained, last decisions first. Zhong, Yan, Wu, Shao, Liu: Practical Block-wise Neural Network
Architecture Generation, CVPR 2018 (BlockQNN), section 3.2: the reward is spread over the decisions.

Deviations:

- A state is the place in the sequence, the number of options there, and the last decision, where
  the papers' is the last layer; ``memory`` takes in more decisions.
- MetaQNN trained 2,700 networks; its schedule is stretched to ``evaluations``. Candidates that fail
  don't count, so that hard limits, which fail many, don't end the exploration.
- Rewards are scores on a scale of their quartiles (``_scale.py``) and 0 before anything is known,
  where MetaQNN starts from an accuracy of 0.5. Its reward is the accuracy alone; BlockQNN's terms
  for multiply-adds and density are left out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers import _plain
from searchers._base import NO_COSTS, Sampler, StrictParams
from searchers._ensemble import Decisions
from searchers._evidence import Evidence
from searchers._scale import Scale

# MetaQNN, table 2: epsilon, and how many of the 2,700 models were trained at it.
_SCHEDULE = (
    *((1.0, 1500), (0.9, 100), (0.8, 100), (0.7, 100), (0.6, 150)),
    *((0.5, 150), (0.4, 150), (0.3, 150), (0.2, 150), (0.1, 150)),
)
_REDRAWS = 100  # with epsilon at 0.1, a greedy path of one decision is left in all but 1 of 37,000

_State = tuple[int, ...]


class QLearning(Sampler):
    """Takes the decision of the highest value, or with probability epsilon any.

    A candidate whose score is known is not asked for again; its score is learned from once more, as
    in MetaQNN. Learning is off-policy: scores of candidates that others chose count alike.
    """

    class Params(StrictParams):
        """Parameters of the exploration and of the updates."""

        evaluations: int = pydantic.Field(
            100, ge=1, description="candidates that the search will score; stretches the schedule"
        )
        memory: int = pydantic.Field(1, ge=0, description="last decisions that make up a state")
        learning_rate: float = pydantic.Field(0.01, gt=0.0, le=1.0)
        discount: float = pydantic.Field(1.0, ge=0.0, le=1.0)
        replay: int = pydantic.Field(100, ge=0, description="candidates replayed for each score")
        shaping: bool = pydantic.Field(True, description="spread the reward over the decisions")

    params: Params

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed)
        self.rng = random.Random(seed)
        self.evidence = Evidence(space)
        self.values: dict[_State, list[float]] = {}
        self.drawn = 0  # candidates that were asked for and have not failed

    def ask(self) -> Genotype:
        epsilon = exploration(self.drawn / self.params.evaluations)
        for _ in range(_REDRAWS):
            decisions = self._draw(epsilon)
            genotype = self.space.decode(decisions)
            if self.evidence.new([genotype]):
                break
            score = self.evidence.scores.get(self.space.encode(genotype))
            if score is not None:
                self._learn(decisions, self._scale()(score))
        self.drawn += 1
        self.evidence.ask(self.space.encode(genotype))
        return genotype

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        self.evidence.tell(genotype, score)
        if score == float("-inf") and self.drawn > 0:
            self.drawn -= 1
        scale = self._scale()
        self._learn(self.space.encode(genotype), scale(score))
        known = list(self.evidence.scores)
        for decisions in self.rng.choices(known, k=self.params.replay):
            self._learn(decisions, scale(self.evidence.scores[decisions]))

    def state_dict(self) -> dict[str, Any]:
        return {
            "rng": _plain.of_random(self.rng),
            "evidence": self.evidence.state_dict(),
            "values": [[list(state), list(values)] for state, values in self.values.items()],
            "drawn": self.drawn,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        _plain.to_random(self.rng, state["rng"])
        self.evidence.load_state_dict(state["evidence"])
        self.values = {tuple(of): list(values) for of, values in state["values"]}
        self.drawn = state["drawn"]

    def _draw(self, epsilon: float) -> Decisions:
        decisions: list[int] = []
        while (count := self.space.options(decisions)) > 0:
            values = self._at(decisions, count)
            highest = max(values)
            best = [option for option in range(count) if values[option] == highest]
            explores = self.rng.random() < epsilon
            decisions.append(self.rng.randrange(count) if explores else self.rng.choice(best))
        return tuple(decisions)

    def _learn(self, decisions: Decisions, reward: float) -> None:
        """Update the value of each decision, the last one first (MetaQNN, algorithm 3)."""
        rate, steps = self.params.learning_rate, len(decisions)
        following = 0.0  # the value of the best decision that can be made next
        for place in reversed(range(steps)):
            values = self._at(decisions[:place], self.space.options(decisions[:place]))
            last = place == steps - 1
            gain = reward / steps if self.params.shaping else reward if last else 0.0
            target = gain + self.params.discount * following
            option = decisions[place]
            values[option] = (1 - rate) * values[option] + rate * target
            following = max(values)

    def _at(self, decisions: Decisions | list[int], count: int) -> list[float]:
        place = len(decisions)
        state = (place, count, *decisions[max(place - self.params.memory, 0) :])
        return self.values.setdefault(state, [0.0] * count)

    def _scale(self) -> Scale:
        return Scale(self.evidence.scores.values())


def exploration(progress: float) -> float:
    """Return epsilon after the share ``progress`` of a search; beyond its end as at the end."""
    position = progress * sum(models for _, models in _SCHEDULE)
    for epsilon, models in _SCHEDULE:
        if position < models:
            return epsilon
        position -= models
    return _SCHEDULE[-1][0]
