"""How a depthwise convolution is done: what all of its forms are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Depthwise(NamedTuple):
    """Kernels that each channel is convolved with, with "same" padding.

    Args:
        widths: of the kernels; odd.
        flat: kernels are one row high (1-D inputs as maps of height 1).
        dilation, stride: of all of them.
        shared: all outputs see the same maps, rather than each kernel of each its own.
        rectify: what is convolved is ``relu(x + shift)``.
    """

    widths: tuple[int, ...]
    flat: bool = False
    dilation: int = 1
    stride: int = 1
    shared: bool = True
    rectify: bool = True

    @classmethod
    def of(cls, arguments: Sequence[Any]) -> Depthwise:
        """Do the opposite of ``arguments``."""
        widths, *others = arguments
        return cls(tuple(widths), *others)

    @property
    def arguments(self) -> list[Any]:
        """The same as an operator of torch takes it."""
        return [list(self.widths), *self[1:]]

    @property
    def taps(self) -> list[int]:
        """The number of taps of each kernel."""
        return [width if self.flat else width * width for width in self.widths]
