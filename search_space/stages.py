"""Stages of a wave: depthwise convolution, pointwise convolution and batch norm in one.

Each in one step of the differentiation, with its gradient by hand: a supernet is so many small
products that the bookkeeping would take longer than they do. The *folded* stage puts the norm into
the matrix. For products W U of matrices W ``[C, C]`` with maps U ``[C, P]``, batch norm (without
an affine part) subtracts W m and divides by the root of diag(W S W') + epsilon, where m is the mean
of U over its P positions and S its covariance. So a normalised product, times a weight a, is
M U - M m with M = a (diag(W S W') + epsilon)^(-1/2) W: one product, and what is normalised is never
stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from search_space import kernels
from search_space.kernels import Depthwise
from search_space.statistics import EPSILON, Statistics


def normalise(
    x: Tensor,
    depthwise: Tensor,
    how: Depthwise,
    pointwise: Tensor,
    statistics: Statistics,
    at: int | None = None,
) -> Tensor:
    """Convolve maps depthwise, mix and normalise them.

    Args:
        x: maps, as ``how`` has it; they are rectified here.
        depthwise: ``[outputs, channels, taps]``.
        pointwise: matrices ``[..., C, C]``.
        statistics: of the products; moved on while training, used otherwise.
        at: number of the group of channels that the statistics are, where not of all.

    Returns:
        ``[..., C, P]``.
    """
    if not statistics.training:
        return statistics.normalise(_mixed(kernels.depthwise(x, depthwise, how), pointwise), at)
    y, mean, scale = _Normalised.apply(x, depthwise, pointwise, how)
    statistics.take_scale(mean, scale, y.shape[-1], at)
    return y


def _mixed(u: Tensor, pointwise: Tensor) -> Tensor:
    c = pointwise.shape[-1]
    return torch.bmm(pointwise.view(-1, c, c), u.view(-1, c, _positions(u))).view(
        *pointwise.shape[:-1], -1
    )


def _positions(u: Tensor) -> int:
    return u.shape[-1] * u.shape[-2] * u.shape[-3]


def _enough(positions: int) -> None:
    if positions == 1:
        raise ValueError("batch norm needs more than one value for each channel")


class _Normalised(torch.autograd.Function):
    """The result of :func:`normalise` while training, and the mean and scale of each channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, depthwise: Tensor, pointwise: Tensor, how: Depthwise
    ) -> tuple[Tensor, Tensor, Tensor]:
        u = kernels.depthwise_forward(x, depthwise, None, how)
        z = _mixed(u, pointwise)
        _enough(z.shape[-1])
        y, mean, scale = torch.native_layer_norm(z, z.shape[-1:], None, None, EPSILON)
        ctx.how = how
        ctx.save_for_backward(x, depthwise, pointwise, u, z, mean, scale)
        mean, scale = mean[..., 0], scale[..., 0]
        ctx.mark_non_differentiable(mean, scale)
        ctx.set_materialize_grads(False)
        return y, mean, scale

    @staticmethod
    def backward(ctx: Any, gy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, depthwise, pointwise, u, z, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody will differentiate this again
            z = _mixed(kernels.depthwise(x, depthwise, ctx.how), pointwise)
            y = torch.native_layer_norm(z, z.shape[-1:], None, None, EPSILON)[0]
            return (*_again(y, (x, depthwise, pointwise), gy), None)
        c, p = z.shape[-2:]
        gz = _norm_backward(gy, z, mean, scale).view(-1, c, p)
        by_pointwise = None
        if ctx.needs_input_grad[2]:
            by_pointwise = torch.bmm(gz, u.view(-1, c, p).transpose(1, 2)).view(pointwise.shape)
        gu = torch.bmm(pointwise.view(-1, c, c).transpose(1, 2), gz)
        need = (ctx.needs_input_grad[0], ctx.needs_input_grad[1])
        gu = gu.view(u.shape)
        by_x, by_depthwise = kernels.depthwise_backward(gu, x, depthwise, None, ctx.how, *need)[:2]
        return by_x if need[0] else None, by_depthwise if need[1] else None, by_pointwise, None


def pools(
    x: Tensor,
    stride: int,
    which: tuple[bool, bool],
    statistics: Statistics,
    at: int | None = None,
) -> Tensor:
    """Pool maps and normalise the pools.

    Args:
        x: maps ``[..., C, height, width, batch]``.
        stride: 1 or 2.
        which: whether the largest values are wanted, and whether the means are.
        statistics: of the pools; moved on while training, used otherwise.
        at: number of the group of channels that the statistics are, where not of all.

    Returns:
        ``[pools, ..., C, P]``.
    """
    if not statistics.training:
        return statistics.normalise(_pools(x, stride, which), at)
    y, mean, scale = _Pooled.apply(x, stride, which)
    statistics.take_scale(mean, scale, y.shape[-1], at)
    return y


def _pools(x: Tensor, stride: int, which: tuple[bool, bool]) -> Tensor:
    largest, mean = which
    y = kernels.pools(x.view(-1, *x.shape[-3:]), stride, largest=largest, mean=mean)
    return y.view(len(y), *x.shape[:-3], -1)


class _Pooled(torch.autograd.Function):
    """The result of :func:`pools` while training, and the mean and scale of each channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stride: int, which: tuple[bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        z, index = kernels.pools_forward(x.view(-1, *x.shape[-3:]), stride, *which)
        z = z.view(len(z), *x.shape[:-3], -1)
        _enough(z.shape[-1])
        y, mean, scale = torch.native_layer_norm(z, z.shape[-1:], None, None, EPSILON)
        ctx.how = stride, which
        ctx.save_for_backward(x, index, z, mean, scale)
        mean, scale = mean[..., 0], scale[..., 0]
        ctx.mark_non_differentiable(mean, scale)
        ctx.set_materialize_grads(False)
        return y, mean, scale

    @staticmethod
    def backward(ctx: Any, gy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, index, z, mean, scale = ctx.saved_tensors
        stride, which = ctx.how
        if torch.is_grad_enabled():  # somebody will differentiate this again
            z = _pools(x, stride, which)
            y = torch.native_layer_norm(z, z.shape[-1:], None, None, EPSILON)[0]
            return *_again(y, (x,), gy), None, None
        height, width = (-(-length // stride) for length in x.shape[-3:-1])
        gz = _norm_backward(gy, z, mean, scale).view(len(z), -1, height, width, x.shape[-1])
        by_x = kernels.pools_backward(gz, index, *x.shape[-3:-1], stride, *which)
        return by_x.view(x.shape), None, None


def _norm_backward(gy: Tensor, z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return torch.ops.aten.native_layer_norm_backward(
        gy.contiguous(), z, z.shape[-1:], mean, scale, None, None, [True, False, False]
    )[0]


def _again(
    outputs: Tensor | tuple[Tensor, ...], tensors: Sequence[Tensor | None], gradients: Any
) -> list[Tensor | None]:
    """Return gradients by those of ``tensors`` that require one, to be differentiated again."""
    inputs = [t for t in tensors if t is not None and t.requires_grad]
    found = iter(torch.autograd.grad(outputs, inputs, gradients, create_graph=True))
    return [None if t is None or not t.requires_grad else next(found) for t in tensors]


def fold(
    x: Tensor,
    depthwise: Tensor,
    shift: Tensor | None,
    how: Depthwise,
    pointwise: Tensor,
    a: Tensor | None,
    base: Tensor | None,
    statistics: Statistics,
) -> tuple[Tensor, Tensor]:
    """Convolve maps depthwise, mix and normalise them; hand the results out or add them up.

    Args:
        x: maps, as ``how`` has it; they are rectified here.
        depthwise: ``[T, J C, taps]``.
        shift: of each map, before it is rectified.
        pointwise: matrices ``[T, K, J, C, C]``.
        a: weights ``[T, K, J]``, or None.
        base: ``[T, C P]``, what the weighted sum is added to, in place; None without ``a``.
        statistics: of the products, ``[T, K, J, C]``; moved on while training, used otherwise.

    Returns:
        Without ``a``: ``y`` ``[T, K, J, C, P]`` and ``b`` ``[T, K, J, C]``, of which the
        normalised products are the sum y + b. With ``a``: the same for ``base`` plus their
        weighted sums over K and J, ``[T, C P]`` and ``[T, C]``.
    """
    if not statistics.training:
        u = kernels.depthwise(x, depthwise, how, shift).view(*pointwise.shape[:-1], -1)
        m, b = _matrix(pointwise, a, statistics.running_mean, statistics.running_var)
        y = _products(u, m, a is not None)
        return (y, b) if base is None else (base + y.flatten(1), b.sum((1, 2)))
    y, b, mean, variance = _Folded.apply(x, depthwise, shift, pointwise, a, base, how)
    statistics.take(mean, variance, y.numel() // (b.numel()))
    return y, b


def _matrix(w: Tensor, a: Tensor | None, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return M and -M m from the mean and variance of the products."""
    scale = torch.rsqrt(variance + EPSILON)
    if a is not None:
        scale = scale * a[..., None]
    return scale[..., None] * w, -scale * mean


def _products(u: Tensor, m: Tensor, together: bool) -> Tensor:
    """Return M U for each of ``[T, K, J]``, or their sums over K and J."""
    t, k, j, c, p = u.shape
    if not together:
        return torch.bmm(m.reshape(-1, c, c), u.reshape(-1, c, p)).view(u.shape)
    return torch.bmm(_side_by_side(m), u.reshape(t, k * j * c, p))


def _side_by_side(m: Tensor) -> Tensor:
    t, k, j, c, _ = m.shape
    return m.permute(0, 3, 1, 2, 4).reshape(t, c, k * j * c)


def _plain(
    x: Tensor,
    depthwise: Tensor,
    shift: Tensor | None,
    w: Tensor,
    a: Tensor | None,
    how: Depthwise,
) -> tuple[Tensor, Tensor]:
    """The forward pass in operations that torch can differentiate as often as one likes."""
    u = kernels.depthwise(x, depthwise, how, shift).view(*w.shape[:-1], -1)
    mean = u.mean(-1)
    centred = u - mean[..., None]
    covariance = centred @ centred.transpose(-1, -2) / u.shape[-1]
    variance = ((w @ covariance) * w).sum(-1)
    m, b = _matrix(w, a, (w @ mean[..., None])[..., 0], variance)
    return _products(u, m, a is not None), b if a is None else b.sum((1, 2))


class _Folded(torch.autograd.Function):
    """y and b of :func:`fold` while training, and mean and variance of the products."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        depthwise: Tensor,
        shift: Tensor | None,
        w: Tensor,
        a: Tensor | None,
        base: Tensor | None,
        how: Depthwise,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        u = kernels.depthwise_forward(x, depthwise, shift, how)
        c, p = w.shape[-1], _positions(u)
        _enough(p)
        flat = u.view(-1, c, p)
        m = flat.mean(-1, keepdim=True)
        square = torch.bmm(flat, flat.transpose(1, 2))
        covariance = torch.baddbmm(square, m, m.transpose(1, 2), beta=1 / p, alpha=-1).view(w.shape)
        m = m.view(*w.shape[:-1], 1)
        w_covariance = w @ covariance
        variance = (w_covariance * w).sum(-1)
        mean = (w @ m)[..., 0]
        matrix, b = _matrix(w, a, mean, variance)
        ctx.how = how
        ctx.save_for_backward(x, depthwise, shift, u, w, a, m, w_covariance, variance, matrix)
        ctx.mark_non_differentiable(mean, variance)
        if base is None:
            return torch.bmm(matrix.view(-1, c, c), flat).view(*w.shape[:-1], p), b, mean, variance
        ctx.mark_dirty(base)
        base.view(len(u), c, p).baddbmm_(_side_by_side(matrix), u.view(len(u), -1, p))
        return base, b.sum((1, 2)), mean, variance

    @staticmethod
    def backward(ctx: Any, gy: Tensor, gb: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, depthwise, shift, u, w, a, m, w_covariance, variance, matrix = ctx.saved_tensors
        by_base = None if a is None else gy
        if torch.is_grad_enabled():  # somebody will differentiate this again
            tensors = (x, depthwise, shift, w, a)
            outputs = _plain(*tensors, ctx.how)
            gy = gy.view(outputs[0].shape)
            return (*_again(outputs, tensors, (gy, gb)), by_base, None)
        (t, k, j, c), p = w.shape[:-1], _positions(u)
        flat = u.view(-1, c, p)
        gy = gy.contiguous()
        if a is None:
            gy = gy.reshape(-1, c, p)
            gm = torch.bmm(gy, flat.transpose(1, 2)).view(w.shape)
        else:
            gy = gy.view(t, c, p)
            gm = torch.bmm(gy, u.view(t, k * j * c, p).transpose(1, 2))
            gm = gm.view(t, c, k, j, c).permute(0, 2, 3, 1, 4)
            gb = gb[:, None, None].expand(t, k, j, c)
        gm = gm - gb[..., None] * m.transpose(-1, -2)
        scale = torch.rsqrt(variance + EPSILON)
        by_scale = (gm * w).sum(-1)
        by_a = (by_scale * scale).sum(-1) if ctx.needs_input_grad[4] else None
        full = scale
        if a is not None:
            by_scale, full = by_scale * a[..., None], scale * a[..., None]
        by_variance = -0.5 * scale.pow(3) * by_scale
        by_w = None
        if ctx.needs_input_grad[3]:
            by_w = full[..., None] * gm + 2 * by_variance[..., None] * w_covariance
        # By the covariance, and through it and the mean by each position of U.
        s = (2 / p) * (w.transpose(-1, -2) @ (by_variance[..., None] * w))
        transposed = matrix.transpose(-1, -2)
        by_u = torch.bmm(s.view(-1, c, c), flat)
        if a is None:
            by_u.baddbmm_(transposed.reshape(-1, c, c), gy)
        else:
            by_u.view(t, k * j * c, p).baddbmm_(transposed.reshape(t, k * j * c, c), gy)
        offset = transposed @ gb[..., None] / -p - s @ m
        need = (ctx.needs_input_grad[0] or ctx.needs_input_grad[2], ctx.needs_input_grad[1])
        by_x, by_depthwise, by_shift = kernels.depthwise_backward(
            by_u.view(u.shape), x, depthwise, shift, ctx.how, *need, offset.flatten(2)
        )
        return (
            by_x,
            by_depthwise if need[1] else None,
            None if shift is None else by_shift,
            by_w,
            by_a,
            by_base,
            None,
        )
