"""What is due when in a search of the DARTS family: its stages, warm-ups, rates and last epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The epochs of a search, told by a clock: epochs done, and those that a stop left out.

    Args:
        epochs: in all.
        own: the last ones, which the selection has for itself.
        stages: that the others are divided into, about equally.
        warmup: share of each stage's epochs in which only the weights train.
    """

    epochs: int
    own: int
    stages: int
    warmup: float

    @property
    def search(self) -> int:
        """Number of epochs before those of the selection."""
        return max(1, self.epochs - self.own)

    def begin(self, stage: int) -> int:
        """Return the first epoch of a stage, from 0."""
        return round(self.search * stage / self.stages)

    def stage(self, clock: int) -> int:
        """Return the stage of an epoch; those of the selection are in the last stage."""
        return max(s for s in range(self.stages) if self.begin(s) <= clock)

    def warms_up(self, clock: int) -> bool:
        """Whether only the weights train in an epoch."""
        stage = self.stage(clock)
        begin = self.begin(stage)
        return clock - begin < int(self.warmup * (self.begin(stage + 1) - begin))

    def share(self, clock: int) -> float:
        """Return the share of a stage's epochs that is done before an epoch."""
        stage = self.stage(clock)
        begin = self.begin(stage)
        end = self.epochs if stage == self.stages - 1 else self.begin(stage + 1)
        return (clock - begin) / (end - begin)

    def selecting(self, clock: int) -> bool:
        """Whether an epoch is one of the selection's."""
        return self.own > 0 and clock >= self.search

    def due(self, clock: int) -> float:
        """Return the share of the selection's epochs that is done after an epoch of its own."""
        return (clock - self.search + 1) / self.own


def cosine(first: float, last: float, share: float) -> float:
    """Return the rate when ``share`` of the epochs is done: from ``first`` towards ``last``.

    In closed form: a schedule that counts steps is one more thing to resume.
    """
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))
