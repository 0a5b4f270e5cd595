"""Depthwise convolutions of batch-last maps as products with band matrices.

A depthwise convolution is a sum of products of band matrices with the rows of maps, one for each
column of taps: a product of matrices reads and writes memory far less often than a sum of shifted
maps, and that outweighs its multiplications by zero. Torch's own convolutions want batches first,
which costs copies of all maps, and most of their gradients by the weights are slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from search_space.kernels.how import Depthwise

# Rows of outputs of one product, at most. Band matrices of more hold more zeros, of fewer make
# products too small to be fast.
ROWS = 16


class Bands(NamedTuple):
    """Convolutions with kernels of some widths as products of band matrices with maps.

    There are P times S maps and K times R convolutions of each: P is 1 if outputs share maps and R
    is if they do not. Maps of flat kernels lie on their side, so that there is one column of taps.
    """

    p: int
    r: int
    s: int
    n: int
    height: int
    width: int
    how: Depthwise

    @property
    def down(self) -> int:
        """Taps of a column."""
        return max(self.how.widths)

    @property
    def across(self) -> int:
        """Columns of taps."""
        return 1 if self.how.flat else self.down

    @property
    def middle(self) -> int:
        return self.across // 2

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the outputs."""
        return -(-self.height // self.how.stride), -(-self.width // self.how.stride)

    @property
    def blocks(self) -> int:
        """Blocks of rows of outputs, a product for each."""
        return -(-self.out[0] // ROWS)

    @property
    def rows(self) -> int:
        """Rows of outputs in a block."""
        return -(-self.out[0] // self.blocks)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of outputs as the products leave them."""
        q = len(self.how.widths) * self.r * self.rows
        return self.p * self.s, self.blocks, q, self.out[1] * self.n

    def columns(self) -> Iterator[tuple[int, slice]]:
        """Yield columns of taps from the middle on, and the rows of matrices that have some."""
        for column in sorted(range(self.across), key=lambda c: abs(c - self.middle)):
            reach = 2 * abs(column - self.middle) + 1
            ks = [k for k, width in enumerate(self.how.widths) if width >= reach]
            yield column, slice(ks[0] * self.r * self.rows, (ks[-1] + 1) * self.r * self.rows)

    def _borders(self) -> list[int]:
        """Return what surrounds maps: rows above and below, columns left and right of them.

        A side that a stride leaves out may be negative.
        """
        high, wide = (self.how.dilation * (taps - 1) for taps in (self.down, self.across))
        below = (self.blocks * self.rows - 1) * self.how.stride + 1 + high // 2 - self.height
        right = (self.out[1] + wide // self.how.stride) * self.how.stride - wide // 2 - self.width
        return [0, 0, wide // 2, right, high // 2, below]

    def surround(self, x: Tensor) -> Tensor:
        """Return maps ``[P S, height, stride, width, N]`` with borders."""
        x = x.reshape(-1, *x.shape[-3:])
        padded = functional.pad(x.transpose(1, 2) if self.how.flat else x, self._borders())
        return padded.unflatten(2, (-1, self.how.stride)).transpose(2, 3).contiguous()

    def inside(self, maps: Tensor) -> Tensor:
        """Return maps without their borders, ``[P, S, height, width, N]``."""
        x = functional.pad(maps.transpose(2, 3).flatten(2, 3), [-b for b in self._borders()])
        return (x.transpose(1, 2) if self.how.flat else x).unflatten(0, (self.p, self.s))

    def seen(self, maps: Tensor, block: int, column: int) -> Tensor:
        """Return the view that a column of taps has of maps, ``[P S, rows, width N]``."""
        top = block * self.rows * self.how.stride
        start, phase = divmod(column * self.how.dilation, self.how.stride)
        part = maps[:, top : top + self._sight, phase, start : start + self.out[1]]
        return part.view(*part.shape[:2], -1)

    @property
    def _sight(self) -> int:
        """Rows of maps that a block of outputs sees."""
        return (self.rows - 1) * self.how.stride + (self.down - 1) * self.how.dilation + 1

    def matrices(self, weight: Tensor) -> Tensor:
        """Return a matrix for each column of taps and map, ``[columns, P S, K R rows, sight]``."""
        kernels = []
        for width, taps in zip(self.how.widths, weight.split(self.how.taps, -1), strict=True):
            high, wide = (self.down - width) // 2, 0 if self.how.flat else (self.down - width) // 2
            kernel = taps.reshape(self.p, self.r, self.s, width, -1)
            kernels.append(functional.pad(kernel, (wide, wide, high, high)))
        columns = torch.stack(kernels).permute(5, 1, 3, 0, 2, 4)
        matrices = columns.new_zeros(*columns.shape[:-1], self.rows, self._sight)
        self._band(matrices).copy_(columns[..., None, :])
        return matrices.view(self.across, self.p * self.s, -1, self._sight)

    def taps(self, matrices: Tensor) -> Tensor:
        """Return the sums of each tap's places in the matrices, shaped as the weight."""
        k = len(self.how.widths)
        shape = (self.across, self.p, self.s, k, self.r, self.rows, self._sight)
        columns = self._band(matrices.view(shape)).sum(-2).permute(3, 1, 4, 2, 5, 0)
        parts = []
        for width, kernel in zip(self.how.widths, columns, strict=True):
            high, wide = (self.down - width) // 2, 0 if self.how.flat else (self.down - width) // 2
            kernel = functional.pad(kernel, (-wide, -wide, -high, -high))
            parts.append(kernel.flatten(3).flatten(0, 1))
        return torch.cat(parts, -1)

    def _band(self, matrices: Tensor) -> Tensor:
        """Return the view ``[..., rows, taps]`` of the places that are not zero."""
        strides = (*matrices.stride()[:-2], self._sight + self.how.stride, self.how.dilation)
        return matrices.as_strided((*matrices.shape[:-1], self.down), strides)

    def joined(self, out: Tensor) -> Tensor:
        """Return outputs of the products as ``[P R, K, S, height, width, N]``."""
        height, width = self.out
        out = out.view(self.p, self.s, self.blocks, -1, self.r, self.rows, width, self.n)
        out = out.permute(0, 4, 3, 1, 2, 5, 6, 7).flatten(4, 5)[..., :height, :, :].flatten(0, 1)
        return (out.transpose(-3, -2) if self.how.flat else out).contiguous()

    def split(self, out: Tensor) -> Tensor:
        """Do the opposite of :meth:`joined`."""
        out = out.transpose(-3, -2) if self.how.flat else out
        missing = self.blocks * self.rows - self.out[0]
        if missing:
            out = functional.pad(out, (0, 0, 0, 0, 0, missing))
        out = out.unflatten(3, (self.blocks, self.rows)).unflatten(0, (self.p, self.r))
        return out.permute(0, 3, 4, 2, 1, 5, 6, 7).reshape(self.shape)


def bands_of(x: Tensor, weight: Tensor, how: Depthwise) -> Iterator[tuple[Bands, slice, slice]]:
    """Yield the products that make up a convolution, and what kernels and taps each is of.

    That is one for all kernels if they share maps, and otherwise one for each.
    """
    (m, s, _), (h, w, n) = weight.shape, x.shape[-3:]
    size = (w, h) if how.flat else (h, w)
    if how.shared:
        yield Bands(1, m, s, n, *size, how), slice(None), slice(None)
        return
    start = 0
    for k, (width, taps) in enumerate(zip(how.widths, how.taps, strict=True)):
        bands = Bands(m, 1, s, n, *size, how._replace(widths=(width,)))
        yield bands, slice(k, k + 1), slice(start, start + taps)
        start += taps
