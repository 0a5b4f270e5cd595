"""Small searches by DARTS."""

from __future__ import annotations

from typing import Any

import torch

from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.task import Task
from searchers.darts import Darts

CPU = torch.device("cpu")


def small_space() -> SearchSpace:
    return SPACES.load("darts")(nodes=2, operations=("none", "skip_connect", "sep_conv_3x3"))


def search(task: Task, *, seed: int = 0, space: SearchSpace | None = None, **params: Any) -> Darts:
    """Return a small search by the paper's recipe."""
    small = {"channels": 2, "layers": 3, "epochs": 2, "batch_size": 4, "watchdog": False}
    chosen = Darts.Params(**{**Darts.PAPER, **small, **params})
    return Darts(space or small_space(), task.without_test(), chosen, seed=seed, device=CPU)
