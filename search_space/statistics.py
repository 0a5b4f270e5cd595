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

    def normalise(self, x: Tensor, at: int | None = None) -> Tensor:
        """Return rows with mean zero and variance one.

        Args:
            x: ``[*shape, positions]``, or ``[channels, positions]`` of one group.
            at: the number of that group of channels, counted over all of the shape but its last
                dimension.
        """
        if not self.training:
            mean, variance = self._running(at)
            return (x - mean[..., None]) * torch.rsqrt(variance + EPSILON)[..., None]
        count = x.shape[-1]
        if count == 1:
            raise ValueError("batch norm needs more than one value for each channel")
        normal, mean, scale = torch.native_layer_norm(x, [count], None, None, EPSILON)
        self.take_scale(mean[..., 0], scale[..., 0], count, at)
        return normal

    def take_scale(self, mean: Tensor, scale: Tensor, count: int, at: int | None = None) -> None:
        """Do as :meth:`take`, with 1 / sqrt(variance + epsilon) in place of the variance."""
        if self.tracking:
            self.take(mean, scale.pow(-2).sub_(EPSILON), count, at)

    def take(self, mean: Tensor, variance: Tensor, count: int, at: int | None = None) -> None:
        """Move the running statistics towards those of a batch of ``count`` values a channel."""
        if self.tracking:
            running_mean, running_var = self._running(at)
            unbiased = variance * (count / (count - 1))
            running_mean.lerp_(mean.view_as(running_mean), self.momentum)
            running_var.lerp_(unbiased.view_as(running_var), self.momentum)

    def _running(self, at: int | None) -> tuple[Tensor, Tensor]:
        mean, variance = self.running_mean, self.running_var
        if at is None:
            return mean, variance
        return mean.view(-1, mean.shape[-1])[at], variance.view(-1, mean.shape[-1])[at]
