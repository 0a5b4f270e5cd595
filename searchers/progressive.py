"""Progressive search: a beam of candidates grows block by block, led by an ensemble.

Liu, Zoph, Neumann, Shlens, Hua, Li, Fei-Fei, Yuille, Huang, Murphy: Progressive Neural Architecture
Search, ECCV 2018, algorithm 1: score cells of one block; then, for each size up to five blocks,
extend those of the beam by every possible block, predict the extensions by an ensemble of five
networks, each trained on four fifths of the scores, and score the best predicted ones.

Deviations:

- The paper's cells exist in five sizes. A space of decisions holds complete architectures only, so
  size is how many leading decisions the search has been through: ``blocks`` pieces of about equal
  length. The rest of a candidate is that of the one it extends, as far as it is still possible, and
  random where nothing was extended yet. Thus every candidate can be built at any size, and
  differences in score come from the new block alone.
- First comes a beam of random candidates, whose first blocks are as different as can be; the paper
  scores all cells of one block, of which there are 136.
- The beam is what scored best so far, of any size: the networks of all sizes are complete and can
  be compared.
- It is as wide as ``evaluations`` allows (the paper: 256 of about 1,160 in all). After the last
  block the first is extended again.
- Where there are too many extensions to predict all, some are drawn (the paper predicted 10^5).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers import _plain
from searchers._base import NO_COSTS, Sampler
from searchers._chance import stream
from searchers._ensemble import Decisions, EnsembleParams
from searchers._evidence import Evidence

_LENGTHS = 20  # random sequences whose mean length is what blocks are cut from


class Progressive(Sampler):
    """Asks for the extensions of its best candidates that an ensemble predicts to be the best.

    The next size begins when all candidates of one were asked for, with the scores there are.
    """

    class Params(EnsembleParams):
        """Parameters of the beam and of its ensemble."""

        evaluations: int = pydantic.Field(
            100, ge=1, description="candidates that the search will score; sets what is not given"
        )
        blocks: int = pydantic.Field(5, ge=1, description="sizes to grow through, at most")
        beam: int | None = pydantic.Field(None, ge=1, description="candidates of each size")
        extensions: int = pydantic.Field(500, ge=1, description="predicted for each size")

    params: Params
    smoke: ClassVar[dict[str, Any]] = {"beam": 5, "extensions": 20, "epochs": 20}

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed)
        self.ensemble = params.ensemble(leave_out=True)
        self.evidence = Evidence(space)
        self.rng = random.Random(seed)
        self.generator = stream(seed, "progressive")
        self.block, self.sizes = self._blocks()
        self.beam = params.beam or max(params.evaluations // (self.sizes + 1), 1)
        self.size = 0  # blocks that have been extended, counted on through all rounds
        self.batch: list[Decisions] = self._first()

    def ask(self) -> Genotype:
        if not self.batch and any(score > -math.inf for score in self.evidence.scores.values()):
            self.batch = self._next()
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
            "size": self.size,
            "batch": [list(decisions) for decisions in self.batch],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.evidence.load_state_dict(state["evidence"])
        _plain.to_random(self.rng, state["rng"])
        _plain.to_generator(self.generator, state["generator"])
        self.size = state["size"]
        self.batch = [tuple(decisions) for decisions in state["batch"]]

    def _blocks(self) -> tuple[int, int]:
        """Return how many decisions make a block, and how many blocks there are."""
        drawn = [self.space.encode(self.space.sample(self.rng)) for _ in range(_LENGTHS)]
        length = sum(map(len, drawn)) / len(drawn)
        block = max(math.ceil(length / self.params.blocks), 1)
        return block, max(math.ceil(length / block), 1)

    def _first(self) -> list[Decisions]:
        """Return a beam of random candidates in which each first block stands as often."""
        drawn = self.evidence.new(self.space.sample(self.rng) for _ in range(10 * self.beam))
        by_start: dict[Decisions, list[Decisions]] = {}
        for decisions in drawn:
            by_start.setdefault(decisions[: self.block], []).append(decisions)
        order = [
            (turn, decisions) for like in by_start.values() for turn, decisions in enumerate(like)
        ]
        return [decisions for _, decisions in sorted(order, key=lambda pair: pair[0])][: self.beam]

    def _next(self) -> list[Decisions]:
        """Return the extensions of the beam, by the next block, that are predicted to be best."""
        for _ in range(self.sizes):
            first = (self.size % self.sizes) * self.block
            last = first + self.block if (self.size + 1) % self.sizes else None
            self.size += 1
            found = self._extensions(first, last)
            if found:
                known, targets = list(self.evidence.scores), self.evidence.targets()
                predicted = self.ensemble.predict(known, targets, found, self.generator).mean(0)
                best = predicted.argsort(descending=True, stable=True)[: self.beam]
                return [found[i] for i in best.tolist()]
        return []

    def _extensions(self, first: int, last: int | None) -> list[Decisions]:
        """Return new candidates that differ from one of the beam in decisions ``first:last``.

        Args:
            first: place of the first decision that may differ.
            last: place after the last one; None for all to the end.
        """
        parents = [
            decisions
            for decisions in self.evidence.best(self.beam)
            if self.evidence.scores[decisions] > -math.inf and len(decisions) > first
        ]
        found: list[Genotype] = []
        for parent in parents:
            share = math.ceil(self.params.extensions / len(parents))
            starts = list(islice(self._continuations(parent[:first], last), share + 1))
            if len(starts) > share:
                starts = [self._continue(parent[:first], last) for _ in range(share)]
            found += [self.space.decode(self._rest(start, parent)) for start in starts]
        return self.evidence.new(found)

    def _continuations(self, start: Decisions, last: int | None) -> Iterator[Decisions]:
        """Yield every way to go on from ``start`` up to the place ``last`` or to the end."""
        count = 0 if len(start) == last else self.space.options(start)
        if count == 0:
            yield start
        for option in range(count):
            yield from self._continuations((*start, option), last)

    def _continue(self, start: Decisions, last: int | None) -> Decisions:
        """Draw one way to go on."""
        while len(start) != last and (count := self.space.options(start)) > 0:
            start = (*start, self.rng.randrange(count))
        return start

    def _rest(self, start: Decisions, parent: Decisions) -> Decisions:
        """Complete ``start`` by the decisions of ``parent``; at random where those can't be."""
        while (count := self.space.options(start)) > 0:
            kept = parent[len(start)] if len(start) < len(parent) else count
            start = (*start, kept if kept < count else self.rng.randrange(count))
        return start
