"""Search spaces of numbers, small enough to know all of them, and landscapes over them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from search_space.genotype import Genotype
from search_space.space import SearchSpace

Landscape = Callable[[Genotype], float]


@dataclass(frozen=True)
class Sequences(SearchSpace):
    """Sequences of ``length`` decisions with ``count`` options each."""

    length: int = 5
    count: int = 4

    @property
    def name(self) -> str:
        return "sequences"

    def options(self, decisions: Sequence[int]) -> int:
        return self.count if len(decisions) < self.length else 0

    def decode(self, decisions: Sequence[int]) -> Genotype:
        self._complete_or_raise(decisions)
        return Genotype.of(self.name, {"decisions": list(decisions)})

    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        self._own(genotype)
        return tuple(genotype.data["decisions"])

    def build(self, *arguments: object, **more: object) -> NoReturn:
        raise NotImplementedError

    def size(self) -> int | None:
        return self.count**self.length


@dataclass(frozen=True)
class Stacks(Sequences):
    """Stacks of one to ``length`` layers: the first decision says how many; no closed form."""

    @property
    def name(self) -> str:
        return "stacks"

    def options(self, decisions: Sequence[int]) -> int:
        if not decisions:
            return self.length
        return self.count if len(decisions) < decisions[0] + 2 else 0

    def size(self) -> int | None:
        return None


def matches(space: Sequences, seed: int) -> Landscape:
    """Return a landscape without traps: the share of decisions that equal those of the optimum."""
    optimum = space.encode(space.sample(random.Random(f"optimum {seed}")))

    def score(genotype: Genotype) -> float:
        decisions = space.encode(genotype)
        equal = sum(a == b for a, b in zip(decisions, optimum, strict=False))
        return equal / max(len(decisions), len(optimum))

    return score


def rugged(space: Sequences, seed: int) -> Landscape:
    """Return a landscape in which neighbouring decisions interact, and noise makes small traps.

    The optimum scores 1; an architecture with all decisions right but one at most 0.9.
    """
    smooth = matches(space, seed)

    def score(genotype: Genotype) -> float:
        decisions, level = space.encode(genotype), smooth(genotype)
        if level == 1:
            return 1.0
        pairs = itertools.pairwise(decisions)
        interaction = sum(random.Random(f"{seed} {i} {p}").random() for i, p in enumerate(pairs))
        return 0.8 * level + 0.1 * interaction / max(1, len(decisions) - 1)

    return score
