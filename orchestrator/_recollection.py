"""Recollection: what a sampler's next candidate takes from those before it, decided once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from orchestrator._contender import Contender
from orchestrator.jobs import Job
from orchestrator.plan import MethodArm
from search_space.genotype import Genotype, canonical_json, digest
from searchers.estimators._base import RecallingEstimator, Scored


class Recollection:
    """Asks an arm's estimator what a candidate recalls; nothing where it is none that recalls.

    How many candidates had been scored when one was chosen hangs on the clock. It is decided once
    and kept in the store, so that a study that goes on asks for the same jobs again.
    """

    def __init__(self, contender: Contender, arm: MethodArm, position: int):
        assert arm.estimator is not None
        made = arm.estimator.make()
        self.estimator = made if isinstance(made, RecallingEstimator) else None
        self.contender, self.space = contender, arm.space.make()
        about = [contender.board.fingerprints[contender.label], contender.choice.model_dump()]
        self.about = [*about, arm.model_dump(mode="json"), position, contender.seeds[position]]

    def ready(self, number: int, told: int) -> bool:
        """Whether as many are ``told`` as the candidate ``number``, from 0, is to look back on."""
        if self.estimator is None:
            return True
        decided = self.contender.board.decisions.get(self._key(number))
        return decided is None or told >= decided

    def recall(
        self, genotype: Genotype, told: Sequence[tuple[Genotype, Job]], number: int
    ) -> dict[str, Any] | None:
        """Return what the candidate ``number`` takes from those ``told``, in order."""
        if self.estimator is None:
            return None
        key = self._key(number)
        count = self.contender.board.decisions.get(key)
        if count is None:
            count = float(len(told))
            self.contender.board.decide(key, "looked_back_on", count)
        before = [
            Scored(one, result.score, job.key)
            for one, job in told[: int(count)]
            if (result := self.contender.result(job)) and math.isfinite(result.score)
        ]
        higher = self.contender.task.metric.higher_is_better
        return self.estimator.recall(self.space, genotype, before, higher_is_better=higher)

    def _key(self, number: int) -> str:
        return digest(canonical_json(["looked_back_on", *self.about, number]))
