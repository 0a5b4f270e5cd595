"""Networks that stack one building block: the number of channels doubles as the size is halved."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from search_space.heads import Head, Stem
from search_space.network import Auxiliary, auxiliary_fits, reductions
from search_space.task import Task

# (inputs, outputs, spatial dimensions) -> a module and the number of channels it puts out.
Part = Callable[[int, int, int], tuple[nn.Module, int]]


class StackedNetwork(nn.Module):
    """Stem, blocks with a reduction at one third and two thirds of the depth, head.

    Args:
        block, reduction: make the modules; a reduction halves the size.
        task: gives the shapes of inputs and outputs.
        channels: of the stem and the first blocks; doubled at each reduction.
        layers: number of blocks.
        auxiliary: add an auxiliary head at two thirds of the depth where :func:`auxiliary_fits`;
            in training mode ``forward`` then returns (outputs, auxiliary outputs).
    """

    def __init__(
        self,
        block: Part,
        reduction: Part,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ):
        super().__init__()
        ndim = len(task.spatial)
        self.stem = Stem(task, channels)
        self.blocks = nn.ModuleList()
        width = channels
        self.auxiliary_layer = 2 * layers // 3 if auxiliary and auxiliary_fits(task) else -1
        for layer in range(layers):
            parts = [block]
            if layer in reductions(layers):
                channels *= 2
                parts = [reduction, block]
            modules = []
            for part in parts:
                module, width = part(width, channels, ndim)
                modules.append(module)
            self.blocks.append(nn.Sequential(*modules))
            if layer == self.auxiliary_layer:
                self.auxiliary = Auxiliary(task, width)
        self.head = Head(task, width)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.stem(x)
        extra = None
        for layer, block in enumerate(self.blocks):
            x = block(x)
            if layer == self.auxiliary_layer and self.training:
                extra = self.auxiliary(x)
        outputs = self.head(x)
        return outputs if extra is None else (outputs, extra)
