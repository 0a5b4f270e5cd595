"""Grid search: every architecture of a small space once, in random order.

The standard exhaustive search. The order is random, so that a search which is stopped early has
seen no particular corner of the space: it is then random search without replacement.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._base import NO_COSTS, Sampler, StrictParams


class Grid(Sampler):
    """Enumerates the decision sequences of a space; scores don't change what comes next.

    Raises:
        ValueError: the space has more sequences than ``largest``.
    """

    class Params(StrictParams):
        """How large a space may be."""

        largest: int = pydantic.Field(100_000, ge=1, description="number of decision sequences")

    guided: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed)
        size = space.size()
        if size is None:  # counted only as far as it may be
            size = sum(1 for _ in islice(sequences(space), params.largest + 1))
        if size > params.largest:
            count = f"{size:,}" if space.size() is not None else f"more than {params.largest:,}"
            raise ValueError(
                f"the space {space.name!r} has {count} decision sequences, and grid takes up to "
                f"{params.largest:,}; choose a smaller space, another method such as "
                "random_search, or raise `params: {largest: N}`"
            )
        self.place = 0
        self._order: list[tuple[int, ...]] | None = None

    def ask(self) -> Genotype | None:
        order = self._shuffled()
        if self.place == len(order):
            return None
        self.place += 1
        return self.space.decode(order[self.place - 1])

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        """Nothing is learned from a score."""

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "place": self.place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["seed"] != self.seed:
            self._order = None
        self.seed, self.place = state["seed"], state["place"]

    def _shuffled(self) -> list[tuple[int, ...]]:
        if self._order is None:
            self._order = list(sequences(self.space))
            random.Random(self.seed).shuffle(self._order)
        return self._order


def sequences(space: SearchSpace) -> Iterator[tuple[int, ...]]:
    """Yield every complete decision sequence of a space, the last decision changing fastest."""
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        decisions = waiting.pop()
        count = space.options(decisions)
        if count == 0:
            yield decisions
        waiting += [(*decisions, option) for option in reversed(range(count))]
