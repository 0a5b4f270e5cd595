"""Operations: what an edge can compute, for 1-D and 2-D inputs from one definition.

Kernel names are those of the published spaces: ``sep_conv_3x3`` on a 1-D input has width 3.
Order and content follow DARTS (Liu et al. 2019, section 3.1; quark0/darts, operations.py); then
come those of NASNet (Zoph et al. 2018, section 3.1) and of NAS-Bench-201 (Dong, Yang 2020, section
2.1), in the form that DARTS gave them: ReLU, convolutions, one batch norm at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
}
_MAX: dict[int, type[nn.MaxPool1d] | type[nn.MaxPool2d]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
_AVG: dict[int, type[nn.AvgPool1d] | type[nn.AvgPool2d]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d}

Factory = Callable[..., nn.Module]


def convolution(
    ndim: int,
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, ...],
    **options: int | tuple[int, ...],
) -> nn.Module:
    """Return a convolution without bias over ``ndim`` spatial dimensions."""
    return _CONV[ndim](inputs, outputs, kernel, bias=False, **options)  # type: ignore[arg-type]


def normalisation(ndim: int, channels: int, affine: bool = True) -> nn.Module:
    """Return a batch normalisation over ``ndim`` spatial dimensions."""
    return _NORM[ndim](channels, affine=affine)


def max_pooling(ndim: int, kernel: int, stride: int) -> nn.Module:
    """Return a max pooling whose outputs are as many as the inputs over ``stride``, rounded up.

    ``kernel`` is odd, as everywhere here: the window is centred.
    """
    return _MAX[ndim](kernel, stride=stride, padding=kernel // 2)


def average_pooling(ndim: int, kernel: int, stride: int) -> nn.Module:
    """Return an average pooling of the size of :func:`max_pooling`; padding does not count."""
    return _AVG[ndim](kernel, stride=stride, padding=kernel // 2, count_include_pad=False)


def _spatial(x: Tensor, part: slice) -> Tensor:
    """Return ``part`` of every spatial dimension of ``[N, C, ...]``."""
    return x[(slice(None), slice(None)) + (part,) * (x.dim() - 2)]


class Zero(nn.Module):
    """The operation ``none``: no connection."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(_spatial(x, slice(None, None, self.stride)))


class FactorizedReduce(nn.Module):
    """Halve the resolution by two strided pointwise convolutions, the second one pixel further on.

    Odd sizes give the rounded-up half, as a strided convolution with padding does; the published
    code can't take them.
    """

    def __init__(self, inputs: int, outputs: int, ndim: int, affine: bool = True):
        super().__init__()
        first = outputs // 2
        self.first = convolution(ndim, inputs, first, 1, stride=2)
        self.second = convolution(ndim, inputs, outputs - first, 1, stride=2)
        self.norm = normalisation(ndim, outputs, affine)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        ndim = x.dim() - 2
        shifted = _spatial(functional.pad(x, [0, 1] * ndim), slice(1, None))
        return self.norm(torch.cat([self.first(x), self.second(shifted)], dim=1))


class ReluConvNorm(nn.Sequential):
    """ReLU, convolution, batch norm; a pointwise one fits a cell's inputs to its width."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        ndim: int,
        affine: bool = True,
        kernel: int = 1,
        stride: int = 1,
    ):
        super().__init__(
            nn.ReLU(),
            convolution(ndim, inputs, outputs, kernel, stride=stride, padding=kernel // 2),
            normalisation(ndim, outputs, affine),
        )


def depthwise(
    channels: int, kernel: int, stride: int, dilation: int, ndim: int, affine: bool
) -> tuple[nn.Module, ...]:
    """Return ReLU, depthwise convolution, pointwise convolution, batch norm."""
    padding = dilation * (kernel - 1) // 2
    return (
        nn.ReLU(),
        convolution(
            ndim,
            channels,
            channels,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=channels,
        ),
        convolution(ndim, channels, channels, 1),
        normalisation(ndim, channels, affine),
    )


def _separable(kernel: int) -> Factory:
    def factory(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
        return nn.Sequential(
            *depthwise(channels, kernel, stride, 1, ndim, affine),
            *depthwise(channels, kernel, 1, 1, ndim, affine),
        )

    return factory


def _dilated(kernel: int) -> Factory:
    def factory(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
        return nn.Sequential(*depthwise(channels, kernel, stride, 2, ndim, affine))

    return factory


def _full(kernel: int) -> Factory:
    def factory(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
        return ReluConvNorm(channels, channels, ndim, affine, kernel, stride)

    return factory


def _factorized(kernel: int) -> Factory:
    """Return ``1 x kernel``, then ``kernel x 1``; of a 1-D input the second sees a single row."""

    def factory(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
        def along(axis: int) -> nn.Module:
            shape, steps = [1] * ndim, [1] * ndim
            if axis >= 0:
                shape[axis], steps[axis] = kernel, stride
            padding = tuple(n // 2 for n in shape)
            return convolution(
                ndim, channels, channels, tuple(shape), stride=tuple(steps), padding=padding
            )

        last = ndim - 1
        norm = normalisation(ndim, channels, affine)
        return nn.Sequential(nn.ReLU(), along(last), along(last - 1), norm)

    return factory


def _none(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
    return Zero(stride)


def _max_pool(kernel: int) -> Factory:
    def factory(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
        return max_pooling(ndim, kernel, stride)

    return factory


def _avg_pool(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
    return average_pooling(ndim, 3, stride)


def _skip(channels: int, stride: int, ndim: int, affine: bool = True) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, ndim, affine)


OPERATIONS: dict[str, Factory] = {
    "none": _none,
    "max_pool_3x3": _max_pool(3),
    "avg_pool_3x3": _avg_pool,
    "skip_connect": _skip,
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "dil_conv_3x3": _dilated(3),
    "dil_conv_5x5": _dilated(5),
    "max_pool_5x5": _max_pool(5),
    "max_pool_7x7": _max_pool(7),
    "conv_1x1": _full(1),
    "conv_3x3": _full(3),
    "conv_5x5": _full(5),
    "conv_3x1_1x3": _factorized(3),
    "conv_7x1_1x7": _factorized(7),
    "sep_conv_7x7": _separable(7),
    "nor_conv_1x1": _full(1),
    "nor_conv_3x3": _full(3),
}
"""Name -> ``factory(channels, stride, ndim, affine=True)``, a module that keeps the channels."""
