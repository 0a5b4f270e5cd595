"""Inherited weights: a candidate begins with the weights of one scored before, and trains briefly.

Real et al.: Large-Scale Evolution of Image Classifiers, ICML 2017, section 3.6; Elsken, Metzen,
Hutter: Simple and Efficient Architecture Search, 2018, section 3. How weights are passed on, with
its papers, stands in searchers/_inheritance.py.

The parent is the nearest of the candidates scored so far in the same search, by the number of
decisions that differ; of equally near ones the best, then the earliest. For a mutation that is the
architecture it was made from, or one as near. The first candidates begin anew.

Deviations. The parent is found by distance, not told by the sampler, so that any sampler will do.
Every candidate trains for the same epochs with a learning rate that begins and ends alike; the
optimiser's momentum is not inherited. A score hangs on all ancestors' training, so that later
candidates have an advantage over earlier ones: compare scores with care, or ask ``agreement``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pydantic
import torch
from torch import nn

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Task
from searchers._base import Report
from searchers._inheritance import inherit
from searchers._training import Training, TrainingParams
from searchers.estimators._base import Legacy, RecallingEstimator, Scored
from searchers.estimators._fidelity import FidelityParams


class InheritedWeights(RecallingEstimator):
    """Trains each candidate for a few epochs from the weights of the nearest one before it."""

    class Params(FidelityParams):
        """How a candidate is trained on, how large its network is, and on how much of the data."""

        epochs: int = pydantic.Field(3, ge=1, description="of each candidate, with a parent or not")

    smoke: ClassVar[dict[str, Any]] = {"epochs": 1, "channels": 2, "layers": 2, "batch_size": 16}

    def recall(
        self,
        space: SearchSpace,
        genotype: Genotype,
        before: Sequence[Scored],
        *,
        higher_is_better: bool,
    ) -> dict[str, Any] | None:
        if not before:
            return None
        sign = 1.0 if higher_is_better else -1.0
        parent = min(
            before, key=lambda s: (decisions_apart(space, genotype, s.genotype), -sign * s.score)
        )
        return {"parent": parent.genotype.to_json(), "job": parent.key}

    def program(
        self,
        space: SearchSpace,
        genotype: Genotype,
        task: Task,
        *,
        seed: int,
        device: torch.device,
        recalled: dict[str, Any] | None = None,
        legacies: Callable[[str], Legacy] | None = None,
    ) -> HeirTraining:
        task = self.params.reduced(task, seed)
        size = {"channels": self.params.channels, "layers": self.params.layers}
        shares: list[float] = []

        def build() -> nn.Module:
            auxiliary = self.params.auxiliary > 0
            network = space.build(genotype, task, **size, auxiliary=auxiliary)
            if recalled is not None:
                assert legacies is not None
                other = Genotype.from_json(recalled["parent"])
                parent = space.build(other, task, **size, auxiliary=auxiliary)
                parent.load_state_dict(legacies(recalled["job"]))
                shares.append(inherit(network, parent, task.shape))
            return network

        heir = HeirTraining(build, task, self.params, seed=seed, device=device)
        heir.inherited = shares[0] if shares else 0.0
        return heir

    def compute(self, space: SearchSpace, genotype: Genotype, task: Task) -> float:
        return self.params.compute(space, genotype, task)


class HeirTraining(Training):
    """A training that says which share of its parameters was inherited, and leaves its weights."""

    params: TrainingParams
    inherited: float = 0.0

    def _report(self, rows: Sequence[tuple[str, str, float]], *weights: Any) -> Report:
        share = [("train", "inherited", self.inherited)] if self.epoch == 1 else []
        return super()._report([*share, *rows], *weights)

    def legacy(self) -> Legacy:
        """Return the state of the trained network, on the CPU."""
        return {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}


def decisions_apart(space: SearchSpace, one: Genotype, other: Genotype) -> int:
    """Return in how many decisions two architectures differ; one that only one has counts too."""
    a, b = space.encode(one), space.encode(other)
    return sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
