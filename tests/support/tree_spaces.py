"""Small search spaces that are nothing but decisions, to hold samplers against brute force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from search_space.genotype import Genotype
from search_space.space import SearchSpace


@dataclass(frozen=True)
class Grid(SearchSpace):
    """As many decisions as there are numbers, each of which is a number of options."""

    counts: tuple[int, ...] = (3, 3, 3)

    @property
    def name(self) -> str:
        return "tree"

    def options(self, decisions: Sequence[int]) -> int:
        return self.counts[len(decisions)] if len(decisions) < len(self.counts) else 0

    def decode(self, decisions: Sequence[int]) -> Genotype:
        self._complete_or_raise(decisions)
        return Genotype.of(self.name, {"decisions": list(decisions)})

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        self._own(genotype)
        self._complete_or_raise(genotype.data["decisions"])
        return tuple(genotype.data["decisions"])

    def build(self, *args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError("a space of decisions without networks")

    def sequences(self) -> Iterator[tuple[int, ...]]:
        """Yield every complete sequence."""
        open_ends: list[tuple[int, ...]] = [()]
        while open_ends:
            start = open_ends.pop()
            count = self.options(start)
            if count == 0:
                yield start
            open_ends += [(*start, option) for option in range(count)]


@dataclass(frozen=True)
class Tree(Grid):
    """The first decision says how many follow; how many options one has depends on the one before.

    1 + 3 + 3 x 2 + ... sequences: after option 0 of a decision the next one has two options.
    """

    depth: int = 4

    def options(self, decisions: Sequence[int]) -> int:
        if not decisions:
            return self.depth
        if len(decisions) > decisions[0]:
            return 0
        return 3 if len(decisions) == 1 or decisions[-1] > 0 else 2
