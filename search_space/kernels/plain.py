"""The operators in plain torch: for every device and type without a compiled form.

Depthwise convolutions are products with band matrices (bands.py). Because of the zeros in those, a
value that isn't finite spoils up to ROWS outputs (times the stride) around it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from search_space.kernels.bands import bands_of
from search_space.kernels.how import Depthwise


def depthwise(x: Tensor, weight: Tensor, shift: Tensor | None, how: Depthwise) -> Tensor:
    """See search_space.kernels.depthwise."""
    x = _rectified(x, shift, how.rectify)
    outs = []
    for bands, ks, taps in bands_of(x, weight, how):
        maps = bands.surround(x if how.shared else x[:, ks])
        matrices = bands.matrices(weight[..., taps])
        out = maps.new_empty(bands.shape)
        for block in range(bands.blocks):
            for column, rows in bands.columns():
                # The first column is that of all kernels, and so sets all of the outputs.
                seen, first = bands.seen(maps, block, column), column == bands.middle
                out[:, block, rows].baddbmm_(matrices[column, :, rows], seen, beta=int(not first))
        outs.append(bands.joined(out))
    return outs[0] if how.shared else torch.cat(outs, 1)


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
    if offset is not None:
        grad = grad + offset[..., None, None, None]
    moved = _rectified(x, shift, how.rectify)
    by_maps, by_weights = [], []
    for bands, ks, taps in bands_of(x, weight, how):
        maps = bands.surround(moved if how.shared else moved[:, ks])
        matrices = bands.matrices(weight[..., taps])
        by_out = bands.split(grad[:, ks])
        by_map, by_matrices = torch.zeros_like(maps), torch.zeros_like(matrices)
        for block in range(bands.blocks):
            for column, rows in bands.columns():
                part = by_out[:, block, rows]
                if need_weight:
                    seen = bands.seen(maps, block, column)
                    by_matrices[column, :, rows].baddbmm_(part, seen.mT)
                if need_x:
                    seen = bands.seen(by_map, block, column)
                    seen.baddbmm_(matrices[column, :, rows].mT, part)
        by_maps.append(bands.inside(by_map))
        by_weights.append(bands.taps(by_matrices))
    by_x, by_shift, by_weight = x.new_empty(0), x.new_empty(0), x.new_empty(0)
    if need_weight:
        by_weight = torch.cat(by_weights, -1)
    if need_x:
        by_x = by_maps[0][0] if how.shared else torch.stack(by_maps, 1)
        by_x = by_x.contiguous()
        if how.rectify:
            by_x *= moved > 0
        if shift is not None:
            by_shift = by_x.sum((-3, -2, -1))
    return by_x, by_weight, by_shift


def pools(x: Tensor, stride: int, with_largest: bool, with_mean: bool) -> tuple[Tensor, Tensor]:
    """Return the pools and the place 0..8 of each largest value in its window."""
    # Seen as a batch of maps whose channels are the samples, these are maps with channels last:
    # what torch is fast for, and no copy.
    maps = x.permute(0, 3, 1, 2)
    found = []
    index = x.new_empty(0, dtype=torch.uint8)
    if with_largest:
        largest, place = functional.max_pool2d(maps, 3, stride, 1, return_indices=True)
        top, left = (torch.arange(n, device=x.device) * stride - 1 for n in largest.shape[-2:])
        # From the place in the map to that in the window at (top, left).
        row = place.div(x.shape[2], rounding_mode="floor")
        place = place - row * x.shape[2] - left + 3 * (row - top[:, None])
        index = place.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        found.append(largest)
    if with_mean:
        found.append(functional.avg_pool2d(maps, 3, stride, 1, count_include_pad=False))
    return torch.stack([pool.permute(0, 2, 3, 1) for pool in found]), index


def pools_backward(
    grad: Tensor,
    index: Tensor,
    height: int,
    width: int,
    stride: int,
    with_largest: bool,
    with_mean: bool,
) -> Tensor:
    """Return the gradient by the input of :func:`pools`."""
    c, n = grad.shape[1], grad.shape[-1]
    out = grad.new_zeros(c, height + 2, width + 2, n)
    zero = torch.zeros_like(grad[0])
    largest = grad[0] if with_largest else zero
    mean = grad[-1] / _count(grad, height, width, stride) if with_mean else zero
    for place, (_, rows, columns) in enumerate(_windows(grad, [3], False, 1, stride, (1, 1))):
        chosen = torch.where(index == place, largest, zero) if with_largest else zero
        out[:, rows, columns] += chosen + mean
    return out[:, 1:-1, 1:-1].contiguous()


def pools_along(
    x: Tensor, index: Tensor, stride: int, with_largest: bool, with_mean: bool
) -> Tensor:
    """Pool ``x`` with the places of largest values given by ``index``: linear in ``x``."""
    padded = functional.pad(x, (0, 0, 1, 1, 1, 1))
    largest = total = torch.zeros((), dtype=x.dtype, device=x.device)
    height, width = x.shape[1:3]
    shape = x.new_empty(1, len(x), -(-height // stride), -(-width // stride), x.shape[3])
    for place, (_, rows, columns) in enumerate(_windows(shape, [3], False, 1, stride, (1, 1))):
        seen = padded[:, rows, columns]
        if with_largest:
            largest = largest + torch.where(index == place, seen, torch.zeros_like(seen))
        total = total + seen
    mean = total / _count(shape, height, width, stride)
    return torch.stack([largest] * with_largest + [mean] * with_mean)


def _count(out: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Return how many values each window of a pool holds, ``[height', width', 1]``."""
    exists = functional.pad(out.new_ones(height, width, 1), (0, 0, 1, 1, 1, 1))
    windows = _windows(out, [3], False, 1, stride, (1, 1))
    return torch.stack([exists[rows, columns] for _, rows, columns in windows]).sum(0)


def _rectified(x: Tensor, shift: Tensor | None, rectify: bool) -> Tensor:
    if not rectify:
        return x
    return (x if shift is None else x + shift[..., None, None, None]).relu()


def _windows(
    out: Tensor,
    widths: list[int],
    flat: bool,
    dilation: int,
    stride: int,
    border: tuple[int, int],
) -> Iterator[tuple[int, slice, slice]]:
    """Yield, for each tap of each kernel, the kernel and what the tap sees of the padded map."""
    height, width = out.shape[-3:-1]
    top, left = border
    for k, size in enumerate(widths):
        middle = (size - 1) // 2
        for a in [0] if flat else range(size):
            for b in range(size):
                y = top if flat else top + dilation * (a - middle)
                x = left + dilation * (b - middle)
                yield (
                    k,
                    slice(y, y + stride * (height - 1) + 1, stride),
                    slice(x, x + stride * (width - 1) + 1, stride),
                )
