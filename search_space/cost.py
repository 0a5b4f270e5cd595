"""What a network costs: parameters and multiply-adds, counted without running it for real."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from search_space.supernet import MixedNetwork, Supernet, TextbookSupernet
from search_space.task import Task


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-adds of one example's forward pass.

    As the literature counts: without an auxiliary head; convolutions and matrix products only.
    """

    parameters: int
    multiply_adds: int


def cost(network: nn.Module, task: Task) -> Cost:
    """Count the cost of ``network`` on one input of ``task``. The network is left as it was."""
    shadow = _textbook(network, task).to("meta").eval()
    _without_norms(shadow)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shadow(torch.zeros(1, *task.shape, device="meta"))
    # A multiply-add is two FLOPs.
    return Cost(count_parameters(network), counter.get_total_flops() // 2)


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters, without an auxiliary head."""
    return sum(
        p.numel()
        for name, p in network.named_parameters()
        if p.requires_grad and not name.startswith("auxiliary.")
    )


def _without_norms(network: nn.Module) -> None:
    """Leave batch norms out: they are not counted, and on the meta device take most of the time."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, nn.Identity())


def _textbook(network: nn.Module, task: Task) -> nn.Module:
    """Return a copy; of a supernet its textbook form, so that the mathematics is what counts."""
    if isinstance(network, Supernet):
        with torch.device("meta"):
            return TextbookSupernet(task, **network.shape)
    if isinstance(network, MixedNetwork):
        tables = {kind: network.get_buffer(kind) for kind in ("normal", "reduce")}
        with torch.device("meta"):
            return MixedNetwork(TextbookSupernet(task, **network.supernet.shape), tables)
    return copy.deepcopy(network)
