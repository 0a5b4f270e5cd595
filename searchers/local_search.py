"""Local search: from the best of a few random architectures to its best neighbour, again and again.

White, Nolen, Savani: Exploring the Loss Landscape in Neural Architecture Search, UAI 2021,
algorithm 1. At a local optimum it starts anew, as their code does when the budget is not spent.

Deviation: where more is asked for while neighbours are still being scored, it draws at random, and
goes on from such a draw if it is better than all neighbours.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any, Literal

import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._base import NO_COSTS, Sampler, StrictParams
from searchers._population import Member, restore

# A space in which so many draws in a row are known already is as good as exhausted.
_DRAWS = 100


class LocalSearch(Sampler):
    """Climbs from neighbour to neighbour; neighbours differ in one decision."""

    class Params(StrictParams):
        """The paper's numbers are the defaults."""

        initial: int = pydantic.Field(
            10, ge=1, description="random architectures, of which the best is where a climb begins"
        )
        climb: Literal["best", "first"] = pydantic.Field(
            "best",
            description="go on when all neighbours are scored, to the best of them, or with the "
            "first one that is better (the paper's section 6, for large neighbourhoods)",
        )

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed)
        self.rng = random.Random(seed)
        self.scores: dict[str, float] = {}  # of all that was told, by key
        self._begin()

    def _begin(self) -> None:
        self.drawn = 0
        self.best: Member | None = None  # of this climb
        self.centre: Member | None = None  # whose neighbours are being scored
        self.queue: list[Genotype] = []  # of neighbours to ask for, the next one last
        self.waiting: set[str] = set()  # keys of neighbours that were asked for and not told

    def ask(self) -> Genotype:
        if self.drawn < self.params.initial or self.best is None:
            self.drawn += 1
            return self._draw()
        while self._round_is_over():
            if self._settled:
                self._begin()
                return self.ask()
            self._surround(self.best)
        if not self.queue:
            return self._draw()
        genotype = self.queue.pop()
        self.waiting.add(genotype.key)
        return genotype

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        self.scores[genotype.key] = score
        self.waiting.discard(genotype.key)
        self._consider(genotype, score)

    @property
    def _settled(self) -> bool:
        """Whether nothing better than the centre of the neighbours is known in this climb."""
        assert self.best is not None
        return self.centre is not None and self.best.genotype == self.centre.genotype

    def _round_is_over(self) -> bool:
        all_scored = not self.queue and not self.waiting
        return all_scored or (self.params.climb == "first" and not self._settled)

    def _consider(self, genotype: Genotype, score: float) -> None:
        if score > (self.best.score if self.best else -math.inf):
            self.best = Member(genotype, score)

    def _surround(self, centre: Member) -> None:
        """Queue the neighbours that have no score yet, in random order; consider the others."""
        self.centre, self.waiting = centre, set()
        neighbours = {n.key: n for n in self.space.neighbours(centre.genotype)}
        self.queue = [n for key, n in neighbours.items() if key not in self.scores]
        self.rng.shuffle(self.queue)
        for key, neighbour in neighbours.items():
            if key in self.scores:
                self._consider(neighbour, self.scores[key])

    def _draw(self) -> Genotype:
        """Draw an architecture that has no score yet, where there seems to be one."""
        for _ in range(_DRAWS):
            genotype = self.space.sample(self.rng)
            if genotype.key not in self.scores:
                break
        return genotype

    def state_dict(self) -> dict[str, Any]:
        return {
            "rng": self.rng.getstate(),
            "scores": dict(self.scores),
            "drawn": self.drawn,
            "best": self.best.to_data() if self.best else None,
            "centre": self.centre.to_data() if self.centre else None,
            "queue": [genotype.to_json() for genotype in self.queue],
            "waiting": sorted(self.waiting),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        restore(self.rng, state["rng"])
        self.scores, self.drawn = dict(state["scores"]), state["drawn"]
        self.best = Member.from_data(state["best"]) if state["best"] else None
        self.centre = Member.from_data(state["centre"]) if state["centre"] else None
        self.queue = [Genotype.from_json(text) for text in state["queue"]]
        self.waiting = set(state["waiting"])
