"""A textbook supernet and a wave supernet with the same weights, and what the two are compared by.

All in float64: whatever differs by more than rounding is a mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from search_space.mixture import Mixture, edges
from search_space.spaces.darts import Darts
from search_space.stacking import faster, places, to_textbook
from search_space.supernet import Supernet, TextbookSupernet
from search_space.task import Task
from search_space.wave_supernet import WaveSupernet

OPERATIONS = Darts().operations
KINDS = ("normal", "reduce")
CLOSE = 1e-10  # relative error of what two orders of additions give in float64

Choices = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Twins:
    """Two forms of one supernet, weights included, and a task for both."""

    task: Task
    textbook: TextbookSupernet
    wave: WaveSupernet

    @classmethod
    def of(
        cls,
        task: Task,
        *,
        operations: Sequence[str] = OPERATIONS,
        nodes: int = 4,
        channels: int = 4,
        layers: int = 3,
        partial: int = 1,
    ) -> Twins:
        """Make both; the weights are always the same."""
        torch.manual_seed(0)
        shape = {"nodes": nodes, "channels": channels, "layers": layers, "partial": partial}
        textbook = TextbookSupernet(task, operations=operations, **shape).double()
        wave = faster(textbook, task)
        assert isinstance(wave, WaveSupernet)
        # Loaded once more: the values above went through a module of float32.
        twins = cls(task, textbook, wave.double())
        twins.align()
        return twins

    def align(self) -> None:
        """Give the textbook the wave's weights and statistics."""
        to_textbook(self.wave.state_dict(), self.wave, self.textbook)

    def batch(self, split: str = "train") -> tuple[Tensor, Tensor]:
        """Return all inputs and targets of a split, in float64."""
        examples = getattr(self.task, split)
        inputs, targets = self.task.batch(examples, torch.arange(len(examples)))
        return inputs.double(), targets.double() if targets.is_floating_point() else targets

    def mixtures(
        self, active: Mapping[str, Choices] | None = None, bypass: bool = True, seed: int = 1
    ) -> dict[str, Mixture]:
        """Return mixtures that prefer something, of leaves that ask for a gradient."""
        generator = torch.Generator().manual_seed(seed)
        rows, columns = len(edges(self.wave.nodes)), len(self.wave.operations)
        found = {}
        for kind in KINDS:
            table = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
            around = torch.rand(rows, generator=generator, dtype=torch.float64)
            found[kind] = Mixture(
                table.softmax(dim=1).requires_grad_(),
                around.requires_grad_() if bypass and self.wave.partial > 1 else None,
                None if active is None else active[kind],
            )
        return found

    def as_textbook(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors by the names of the wave's as the textbook would hold them."""
        theirs = {**dict(self.textbook.named_parameters()), **dict(self.textbook.named_buffers())}
        found = {name: value for name, value in values.items() if name in theirs}
        for place in places(self.wave):
            if place.stacked in values:
                part = values[place.stacked][place.at]
                found[place.textbook] = part.reshape(theirs[place.textbook].shape)
        return found

    def gradients(
        self, supernet: Supernet, mixtures: Mapping[str, Mixture]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the outputs for the training split, and the loss's gradients by the mixtures and,
        under the textbook's names, the weights."""
        inputs, targets = self.batch()
        outputs = supernet(inputs, mixtures)
        of_mixtures = leaves(mixtures)
        of_weights = dict(supernet.named_parameters())
        loss = self.task.loss(outputs, targets)
        found = torch.autograd.grad(
            loss,
            [*of_mixtures.values(), *of_weights.values()],
            allow_unused=True,
            materialize_grads=True,
        )
        by_mixtures = dict(zip(of_mixtures, found, strict=False))
        by_weights = dict(zip(of_weights, found[len(of_mixtures) :], strict=True))
        if supernet is self.wave:
            by_weights = self.as_textbook(by_weights)
        return outputs.detach(), {**by_mixtures, **by_weights}

    def statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return each running statistic as the wave and as the textbook has it."""
        ours = self.as_textbook(dict(self.wave.named_buffers()))
        return {
            name: (ours[name], theirs)
            for name, theirs in self.textbook.named_buffers()
            if theirs.is_floating_point()
        }


def leaves(mixtures: Mapping[str, Mixture]) -> dict[str, Tensor]:
    """Return the tensors that mixtures are made of, by names."""
    return {
        f"{kind} {part}": tensor
        for kind, mixture in mixtures.items()
        for part, tensor in (("weights", mixture.weights), ("bypass", mixture.bypass))
        if tensor is not None
    }


def error(ours: Tensor, theirs: Tensor) -> float:
    """Return the relative error of ``ours``."""
    ours, theirs = ours.detach(), theirs.detach()
    size, distance = float(theirs.norm()), float((ours - theirs).norm())
    return distance / size if size > 0 else distance


def worst(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """Return the largest error of tensors by names, each relative to its own size.

    Below a hundred thousandth of all tensors' mean size it is relative to that instead: what
    should be zero is rounding.
    """
    assert ours.keys() == theirs.keys()
    numbers = sum(t.numel() for t in theirs.values())
    sizes = {name: float(t.detach().norm()) for name, t in theirs.items()}
    mean = (sum(size**2 for size in sizes.values()) / max(1, numbers)) ** 0.5
    return max(
        float((ours[name] - t).detach().norm()) / max(sizes[name], 1e-5 * mean, 1e-300)
        for name, t in theirs.items()
    )
