"""Augmentations: symmetries that a task declares, applied to whole batches on their device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Augmentation(Protocol):
    """Draws a symmetry for each example of a batch ``[N, C, ...]`` from an explicit generator."""

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Mirror:
    """Flips each example along spatial ``axis`` (0 is the first) with probability one half."""

    axis: int

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        draw = torch.rand(len(inputs), generator=generator) < 0.5
        flip = draw.to(inputs.device).view(-1, *[1] * (inputs.dim() - 1))
        return torch.where(flip, inputs.flip(self.axis + 2), inputs)


@dataclass(frozen=True)
class Shift:
    """Moves each example by up to ``pixels`` along every spatial axis; zeros come in at the border.

    The same as a random crop of the image padded by ``pixels`` (He et al. 2016, section 4.2).
    """

    pixels: int

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        spatial = inputs.shape[2:]
        padded = functional.pad(inputs, [self.pixels, self.pixels] * len(spatial))
        n = len(inputs)
        index: list[Tensor] = [torch.arange(n, device=inputs.device).view(n, *[1] * len(spatial))]
        for axis, size in enumerate(spatial):
            start = torch.randint(0, 2 * self.pixels + 1, (n, 1), generator=generator)
            positions = (start + torch.arange(size)).to(inputs.device)
            shape = [n] + [1] * len(spatial)
            shape[axis + 1] = size
            index.append(positions.view(shape))
        channels_last = padded.movedim(1, -1)[tuple(index)]
        return channels_last.movedim(-1, 1).contiguous()


@dataclass(frozen=True)
class First:
    """Applies ``augmentation`` to the first ``channels`` only; the others stay as they are."""

    channels: int
    augmentation: Augmentation

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        moved = self.augmentation(inputs[:, : self.channels], generator)
        return torch.cat([moved, inputs[:, self.channels :]], dim=1)


@dataclass(frozen=True)
class Forget:
    """Makes observations unobserved, each with probability ``share``, independently.

    The channels are as many values as masks, first the values: a position of channel ``i`` and of
    its mask are set to 0 together.
    """

    share: float

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        n, channels = inputs.shape[:2]
        pairs = inputs.unflatten(1, (2, channels // 2))
        draw = torch.rand(n, 1, *pairs.shape[2:], generator=generator) >= self.share
        return (pairs * draw.to(inputs.device)).flatten(1, 2)
