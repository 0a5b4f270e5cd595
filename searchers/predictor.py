"""Predictor: an ensemble learns to predict scores, and Thompson sampling chooses by what it says.

White, Neiswanger, Savani: BANANAS: Bayesian Optimization with Neural Architectures for Neural
Architecture Search, AAAI 2021, algorithm 1: after some random candidates, again and again train an
ensemble on all scores, predict those of mutants of the best, and take the candidates for which a
draw from the normal distribution of the predictions is the highest (independent Thompson sampling).

Deviations:

- Decisions are encoded one-hot. The paper's path encoding needs a cell with one operation on each
  path element; decisions are what every space has.
- The networks are wide instead of deep (``_ensemble.py``). They learn a squared error of scores on
  a scale of their quartiles (``_scale.py``), in place of the percentage error to an accuracy that
  is known to be out of reach.
- Random candidates stand beside the mutants, so that a part of the space that the first ones
  missed can still be found.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers import _plain
from searchers._base import NO_COSTS, Sampler
from searchers._chance import stream
from searchers._ensemble import Decisions, EnsembleParams
from searchers._evidence import Evidence


class Predictor(Sampler):
    """Asks for what its ensemble, in one of the ways that the scores can be read, finds the best.

    Candidates come in batches for which one ensemble is trained; as many scores as have come in
    when a batch is used up are what the next one knows. Nothing is asked for twice.
    """

    class Params(EnsembleParams):
        """Parameters of the search and of its ensemble."""

        initial: int = pydantic.Field(10, ge=1, description="random candidates told before it fits")
        batch: int = pydantic.Field(10, ge=1, description="candidates from one ensemble")
        parents: int = pydantic.Field(10, ge=1, description="best ones that are mutated")
        mutants: int = pydantic.Field(100, ge=1, description="candidates to predict, by mutation")
        strangers: int = pydantic.Field(100, ge=0, description="candidates to predict, random")

    params: Params
    smoke: ClassVar[dict[str, Any]] = {"mutants": 10, "strangers": 10, "epochs": 20}

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed)
        self.ensemble = params.ensemble()
        self.evidence = Evidence(space)
        self.rng = random.Random(seed)
        self.generator = stream(seed, "predictor")
        self.batch: list[Decisions] = []

    def ask(self) -> Genotype:
        if len(self.evidence.scores) < self.params.initial:
            return self.evidence.ask_random(self.rng)
        if not self.batch:
            self.batch = self._choose(self._candidates())
        if not self.batch:
            return self.evidence.ask_random(self.rng)
        return self.evidence.ask(self.batch.pop(0))

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        self.evidence.tell(genotype, score)

    def state_dict(self) -> dict[str, Any]:
        return {
            "evidence": self.evidence.state_dict(),
            "rng": _plain.of_random(self.rng),
            "generator": _plain.of_generator(self.generator),
            "batch": [list(decisions) for decisions in self.batch],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.evidence.load_state_dict(state["evidence"])
        _plain.to_random(self.rng, state["rng"])
        _plain.to_generator(self.generator, state["generator"])
        self.batch = [tuple(decisions) for decisions in state["batch"]]

    def _candidates(self) -> list[Decisions]:
        parents = [self.space.decode(d) for d in self.evidence.best(self.params.parents)]
        drawn = [self.space.sample(self.rng) for _ in range(self.params.strangers)]
        if self.space.size() != 1:
            for _ in range(self.params.mutants):
                mutant = self.space.mutate(self.rng.choice(parents), self.rng)
                # Half of them go a step further: close to the best all may be known already.
                drawn.append(self.space.mutate(mutant, self.rng) if self._coin() else mutant)
        return self.evidence.new(drawn)

    def _coin(self) -> bool:
        return self.rng.random() < 0.5

    def _choose(self, candidates: list[Decisions]) -> list[Decisions]:
        if not candidates:
            return []
        known, targets = list(self.evidence.scores), self.evidence.targets()
        predictions = self.ensemble.predict(known, targets, candidates, self.generator)
        values = thompson(predictions, self.generator)
        best = values.argsort(descending=True, stable=True)[: self.params.batch]
        return [candidates[i] for i in best.tolist()]


def thompson(predictions: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a value for each candidate from the normal distribution of its predictions.

    Args:
        predictions: of each member of an ensemble, ``[members, n]``.
        generator: of the draw.

    Returns:
        Independent draws, ``[n]``, with the members' mean and standard deviation.
    """
    noise = torch.randn(predictions.shape[1], generator=generator)
    return predictions.mean(0) + predictions.std(0) * noise
