"""Fidelity: how much of the full training an estimate spends, along five axes at once.

Elsken, Metzen, Hutter: Neural Architecture Search: A Survey, JMLR 2019, section 4: fewer epochs, a
part of the data, lower resolution, fewer channels and layers. Each makes a score cheaper and less
faithful: rankings can differ from those of full trainings.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pydantic
import torch
from torch import Tensor
from torch.nn import functional

from search_space.cost import cost
from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Split, Task
from searchers._chance import stream
from searchers._training import TrainingParams, planned_compute


class FidelityParams(TrainingParams):
    """How a candidate is trained, how large its network is, and on how much of the data."""

    epochs: int = pydantic.Field(10, ge=1)
    channels: int = pydantic.Field(16, ge=2, multiple_of=2)
    layers: int = pydantic.Field(8, ge=1)
    examples: float = pydantic.Field(1.0, gt=0, le=1, description="share of the training split")
    resolution: float = pydantic.Field(1.0, gt=0, le=1, description="of inputs, along each side")

    @pydantic.model_serializer(mode="wrap")
    def _as_if_never_heard_of(self, handler: Any) -> dict[str, Any]:
        """Leave out a share that is whole: jobs that don't use it keep the keys they have."""
        whole = {name for name in ("examples", "resolution") if getattr(self, name) == 1.0}
        return {name: value for name, value in handler(self).items() if name not in whole}

    def count(self, task: Task) -> int:
        """Return how many training examples are used: the share, rounded, and at least one."""
        return max(1, math.floor(self.examples * len(task.train) + 0.5))

    def coarsened(self, task: Task) -> Task:
        """Return ``task`` at this resolution, with all its examples."""
        return task if self.resolution == 1.0 else CoarseTask.made_from(task, self.resolution)

    def reduced(self, task: Task, seed: int) -> Task:
        """Return ``task`` at this resolution with this share of the training split.

        The validation split stays whole, and inputs and targets keep the statistics of the whole
        training split. Candidates of one seed are trained on the same examples.
        """
        task = self.coarsened(task)
        if self.examples == 1.0:
            return task
        rows = subset(task.train.targets, self.count(task), stream(seed, "examples"))
        return dataclasses.replace(task, train=task.train.rows(rows))

    def multiply_adds(self, space: SearchSpace, genotype: Genotype, task: Task) -> int:
        """Return those of one example's forward pass at this size and resolution."""
        task = self.coarsened(task)
        with torch.device("meta"):
            network = space.build(genotype, task, channels=self.channels, layers=self.layers)
        return cost(network, task).multiply_adds

    def compute(self, space: SearchSpace, genotype: Genotype, task: Task) -> float:
        """Return the multiply-adds of the whole training, planned."""
        count = self.count(task)
        # As many examples as are used; which ones is not drawn for this.
        fewer = Split(task.train.inputs[:count], task.train.targets[:count])
        task = dataclasses.replace(task, train=fewer)
        return planned_compute(self.multiply_adds(space, genotype, task), task, self)


def subset(targets: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` rows, stratified where targets have an order; return them sorted.

    Rows are shuffled and sorted by class, or by value where the target is one real number, and
    taken at equal distances (systematic sampling; Cochran, Sampling Techniques, 3rd ed. 1977,
    section 8.1). So the number from a class differs by less than one from its share; a class with
    less than one expected row can get none. Other targets: a simple random draw.

    Args:
        targets: class numbers ``[N]``, or ``[N, ...]``.
        count: from 1 to N.
        generator: of the order and the offset.
    """
    rows = torch.randperm(len(targets), generator=generator)
    if targets.dim() == 1 or targets[0].numel() == 1:
        rows = rows[targets.flatten().cpu()[rows].argsort(stable=True)]
    offset = float(torch.rand((), generator=generator, dtype=torch.float64))
    places = (torch.arange(count, dtype=torch.float64) + offset) * (len(rows) / count)
    return rows[places.long().clamp_(max=len(rows) - 1)].sort().values.to(targets.device)


class CoarseTask(Task):
    """A task whose inputs are made smaller by area averaging, batch by batch where they lie.

    Augmentation comes before: its shifts are of the original pixels. Where outputs are dense, what
    the network puts out is interpolated to the size of the targets, so that the metric is that of
    the original task. Averaging takes variance away: inputs are standardised by the statistics of
    the original ones and have a deviation below 1.
    """

    @classmethod
    def made_from(cls, task: Task, resolution: float) -> CoarseTask:
        """Return ``task`` at a share ``resolution`` of each side, rounded, at least one pixel."""
        sides = (max(1, math.floor(resolution * side + 0.5)) for side in task.spatial)
        fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
        return cls(**{**fields, "shape": (task.channels, *sides)})

    def batch(
        self, split: Split, indices: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        inputs, targets = super().batch(split, indices, generator)
        return functional.interpolate(inputs, size=self.spatial, mode="area"), targets

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().loss(self._full(outputs, targets), targets)

    def _in_unit(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return super()._in_unit(self._full(outputs, targets), targets)

    def _full(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if not self.output.dense:
            return outputs
        mode = "linear" if len(self.spatial) == 1 else "bilinear"
        size = targets.shape[2:]
        return functional.interpolate(outputs, size=size, mode=mode, align_corners=False)
