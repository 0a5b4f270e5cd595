"""Layers whose parameters depend on their type, as the chain and its branching kin choose them.

Elsken, Metzen, Hutter: Neural Architecture Search: A Survey, JMLR 2019, section 2: the type of a
layer decides what there is to choose about it, so that the space is conditional.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from search_space.genotype import Genotype, GenotypeError
from search_space.operations import average_pooling, convolution, max_pooling, normalisation
from search_space.shelf import nearest
from search_space.spaces._questions import AskingSpace, Questions, option

CONVOLUTIONS = ("conv", "sep_conv", "dil_conv")
IDENTITY = "identity"
# In the order in which the survey names them.
TYPES = ("conv", "max_pool", "avg_pool", "sep_conv", "dil_conv", IDENTITY)


class Layer(NamedTuple):
    """A type and its parameters; 0 stands for a parameter that the type does not have."""

    type: str
    width: int = 0
    kernel: int = 0
    stride: int = 0

    @property
    def parameters(self) -> tuple[int, ...]:
        """The parameters that the type has, in their order."""
        return tuple(value for value in self[1:] if value)

    @property
    def operation(self) -> str:
        """The name under which the operation of a cell has its colour."""
        return f"{self.type}_{self.kernel}x{self.kernel}" if self.kernel else "skip_connect"

    @property
    def label(self) -> str:
        """A short text for a drawing: type and kernel, then width and stride where they matter."""
        lines = [f"{self.type} {self.kernel}" if self.kernel else self.type]
        if self.width:
            lines.append(f"width {self.width}")
        if self.stride > 1:
            lines.append(f"stride {self.stride}")
        return "\n".join(lines)


@dataclass(frozen=True)
class LayeredSpace(AskingSpace):
    """What spaces have in common that choose the number of layers and each layer's parameters.

    Args:
        most_layers: the number of layers is 1 to this.
        types: some of ``conv``; ``sep_conv``, a depthwise and a pointwise convolution; ``dil_conv``
            with dilation 2; ``max_pool``; ``avg_pool``; ``identity``.
        widths: channels of a convolution, in multiples of the ``channels`` that are built with.
        kernels: odd sizes of the window. Of 1 there are plain convolutions only: the others would
            be the same or nothing.
        strides: of convolutions and poolings.
    """

    most_layers: int = 12
    types: tuple[str, ...] = TYPES
    widths: tuple[int, ...] = (1, 2, 4, 8)
    kernels: tuple[int, ...] = (1, 3, 5)
    strides: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        if self.most_layers < 1:
            raise ValueError(f"most_layers is {self.most_layers}; it must be at least 1")
        for name in self.types:
            if name not in TYPES:
                raise ValueError(f"unknown type of layer {name!r}; {nearest(name, TYPES)}")
        _different("types", self.types)
        for field, values in (
            ("widths", self.widths),
            ("kernels", self.kernels),
            ("strides", self.strides),
        ):
            _different(field, values)
            if min(values) < 1:
                raise ValueError(f"{field} is {list(values)}; all must be at least 1")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels is {list(self.kernels)}; a centred window is of odd size")
        for name in self.types:
            if name != IDENTITY and not self.windows(name):
                raise ValueError(f"kernels is {list(self.kernels)}; {name!r} needs one above 1")

    def windows(self, type_: str) -> tuple[int, ...]:
        """Return the sizes of the window that a type can have."""
        return tuple(k for k in self.kernels if k > 1 or type_ == "conv")

    def choices(self) -> int:
        """Return how many different layers there are."""
        count = 0
        for name in self.types:
            widths = len(self.widths) if name in CONVOLUTIONS else 1
            windows = len(self.windows(name)) * len(self.strides) if name != IDENTITY else 1
            count += widths * windows
        return count

    def layer_questions(self) -> Questions[Layer]:
        """Ask for a type and then for what it calls for."""
        name = self.types[(yield len(self.types))]
        if name == IDENTITY:
            return Layer(name)
        width = self.widths[(yield len(self.widths))] if name in CONVOLUTIONS else 0
        windows = self.windows(name)
        kernel = windows[(yield len(windows))]
        return Layer(name, width, kernel, self.strides[(yield len(self.strides))])

    def layer_answers(self, layer: Layer, where: str) -> list[int]:
        """Return the answers that lead to ``layer``. Raises GenotypeError, which says where."""
        name = layer.type
        answers = [option(name, self.types, f"the type of {where}")]
        if name in CONVOLUTIONS:
            answers.append(option(layer.width, self.widths, f"the width of {where}"))
        if name != IDENTITY:
            answers.append(option(layer.kernel, self.windows(name), f"the kernel of {where}"))
            answers.append(option(layer.stride, self.strides, f"the stride of {where}"))
        return answers

    def layer_list(self, genotype: Genotype) -> list[Any]:
        """Return the layers of a genotype as plain data, however many. Raises GenotypeError."""
        self._own(genotype)
        layers = genotype.data.get("layers")
        if not isinstance(layers, list) or not layers:
            raise GenotypeError('a genotype of this space is {"layers": [...]}')
        return layers

    def length_answer(self, layers: Sequence[object]) -> int:
        """Return the answer that leads to as many layers. Raises GenotypeError."""
        if len(layers) > self.most_layers:
            raise GenotypeError(f"{len(layers)} layers; allowed: 1 to {self.most_layers}")
        return len(layers) - 1


def layer_from_data(data: Any, where: str) -> Layer:
    """Read ``[type, *parameters]``, as :class:`Layer` lists them. Raises GenotypeError."""
    if not isinstance(data, list) or not data or data[0] not in TYPES:
        raise GenotypeError(f"{where} is {data!r}; it must be a list that starts with a type")
    name, *parameters = data
    names = ["width"] if name in CONVOLUTIONS else []
    names += ["kernel", "stride"] if name != IDENTITY else []
    if len(parameters) != len(names) or not all(type(value) is int for value in parameters):
        raise GenotypeError(
            f"{where} is {data!r}; {name} takes {' and '.join(names) or 'nothing'} as whole numbers"
        )
    return Layer(name, **dict(zip(names, parameters, strict=True)))


def layer_module(layer: Layer, inputs: int, channels: int, ndim: int) -> tuple[nn.Module, int]:
    """Return the module of a layer behind ``inputs`` channels, and how many channels it puts out.

    Convolutions are in the order of DARTS: ReLU, convolution, batch norm. A size becomes itself
    over the stride, rounded up.
    """
    _, width, kernel, stride = layer
    outputs = width * channels
    if layer.type == IDENTITY:
        return nn.Identity(), inputs
    if layer.type == "max_pool":
        return max_pooling(ndim, kernel, stride), inputs
    if layer.type == "avg_pool":
        return average_pooling(ndim, kernel, stride), inputs
    dilation = 2 if layer.type == "dil_conv" else 1
    window = {"stride": stride, "padding": dilation * (kernel // 2), "dilation": dilation}
    if layer.type == "sep_conv":
        parts = [
            convolution(ndim, inputs, inputs, kernel, groups=inputs, **window),
            convolution(ndim, inputs, outputs, 1),
        ]
    else:
        parts = [convolution(ndim, inputs, outputs, kernel, **window)]
    return nn.Sequential(nn.ReLU(), *parts, normalisation(ndim, outputs)), outputs


def _different(field: str, values: Collection[object]) -> None:
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{field} is {list(values)}; it must hold different values, at least one")
