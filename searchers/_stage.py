"""A stage of a search: a supernet, its architecture, and what trains them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from search_space.space import SearchSpace
from search_space.task import Task
from searchers._alternation import Alternation
from searchers._architecture import Architecture
from searchers._chance import Chance
from searchers._prices import Shape, prices
from searchers._recipe import Recipe


class Stage:
    """What a search trains until it goes deeper.

    Args:
        space, task, recipe: of the search.
        number: of the stage, from 0; the recipe says how deep it is.
        kept: for each kind ``[edges, kept]`` the operations that are left; None: all.
        loss: that both optimisers see.
        chance: of the first weights.
        generator: of the architecture's first values and of all draws.
        device: where it computes.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        recipe: Recipe,
        number: int,
        kept: Mapping[str, Tensor] | None,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        chance: Chance,
        generator: torch.Generator,
        device: torch.device,
    ):
        layers, size = recipe.depths[number].layers, (recipe.channels, recipe.partial)
        with chance:
            network = space.supernet(
                task, channels=size[0], layers=layers, partial=size[1], fast=device.type == "cpu"
            )
        self.shape = Shape(network.operations, network.nodes, size[0], layers, size[1])
        self.prices = prices(task, self.shape)
        self.network = network.to(device)
        self.network.checkpointing = recipe.checkpointing
        self.architecture = Architecture(
            network.operations,
            network.nodes,
            recipe.relaxation.make(),
            partial=recipe.partial > 1,
            generator=generator,
            kept=kept,
        ).to(device)
        assert recipe.architecture_learning_rate is not None
        self.alternation = Alternation(
            self.network,
            self.architecture,
            loss,
            penalty=recipe.penalty.make() if recipe.penalty else None,
            order=recipe.gradient,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            clip=recipe.clip,
            architecture_rate=recipe.architecture_learning_rate,
            architecture_decay=recipe.architecture_weight_decay,
            generator=generator,
        )
