"""Waves: everything that leaves the states of a supernet's cell that become ready together.

As soon as a state is ready, all operations on all its outgoing edges are computed at once. With
four nodes there are four waves: from the sources {0, 1}, {2}, {3} and {4} to 4, 3, 2 and 1 nodes. A
source is rectified once, pooled once for each stride, ``none`` is never computed, and weights are
stacked, so that one call does what the textbook does in dozens. States lie batch-last, ``[channels,
height, width, batch]``: loops run over the batch and need no halo, a pointwise convolution is a
matrix product, and batch norm is layer norm of rows. 1-D inputs have height 1.

Shapes: T targets (nodes), J sources, K kernels, C channels, P positions (height * width * batch).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_space.kernels import Depthwise
from search_space.mixture import edges
from search_space.stages import fold, normalise, pools
from search_space.statistics import Statistics


class Group(NamedTuple):
    """Convolutions that are computed together: the width of each one's kernel, and how."""

    widths: dict[str, int]
    dilation: int
    twice: bool


GROUPS = {
    "separable": Group({"sep_conv_3x3": 3, "sep_conv_5x5": 5}, dilation=1, twice=True),
    "dilated": Group({"dil_conv_3x3": 3, "dil_conv_5x5": 5}, dilation=2, twice=False),
}
POOLS = ("max_pool_3x3", "avg_pool_3x3")
KNOWN = {"none", "skip_connect", *POOLS, *(o for group in GROUPS.values() for o in group.widths)}


def rows_of_wave(nodes: int, wave: int) -> list[list[int]]:
    """Return the mixture's row of each edge of a wave: ``[targets][sources]``."""
    row = {edge: number for number, edge in enumerate(edges(nodes))}
    sources = (0, 1) if wave == 0 else (wave + 1,)
    return [[row[node, source] for source in sources] for node in range(wave, nodes)]


