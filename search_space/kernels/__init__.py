"""Depthwise convolutions and pools of batch-last maps ``[channels, height, width, batch]``.

The seam between the fast supernet and what computes it: four operators of torch, each with a
compiled form on the CPU (batch_last.cpp, built at installation where there is a compiler) and one
in plain torch for everything else (plain.py). All are differentiable twice.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from search_space.kernels import compiled, plain
from search_space.kernels.how import Depthwise

_LIBRARY = torch.library.Library("nas", "DEF")
_HOW = "int[] widths, bool flat, int dilation, int stride, bool shared, bool rectify"
_LIBRARY.define(f"depthwise(Tensor x, Tensor weight, Tensor? shift, {_HOW}) -> Tensor")
_LIBRARY.define(
    f"depthwise_backward(Tensor grad, Tensor x, Tensor weight, Tensor? shift, {_HOW}, "
    "bool need_x, bool need_weight, Tensor? offset=None) -> (Tensor, Tensor, Tensor)"
)
_LIBRARY.define("pools(Tensor x, int stride, bool largest, bool mean) -> (Tensor, Tensor)")
_LIBRARY.define(
    "pools_backward(Tensor grad, Tensor index, int height, int width, int stride, bool largest, "
    "bool mean) -> Tensor"
)


def depthwise(x: Tensor, weight: Tensor, how: Depthwise, shift: Tensor | None = None) -> Tensor:
    """Convolve each channel with kernels of several sizes.

    Args:
        x: ``[channels, height, width, batch]`` if they are shared by all outputs, otherwise
            ``[outputs, kernels, channels, height, width, batch]``.
        weight: ``[outputs, channels, taps]``: the taps of all kernels one after another, row by
            row.
        how: what the kernels are like.
        shift: of each input map, shaped as ``x`` without height, width and batch; zero if None.

    Returns:
        ``[outputs, kernels, channels, ceil(height / stride), ceil(width / stride), batch]``.
    """
    return torch.ops.nas.depthwise(x, weight, shift, *how.arguments)


def pools(x: Tensor, stride: int = 1, *, largest: bool = True, mean: bool = True) -> Tensor:
    """Pool windows of 3x3 with padding 1: the largest value and the mean of those that exist.

    Args:
        x: ``[channels, height, width, batch]``.
        stride: 1 or 2.
        largest, mean: which of the two are wanted.

    Returns:
        ``[pools, channels, ceil(height / stride), ceil(width / stride), batch]``. The first of
        equal largest values gets the gradient, as in torch.
    """
    return torch.ops.nas.pools(x, stride, largest, mean)[0]


_COMPILED = contextvars.ContextVar("compiled", default=True)


@contextlib.contextmanager
def in_plain_torch() -> Iterator[None]:
    """Within this context nothing is computed by the compiled kernels."""
    token = _COMPILED.set(False)
    try:
        yield
    finally:
        _COMPILED.reset(token)


def _backend(x: Tensor, widths: tuple[int, ...] = ()) -> Any:
    if not _COMPILED.get():
        return plain
    fits = x.device.type == "cpu" and x.dtype in compiled.TYPES and set(widths) <= compiled.WIDTHS
    return compiled if fits and compiled.available() else plain


# The forms without differentiation, for use inside of an autograd function.


def depthwise_forward(x: Tensor, weight: Tensor, shift: Tensor | None, how: Depthwise) -> Tensor:
    """Do as :func:`depthwise`."""
    return _backend(x, how.widths).depthwise(x.contiguous(), weight.contiguous(), shift, how)


def depthwise_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    shift: Tensor | None,
    how: Depthwise,
    need_x: bool,
    need_weight: bool,
    offset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by x, weight and shift; empty tensors where they are not needed.

    ``offset`` is added to each map of ``grad``.
    """
    return _backend(x, how.widths).depthwise_backward(
        grad.contiguous(),
        x.contiguous(),
        weight.contiguous(),
        shift,
        how,
        need_x,
        need_weight,
        offset,
    )


def pools_forward(x: Tensor, stride: int, largest: bool, mean: bool) -> tuple[Tensor, Tensor]:
    """Return what :func:`pools` does, and the place of each largest value in its window."""
    return _backend(x).pools(x.contiguous(), stride, largest, mean)


def pools_backward(grad: Tensor, index: Tensor, *how: Any) -> Tensor:
    """Return the gradient by the input; ``how`` is its height and width, and as in the other."""
    return _backend(grad).pools_backward(grad.contiguous(), index, *how)


