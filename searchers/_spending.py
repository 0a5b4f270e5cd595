"""What passes through a network with shared weights cost, counted as they happen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from search_space.mixture import of_cell
from search_space.shared import SharedWeights, SupernetPaths
from search_space.task import Task
from searchers._epochs import PASSES_OF_A_STEP
from searchers._prices import Shape, prices


class Meter:
    """Counts multiply-adds; of a pass that keeps a graph, those of its backward pass too.

    As the literature counts: convolutions and matrix products only. The paths of a supernet are
    charged as the textbook computes them, however they are computed.

    Args:
        network: whose passes are counted from now on.
        task: of the network.

    ``spent`` is the sum; ``each`` is what the last pass cost for each example, forward only.
    """

    def __init__(self, network: SharedWeights, task: Task):
        self.spent = self.each = 0
        if isinstance(network, SupernetPaths):
            network.register_forward_hook(self._by_price(network, task))
            return
        self._running = 0
        for module in network.modules():
            if isinstance(module, _ConvNd | nn.Linear):
                module.register_forward_hook(self._add)
        network.register_forward_hook(self._close)

    def _by_price(self, network: SupernetPaths, task: Task) -> Callable[..., None]:
        supernet = network.supernet
        shape = {field.name: supernet.shape[field.name] for field in dataclasses.fields(Shape)}
        table = prices(task, Shape(**shape))

        def charge(_: nn.Module, given: tuple[Any, ...], outputs: Tensor) -> None:
            cells = network.cells(given[1])
            mixtures = {k: of_cell(supernet.operations, cell) for k, cell in cells.items()}
            self._charge(table.of(mixtures), len(outputs))

        return charge

    def _add(self, module: nn.Module, _: tuple[Any, ...], output: Tensor) -> None:
        weight = module.weight  # of the maps that are there: no parameter, where they are chosen
        assert isinstance(weight, Tensor)
        self._running += output.numel() * weight[0].numel()

    def _close(self, _: nn.Module, __: tuple[Any, ...], outputs: Tensor) -> None:
        self._charge(self._running // len(outputs), len(outputs))
        self._running = 0

    def _charge(self, each: int, examples: int) -> None:
        self.each = each
        self.spent += each * examples * (PASSES_OF_A_STEP if torch.is_grad_enabled() else 1)
