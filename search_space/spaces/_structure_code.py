"""Network structure codes, and the block that a code stands for.

Zhong, Yan, Wu, Shao, Liu: Practical Block-wise Neural Network Architecture Generation, CVPR 2018,
section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from search_space.genotype import GenotypeError
from search_space.operations import (
    ReluConvNorm,
    average_pooling,
    convolution,
    max_pooling,
    normalisation,
)
from search_space.spaces._questions import option

# Table 1: the numbers of the types, and the kernels of those that have one.
CONV, MAX_POOL, AVG_POOL, IDENTITY, ADD, CONCAT, TERMINAL = range(1, 8)
KERNELS = {CONV: (1, 3, 5), MAX_POOL: (1, 3), AVG_POOL: (1, 3)}
JOINING = (ADD, CONCAT)


class Code(NamedTuple):
    """One layer; 0 stands for a kernel or a predecessor that the type does not have."""

    number: int
    type: int
    kernel: int
    first: int
    second: int

    @property
    def sources(self) -> tuple[int, ...]:
        """The predecessors."""
        return (self.first, self.second) if self.type in JOINING else (self.first,)


def loose_ends(codes: Sequence[Code]) -> list[int]:
    """Return the numbers of the layers that no layer takes; they make the output."""
    taken = {source for code in codes for source in code.sources}
    return [code.number for code in codes if code.number not in taken]


def to_rows(codes: Sequence[Code]) -> list[list[int]]:
    """Return the code as plain data, the terminal last."""
    return [*map(list, codes), [len(codes) + 1, TERMINAL, 0, 0, 0]]


def check_row(row: Any, index: int, last: int) -> None:
    """Raise GenotypeError unless ``row`` can be the code of the layer ``index``."""
    where = f"layer {index}"
    if not isinstance(row, list) or len(row) != 5 or not all(type(part) is int for part in row):
        raise GenotypeError(f"{where} is {row!r}; it must be five whole numbers")
    code = Code(*row)
    option(code.number, [index], f"the index of {where}")
    types = [TERMINAL] if index == last else list(range(1, TERMINAL))
    option(code.type, types, f"the type of {where}")
    option(code.kernel, KERNELS.get(code.type, (0,)), f"the kernel of {where}")
    for number, source in enumerate((code.first, code.second)):
        takes = code.type != TERMINAL and (number == 0 or code.type in JOINING)
        option(source, range(index if takes else 1), f"predecessor {number + 1} of {where}")


class Block(nn.Module):
    """One block: all layers of stride 1, the ends concatenated.

    Convolutions are pre-activated: ReLU, convolution, batch norm (section 3.1).
    """

    def __init__(self, codes: Sequence[Code], inputs: int, channels: int, ndim: int):
        super().__init__()
        self.codes = list(codes)
        self.fit = ReluConvNorm(inputs, channels, ndim)
        self.layers = nn.ModuleList()
        widths = [channels]
        for code in codes:
            taken = [widths[source] for source in code.sources]
            module, width = _layer(code, taken, channels, ndim)
            self.layers.append(module)
            widths.append(width)
        self.ends = loose_ends(codes)
        self.width = sum(widths[end] for end in self.ends)

    def forward(self, x: Tensor) -> Tensor:
        states = [self.fit(x)]
        for code, layer in zip(self.codes, self.layers, strict=True):
            states.append(layer(*(states[source] for source in code.sources)))
        return torch.cat([states[end] for end in self.ends], dim=1)


class Sum(nn.Module):
    """Two summands, the narrower one first brought to the width of the other."""

    def __init__(self, first: int, second: int, ndim: int):
        super().__init__()
        self.width = max(first, second)
        self.fits = nn.ModuleList(
            nn.Identity() if width == self.width else ReluConvNorm(width, self.width, ndim)
            for width in (first, second)
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.fits[0](first) + self.fits[1](second)


class Concatenation(nn.Module):
    """Two maps beside each other."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second], dim=1)


def _layer(code: Code, taken: list[int], channels: int, ndim: int) -> tuple[nn.Module, int]:
    """Return the module of a layer, and how many channels it puts out."""
    if code.type == ADD:
        first, second = taken
        module = Sum(first, second, ndim)
        return module, module.width
    if code.type == CONCAT:
        return Concatenation(), sum(taken)
    if code.type == MAX_POOL:
        return max_pooling(ndim, code.kernel, 1), taken[0]
    if code.type == AVG_POOL:
        return average_pooling(ndim, code.kernel, 1), taken[0]
    if code.type == IDENTITY:
        return nn.Identity(), taken[0]
    window = convolution(ndim, taken[0], channels, code.kernel, padding=code.kernel // 2)
    return nn.Sequential(nn.ReLU(), window, normalisation(ndim, channels)), channels
