"""Gumbel: each step draws one operation an edge, with the gradient of a softened draw.

Dong, Yang: Searching for a Robust Neural Architecture in Four GPU Hours (GDAS), CVPR 2019,
section 3.2; temperatures from the authors' code (D-X-Y/AutoDL-Projects). The softened draw alone
is that of Xie et al.: SNAS: Stochastic Neural Architecture Search, ICLR 2019.

Deviation: the temperature falls with every step, not every epoch.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic
import torch
from torch import Tensor

from searchers._base import StrictParams
from searchers.relaxations._base import Relaxation


class Gumbel(Relaxation):
    """One-hot draws with the probabilities softmax(alpha), straight through in the gradient."""

    class Params(StrictParams):
        """How soft the draw is that the gradient takes for the one-hot one; linear in between."""

        temperature_start: float = pydantic.Field(10.0, gt=0)
        temperature_end: float = pydantic.Field(0.1, gt=0)

    sampled: ClassVar[bool] = True

    def expected(self, alpha: Tensor) -> Tensor:
        return alpha.softmax(dim=-1)

    def temperature(self, progress: float) -> float:
        """Return the temperature when ``progress`` of the search is done."""
        start, end = self.params.temperature_start, self.params.temperature_end
        return start + (end - start) * progress

    def draw(self, alpha: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        noise = standard_gumbel(alpha.shape, generator).to(alpha)
        # The log of the probabilities, as in GDAS, differs from alpha by a constant of each row,
        # which neither the largest nor a softmax sees.
        soft = ((alpha + noise) / self.temperature(progress)).softmax(dim=-1)
        largest = (alpha + noise).argmax(dim=-1, keepdim=True)
        hard = torch.zeros_like(alpha).scatter(-1, largest, 1.0)
        # In this order the soft draw cancels exactly, and the value is one-hot to the last bit.
        return hard + (soft - soft.detach())


def standard_gumbel(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return float64 noise of the standard Gumbel distribution, finite, on the CPU."""
    waiting = torch.empty(shape, dtype=torch.float64).exponential_(generator=generator)
    return -waiting.clamp(min=torch.finfo(torch.float64).tiny).log()