class Block(nn.Module):
    """ReLU, depthwise and pointwise convolution and batch norm, of all edges and kernels.

    Parameters: ``depthwise`` ``[T, J C, taps]``, the taps of all kernels one after another, and
    ``pointwise`` ``[T, K, J, C, C]``.
    """

    def __init__(self, shape: tuple[int, int, int, int], how: Depthwise):
        super().__init__()
        targets, _, sources, channels = shape
        self.how, self.taps = how, how.taps
        self.depthwise = nn.Parameter(torch.empty(targets, sources * channels, sum(self.taps)))
        self.pointwise = nn.Parameter(torch.empty(*shape, channels))
        self.statistics = Statistics(*shape)

    def folded(
        self, x: Tensor, shift: Tensor | None, a: Tensor | None, base: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return y and b of :func:`search_space.stages.fold`."""
        pointwise, statistics = self.pointwise, self.statistics
        return fold(x, self.depthwise, shift, self.how, pointwise, a, base, statistics)

    def normalised(self, x: Tensor) -> Tensor:
        """Return the normalised products ``[T, K, J, C, P]``."""
        return normalise(x, self.depthwise, self.how, self.pointwise, self.statistics)

    def single(self, x: Tensor, t: int, k: int, j: int) -> Tensor:
        """Return the output of one kernel on one edge ``[C, ...]``."""
        _, kernels, sources, channels, _ = self.pointwise.shape
        columns = slice(sum(self.taps[:k]), sum(self.taps[: k + 1]))
        how = self.how._replace(widths=self.how.widths[k : k + 1], shared=True)
        edge, at = t * sources + j, (t * kernels + k) * sources + j
        depthwise = self.depthwise.view(-1, channels, sum(self.taps))[edge : edge + 1, :, columns]
        pointwise = self.pointwise.view(-1, channels, channels)[at]
        y = normalise(x, depthwise, how, pointwise, self.statistics, at)
        height, width = (-(-length // how.stride) for length in x.shape[1:3])
        return y.view(channels, height, width, x.shape[-1])


class Convolutions(nn.Module):
    """All separable or all dilated convolutions of a wave: one block, or two in a row."""

    def __init__(
        self,
        operations: Sequence[str],
        group: Group,
        shape: tuple[int, int, int],
        stride: int,
        flat: bool,
    ):
        super().__init__()
        self.names = [name for name in group.widths if name in operations]
        widths = tuple(group.widths[name] for name in self.names)
        targets, sources, channels = shape
        whole = (targets, len(widths), sources, channels)
        self.first = Block(whole, Depthwise(widths, flat, group.dilation, stride))
        self.second = Block(whole, Depthwise(widths, flat, shared=False)) if group.twice else None

    @property
    def blocks(self) -> list[Block]:
        """The blocks, in their order."""
        return [self.first] if self.second is None else [self.first, self.second]

    def folded(self, x: Tensor, a: Tensor, base: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
        """Add the outputs, weighted by ``a`` ``[T, K, J]``, to ``base``, in place; ``+ b`` is due.

        ``size`` is height, width and batch of the outputs.
        """
        if self.second is None:
            return self.first.folded(x, None, a, base)
        v, shift = self.first.folded(x, None, None, None)
        return self.second.folded(self._maps(v, size), shift.flatten(2), a, base)

    def weighted(self, x: Tensor, a: Tensor, total: Tensor | None, size: list[int]) -> Tensor:
        """Return ``total`` ``[T, C P]`` plus the outputs weighted by ``a`` ``[T, K, J]``."""
        z = self.first.normalised(x)
        if self.second is not None:
            z = self.second.normalised(self._maps(z, size))
        t, k, j, c, p = z.shape
        a, z = a.reshape(t, 1, k * j), z.view(t, k * j, c * p)
        return (torch.bmm(a, z) if total is None else torch.baddbmm(total[:, None], a, z))[:, 0]

    def single(self, x: Tensor, t: int, name: str, j: int) -> Tensor:
        """Return the output of one operation on one edge ``[C, height', width', batch]``."""
        for block in self.blocks:
            x = block.single(x, t, self.names.index(name), j)
        return x

    @staticmethod
    def _maps(v: Tensor, size: list[int]) -> Tensor:
        return v.view(*v.shape[:2], -1, *size)


class Halving(nn.Module):
    """Factorised reductions: of a wave's sources for T targets, or of a cell's input.

    Parameters: ``first`` ``[J, T, outputs // 2, inputs]`` and ``second``, the rest of the outputs.
    """

    def __init__(self, targets: int, sources: int, inputs: int, outputs: int, flat: bool):
        super().__init__()
        self.flat = flat
        half = outputs // 2
        self.first = nn.Parameter(torch.empty(sources, targets, half, inputs))
        self.second = nn.Parameter(torch.empty(sources, targets, outputs - half, inputs))
        self.statistics = Statistics(sources, targets, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[J, T, outputs, P]`` of rectified maps ``[J, inputs, height, width, batch]``."""
        halves = [
            torch.bmm(w.flatten(1, 2), part.flatten(2)).unflatten(1, w.shape[1:3])
            for w, part in zip((self.first, self.second), self._halves(x), strict=True)
        ]
        return self.statistics.normalise(torch.cat(halves, dim=2))

    def single(self, x: Tensor, t: int, j: int) -> Tensor:
        """Return ``[outputs, P]`` of one rectified source for one target."""
        near, far = self._halves(x)
        halves = [self.first[j, t] @ near.flatten(1), self.second[j, t] @ far.flatten(1)]
        return self.statistics.normalise(torch.cat(halves), j * self.first.shape[1] + t)

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return every second position, and those one further on; beyond the edge are zeros.

        The one row of a 1-D input stays.
        """
        down = 0 if self.flat else 1
        further = functional.pad(x, (0, 0, 0, 1, 0, down))[..., down:, 1:, :]
        return x[..., ::2, ::2, :], further[..., ::2, ::2, :]


class Wave(nn.Module):
    """Everything that leaves J states for T nodes, C channels each.

    The weighted sum of normalised outputs has two forms. The one normalises each output and adds
    them up; it is faster where maps are small. The other, *folded*, puts weights and norms into
    the matrices of the pointwise convolutions (search_space/stages.py).
    """

    def __init__(
        self,
        operations: Sequence[str],
        targets: int,
        sources: int,
        channels: int,
        *,
        stride: int,
        flat: bool,
    ):
        super().__init__()
        self.targets, self.channels, self.stride = targets, channels, stride
        self.pools = [i for i, name in enumerate(POOLS) if name in operations]
        if self.pools:
            self.pool_statistics = Statistics(len(self.pools), sources, channels)
        self.skips = "skip_connect" in operations
        if self.skips and stride == 2:
            self.halving = Halving(targets, sources, channels, channels, flat)
        shape = (targets, sources, channels)
        self.convolutions = nn.ModuleDict(
            {
                name: Convolutions(operations, group, shape, stride, flat)
                for name, group in GROUPS.items()
                if not group.widths.keys().isdisjoint(operations)
            }
        )

    def groups(self) -> Iterator[tuple[str, Convolutions]]:
        """Yield the groups of convolutions that the operations hold, by their names."""
        for name, convolutions in self.convolutions.items():
            assert isinstance(convolutions, Convolutions)
            yield name, convolutions

    def forward(
        self, x: Tensor, a: Mapping[str, Tensor], base: Tensor | None, folded: bool
    ) -> Tensor:
        """Return the weighted sums over sources and operations ``[T, C, height', width', batch]``.

        Args:
            x: states ``[J, C, height, width, batch]``.
            a: weights: "pools" ``[T, pools * J]``, "skip" ``[T, J]`` and for each group of
                convolutions ``[T, K, J]``, as far as there are such.
            base: what the sums are added to.
            folded: the form of the sum.
        """
        size = [*(-(-length // self.stride) for length in x.shape[2:4]), x.shape[4]]
        total = self._simple(x, a, None if base is None else base.flatten(1))
        maps = x.flatten(0, 1)
        if folded:
            total = self._folded(maps, a, total, size)
        else:
            for name, convolutions in self.groups():
                total = convolutions.weighted(maps, a[name], total, size)
        if total is None:
            total = x.new_zeros(self.targets, self.channels * math.prod(size))
        return total.view(self.targets, self.channels, *size)

    def _simple(self, x: Tensor, a: Mapping[str, Tensor], total: Tensor | None) -> Tensor | None:
        """Add what has no depthwise convolution to ``total`` ``[T, C P]``."""
        if self.pools:
            largest, mean = (i in self.pools for i in range(len(POOLS)))
            pooled = pools(x, self.stride, (largest, mean), self.pool_statistics)
            total = _plus(total, a["pools"], pooled)
        if self.skips and self.stride == 1:
            total = _plus(total, a["skip"], x)
        elif self.skips:
            part = torch.einsum("tj,jtcp->tcp", a["skip"], self.halving(x.relu())).flatten(1)
            total = part if total is None else total + part
        return total

    def _folded(
        self, maps: Tensor, a: Mapping[str, Tensor], total: Tensor | None, size: list[int]
    ) -> Tensor:
        """Add all convolutions to ``total`` ``[T, C P]``."""
        if total is None:
            total = maps.new_zeros(self.targets, self.channels * math.prod(size))
        elif not self.pools:
            total = total.clone()  # perhaps not its own memory, and about to change in place
        due = []
        for name, convolutions in self.groups():
            total, b = convolutions.folded(maps, a[name], total, size)
            due.append(b)
        if not due:
            return total
        return total.view(*due[0].shape, -1) + functools.reduce(torch.add, due)[..., None]

    def single(self, name: str, x: Tensor, t: int, j: int) -> Tensor:
        """Return the output of one operation ``[C, height', width', batch]`` for one target.

        Args:
            name: of the operation, other than ``none``.
            x: the state ``[C, height, width, batch]``.
            t, j: target and source of the edge.
        """
        if name in POOLS:
            number = POOLS.index(name)
            at = self.pools.index(number) * self.pool_statistics.running_mean.shape[1] + j
            which = (number == 0, number == 1)
            return self._maps(pools(x, self.stride, which, self.pool_statistics, at), x)
        if name == "skip_connect":
            if self.stride == 1:
                return x
            return self._maps(self.halving.single(x.relu(), t, j), x)
        for _, convolutions in self.groups():
            if name in convolutions.names:
                return convolutions.single(x, t, name, j)
        raise KeyError(name)

    def _maps(self, y: Tensor, x: Tensor) -> Tensor:
        """Return outputs of ``x`` as maps ``[C, height', width', batch]``."""
        height, width = (-(-length // self.stride) for length in x.shape[1:3])
        return y.view(-1, height, width, x.shape[-1])


def _plus(total: Tensor | None, a: Tensor, y: Tensor) -> Tensor:
    """Return ``total`` plus the sums ``[T, C P]`` of what ``a`` has columns for."""
    y = y.view(a.shape[1], -1)
    return a @ y if total is None else torch.addmm(total, a, y)
