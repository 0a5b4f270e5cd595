"""Batch normalisation of rows, with the running statistics that evaluation uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-5  # torch's default


class Statistics(nn.Module):
    """Running mean and variance of channels, and the normalisation by them; no affine part.

    Args:
        shape: of the channels, such as ``(2, 16)``.

    The same numbers as ``torch.nn.BatchNorm2d(affine=False)``, for values that lie
    ``[*shape, positions]``. ``momentum`` is the share of a new batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, *shape: int):
        super().__init__()
        self.momentum = 0.1
        self.tracking = True
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))

    def normalise(self, x: Tensor, at: tuple[int, ...] = ()) -> Tensor:
        """Return rows with mean zero and variance one.

        Args:
            x: ``[*shape, positions]``, or ``[channels, positions]`` of those at ``at``.
            at: first indices of the channels.
        """
        if not self.training:
            scale = torch.rsqrt(self.running_var[at] + EPSILON)
            return (x - self.running_mean[at][..., None]) * scale[..., None]
        count = x.shape[-1]
        if count == 1:
            raise ValueError("batch norm needs more than one value for each channel")
        normal, mean, scale = torch.native_layer_norm(x, [count], None, None, EPSILON)
        self.take_scale(mean[..., 0], scale[..., 0], count, at)
        return normal

    def take_scale(self, mean: Tensor, scale: Tensor, count: int, at: tuple[int, ...] = ()) -> None:
        """Do as :meth:`take`, with 1 / sqrt(variance + epsilon) in place of the variance."""
        if self.tracking:
            variance = scale.detach().square().reciprocal_().sub_(EPSILON)
            self.take(mean.detach(), variance, count, at)

    def take(self, mean: Tensor, variance: Tensor, count: int, at: tuple[int, ...] = ()) -> None:
        """Move the running statistics towards those of a batch of ``count`` values a channel."""
        if self.tracking:
            running_mean = self.running_mean[at] if at else self.running_mean
            running_var = self.running_var[at] if at else self.running_var
            running_mean.lerp_(mean, self.momentum)
            running_var.lerp_(variance * (count / (count - 1)), self.momentum)