# The operators; their schemas have no records.


def _depthwise(x: Tensor, weight: Tensor, shift: Tensor | None, *how: Any) -> Tensor:
    return depthwise_forward(x, weight, shift, Depthwise.of(how))


def _depthwise_backward(
    grad: Tensor, x: Tensor, weight: Tensor, shift: Tensor | None, *arguments: Any
) -> tuple[Tensor, Tensor, Tensor]:
    how, others = arguments[: len(Depthwise._fields)], arguments[len(Depthwise._fields) :]
    return depthwise_backward(grad, x, weight, shift, Depthwise.of(how), *others)


for _name, _function in (
    ("depthwise", _depthwise),
    ("depthwise_backward", _depthwise_backward),
    ("pools", pools_forward),
    ("pools_backward", pools_backward),
):
    _LIBRARY.impl(_name, _function, "CompositeExplicitAutograd")


def _depthwise_saves(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, shift, *how = inputs
    ctx.save_for_backward(x, weight, shift)
    ctx.how = how


def _depthwise_gradient(ctx: Any, grad: Tensor):
    x, weight, shift = ctx.saved_tensors
    need_x, need_weight, need_shift = ctx.needs_input_grad[:3]
    gx, gw, gs = torch.ops.nas.depthwise_backward(
        grad, x, weight, shift, *ctx.how, need_x or need_shift, need_weight
    )
    nothing = (None,) * len(ctx.how)
    return gx if need_x else None, gw if need_weight else None, gs if need_shift else None, *nothing


def _depthwise_backward_saves(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, x, weight, shift, *ctx.how, ctx.need_x, ctx.need_weight, offset = inputs
    assert offset is None  # only of gradients that nobody differentiates again
    ctx.save_for_backward(grad, x, weight, shift)


def _depthwise_gradient_of_gradient(ctx: Any, vx: Tensor, vw: Tensor, vs: Tensor):
    """The derivative of the (bilinear) gradients; ``v`` is what came for each of the three.

    With u = relu(x + shift) and its derivative by u's mask, the gradient by x is mask * D'(grad,
    weight), its sums are the gradient by the shift, and that by the weight is G(grad, u).
    """
    grad, x, weight, shift = ctx.saved_tensors
    how = Depthwise.of(ctx.how)
    linear = how._replace(rectify=False).arguments
    by_grad = by_x = by_weight = by_shift = None
    if ctx.need_x:
        tangent = vx if shift is None else vx + vs[..., None, None, None]
        if how.rectify:
            moved = x if shift is None else x + shift[..., None, None, None]
            tangent = tangent * (moved > 0)
        by_grad = torch.ops.nas.depthwise(tangent, weight, None, *linear)
        _, by_weight, _ = torch.ops.nas.depthwise_backward(
            grad, tangent, weight, None, *linear, False, True
        )
    if ctx.need_weight:
        also = torch.ops.nas.depthwise(x, vw, shift, *ctx.how)
        by_grad = also if by_grad is None else by_grad + also
        by_x, _, by_shift = torch.ops.nas.depthwise_backward(
            grad, x, vw, shift, *ctx.how, True, False
        )
        by_shift = None if shift is None else by_shift
    return by_grad, by_x, by_weight, by_shift, *(None,) * (len(ctx.how) + 3)


def _pools_saves(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, *ctx.how = inputs
    ctx.size = x.shape[1:3]
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _pools_gradient(ctx: Any, grad: Tensor, _: Tensor):
    (index,) = ctx.saved_tensors
    gx = torch.ops.nas.pools_backward(grad, index, *ctx.size, *ctx.how)
    return gx, *(None,) * len(ctx.how)


def _pools_backward_saves(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, index, _, _, *ctx.how = inputs
    ctx.save_for_backward(index)


def _pools_gradient_of_gradient(ctx: Any, v: Tensor):
    (index,) = ctx.saved_tensors
    return plain.pools_along(v, index, *ctx.how), *(None,) * (3 + len(ctx.how))


for _name, _backward, _saves in (
    ("depthwise", _depthwise_gradient, _depthwise_saves),
    ("depthwise_backward", _depthwise_gradient_of_gradient, _depthwise_backward_saves),
    ("pools", _pools_gradient, _pools_saves),
    ("pools_backward", _pools_gradient_of_gradient, _pools_backward_saves),
):
    torch.library.register_autograd(f"nas::{_name}", _backward, setup_context=_saves, lib=_LIBRARY)
