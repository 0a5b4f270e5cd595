"""What a method that fits a model remembers: which candidates it asked for and what they scored."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._ensemble import Decisions
from searchers._scale import Scale

# A draw that is new is looked for so often: where one in 20 is, so many miss it once in 170 times.
_DRAWS = 100


class Evidence:
    """Candidates of ``space`` by their decisions; one that is told twice has its last score."""

    def __init__(self, space: SearchSpace):
        self.space = space
        self.scores: dict[Decisions, float] = {}
        self.asked: set[Decisions] = set()

    def tell(self, genotype: Genotype, score: float) -> None:
        """Take in a score."""
        self.scores[self.space.encode(genotype)] = score

    def new(self, candidates: Iterable[Genotype]) -> list[Decisions]:
        """Return each of ``candidates`` once that was neither asked for nor told of."""
        found = dict.fromkeys(self.space.encode(genotype) for genotype in candidates)
        return [d for d in found if d not in self.asked and d not in self.scores]

    def best(self, n: int) -> list[Decisions]:
        """Return the ``n`` candidates with the highest scores, the earlier of equals first."""
        return sorted(self.scores, key=self.scores.__getitem__, reverse=True)[:n]

    def targets(self) -> list[float]:
        """Return the scores on a scale that is the same for every unit."""
        scale = Scale(self.scores.values())
        return [scale(score) for score in self.scores.values()]

    def ask(self, decisions: Decisions) -> Genotype:
        """Note that a candidate was asked for, and return it."""
        self.asked.add(decisions)
        return self.space.decode(decisions)

    def ask_random(self, rng: random.Random) -> Genotype:
        """Draw a new candidate; one that is not new where the space seems to have none left."""
        for _ in range(_DRAWS):
            genotype = self.space.sample(rng)
            if new := self.new([genotype]):
                return self.ask(new[0])
        return genotype

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as plain values; JSON has no minus infinity, so scores are texts."""
        return {
            "scores": [[list(d), str(score)] for d, score in self.scores.items()],
            "asked": sorted(map(list, self.asked)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.scores = {tuple(d): float(score) for d, score in state["scores"]}
        self.asked = {tuple(d) for d in state["asked"]}
