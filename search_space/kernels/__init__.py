"""Depthwise convolutions and pools of batch-last maps ``[channels, height, width, batch]``.

The seam between the fast supernet and what computes it: four operators of torch, each with a
compiled form on the CPU (batch_last.cpp, built at installation where there is a compiler) and one
in plain torch for everything else (plain.py). All are differentiable twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from search_space.kernels import compiled, plain

_LIBRARY = torch.library.Library("nas", "DEF")
_SHAPE = "int[] widths, bool flat, int dilation, int stride, bool shared, bool rectify"
_LIBRARY.define(f"depthwise(Tensor x, Tensor weight, Tensor? shift, {_SHAPE}) -> Tensor")
_LIBRARY.define(
    f"depthwise_backward(Tensor grad, Tensor x, Tensor weight, Tensor? shift, {_SHAPE}, "
    "bool need_x, bool need_weight, Tensor? offset=None) -> (Tensor, Tensor, Tensor)"
)
_LIBRARY.define("pools(Tensor x, int stride, bool largest, bool mean) -> (Tensor, Tensor)")
_LIBRARY.define(
    "pools_backward(Tensor grad, Tensor index, int height, int width, int stride, bool largest, "
    "bool mean) -> Tensor"
)


def depthwise(
    x: Tensor,
    weight: Tensor,
    widths: Sequence[int],
    *,
    flat: bool = False,
    dilation: int = 1,
    stride: int = 1,
    shared: bool = True,
    rectify: bool = True,
    shift: Tensor | None = None,
) -> Tensor:
    """Convolve each channel with kernels of several sizes, with "same" padding.

    Args:
        x: ``[channels, height, width, batch]`` if ``shared``, and all outputs see it; otherwise
            ``[outputs, kernels, channels, height, width, batch]``, a map of its own for each.
        weight: ``[outputs, channels, taps]``: the taps of all kernels one after another, row by
            row.
        widths: odd widths of the kernels.
        flat: kernels are one row high (1-D inputs as maps of height 1).
        dilation, stride: of all of them.
        rectify: convolve ``relu(x + shift)`` instead of ``x``.
        shift: of each input map, shaped as ``x`` without height, width and batch; zero if None.

    Returns:
        ``[outputs, kernels, channels, ceil(height / stride), ceil(width / stride), batch]``.
    """
    return torch.ops.nas.depthwise(
        x, weight, shift, list(widths), flat, dilation, stride, shared, rectify
    )


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


def taps(widths: Sequence[int], flat: bool) -> list[int]:
    """Return the number of taps of each kernel."""
    return [width if flat else width * width for width in widths]


def _backend(x: Tensor, widths: Sequence[int] = ()) -> Any:
    fits = x.device.type == "cpu" and x.dtype in compiled.TYPES and set(widths) <= compiled.WIDTHS
    return compiled if fits and compiled.available() else plain


def depthwise_forward(
    x: Tensor, weight: Tensor, shift: Tensor | None, widths: list[int], *how: Any
):
    return _backend(x, widths).depthwise(x.contiguous(), weight.contiguous(), shift, widths, *how)


def depthwise_backward(
    grad: Tensor, x: Tensor, weight: Tensor, shift: Tensor | None, widths: list[int], *how: Any
):
    return _backend(x, widths).depthwise_backward(
        grad.contiguous(), x.contiguous(), weight.contiguous(), shift, widths, *how
    )


def pools_forward(x: Tensor, *how: Any):
    return _backend(x).pools(x.contiguous(), *how)


def pools_backward(grad: Tensor, index: Tensor, *how: Any):
    return _backend(grad).pools_backward(grad.contiguous(), index, *how)


for _name, _function in (
    ("depthwise", depthwise_forward),
    ("depthwise_backward", depthwise_backward),
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
    widths, flat, dilation, stride, shared, rectify = ctx.how
    linear = (widths, flat, dilation, stride, shared, False)
    by_grad = by_x = by_weight = by_shift = None
    if ctx.need_x:
        tangent = vx if shift is None else vx + vs[..., None, None, None]
        if rectify:
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
