"""What a network costs: parameters and multiply-adds, counted without running it for real."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_space.task import Task


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-adds of one example's forward pass.

    As the literature counts: without an auxiliary head and without the architecture parameters of
    a supernet; convolutions and matrix products only.
    """

    parameters: int
    multiply_adds: int


def cost(network: nn.Module, task: Task) -> Cost:
    """Count the cost of ``network`` on one input of ``task``. The network is left as it was."""
    shadow = copy.deepcopy(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shadow(torch.zeros(1, *task.shape, device="meta"))
    parameters = sum(
        p.numel()
        for name, p in network.named_parameters()
        if p.requires_grad and not name.startswith(("auxiliary.", "architecture."))
    )
    return Cost(parameters, counter.get_total_flops() // 2)  # a multiply-add is two FLOPs
