"""Single path one-shot: train shared weights by uniform paths, then evolve with them as the judge.

Guo et al.: Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020,
section 3 and algorithm 1: the best ten so far are the parents; half of a generation are children of
two of them, half are mutants of one, whose decisions change with a probability of 0.1 each. Batch
norms are fitted anew to each architecture that is scored.

Deviations: an architecture is not scored twice, unless nothing new is found in 100 tries; later
decisions that an earlier one makes impossible are drawn anew; there is no limit on multiply-adds.
20 architectures in 10 generations by default, the paper's are 50 in 20. What is left out adapts to
the task: see docs/one_shot.md; PAPER has the paper's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, ClassVar

import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._one_shot import UniformPaths
from searchers._shared_recipe import SharedRecipe

_TRIES = 100


class SinglePath(UniformPaths):
    """Evolution of architectures, scored with weights that all of them share."""

    class Params(SharedRecipe):
        """How the weights are trained, and how architectures evolve."""

        population: int = pydantic.Field(20, ge=2, description="of a generation")
        generations: int = pydantic.Field(10, ge=1, description="the first is random")
        parents: int = pydantic.Field(10, ge=1, description="best so far, from all generations")
        mutation: float = pydantic.Field(0.1, gt=0, le=1, description="probability of a decision")

    # ImageNet: section 4 and algorithm 1.
    PAPER: ClassVar[dict[str, Any]] = {
        "epochs": 120,
        "batch_size": 1024,
        "learning_rate": 0.5,
        "weight_decay": 4e-5,
        "population": 50,
        "generations": 20,
        "loss_scale": 1.0,
    }

    smoke: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "channels": 2,
        "layers": 2,
        "batch_size": 16,
        "population": 2,
        "generations": 2,
        "refit": 2,
    }

    @property
    def _total(self) -> int:
        return self.params.population * self.params.generations

    def _next(self) -> Genotype:
        known = {text for text, _ in self.found}
        for _ in range(_TRIES):
            genotype = self._proposal()
            if genotype.to_json() not in known:
                break
        return genotype

    def _proposal(self) -> Genotype:
        generation, place = divmod(len(self.found), self.params.population)
        if generation == 0:
            return self.space.sample(self.rng)
        # The parents of a generation are the best of those before it.
        before = self.found[: generation * self.params.population]
        best = sorted(before, key=lambda pair: -pair[1])[: self.params.parents]
        parents = [self.space.encode(Genotype.from_json(text)) for text, _ in best]
        if place < self.params.population // 2 and len(parents) > 1:
            return crossed(self.space, self.rng.sample(parents, 2), self.rng)
        return mutated(self.space, self.rng.choice(parents), self.params.mutation, self.rng)


def crossed(space: SearchSpace, parents: Sequence[Sequence[int]], rng: random.Random) -> Genotype:
    """Return a child that takes each decision from either parent, or anew where neither can."""
    child: list[int] = []
    while (count := space.options(child)) > 0:
        place = len(child)
        given = [p[place] for p in parents if place < len(p) and p[place] < count]
        child.append(rng.choice(given) if given else rng.randrange(count))
    return space.decode(child)


def mutated(
    space: SearchSpace, decisions: Sequence[int], probability: float, rng: random.Random
) -> Genotype:
    """Return a mutant in which each decision is drawn anew with ``probability``."""
    mutant: list[int] = []
    while (count := space.options(mutant)) > 0:
        place = len(mutant)
        kept = place < len(decisions) and decisions[place] < count
        if kept and rng.random() >= probability:
            mutant.append(decisions[place])
        else:
            mutant.append(rng.randrange(count))
    return space.decode(mutant)
