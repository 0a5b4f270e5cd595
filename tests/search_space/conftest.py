"""Fixtures of the search-space tests: small tasks of every shape and output kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from search_space.task import Output, Split, Task, classes, dense, multilabel, regression

MakeTask = Callable[..., Task]

OUTPUTS: dict[str, Callable[[int], Output]] = {
    "classes": classes,
    "multilabel": multilabel,
    "regression": regression,
    "dense": dense,
}


def _targets(kind: str, size: int, inputs: Tensor) -> Tensor:
    """Return targets that the mean of the channels decides, so that they can be learned."""
    n, level = len(inputs), inputs.mean(dim=1)  # [N, *spatial]
    if kind == "dense":
        return torch.stack([level * (i + 1) for i in range(size)], dim=1)
    mean = level.flatten(1).mean(dim=1)
    rank = mean.argsort().argsort()
    if kind == "classes":
        return rank * size // n
    if kind == "multilabel":
        return torch.stack([(rank + i) % n < n // 2 for i in range(size)], dim=1).float()
    return torch.stack([mean * (i + 1) + i for i in range(size)], dim=1)


@pytest.fixture
def make_task() -> MakeTask:
    """Factory of tasks of ``n`` examples a split: ``make_task(shape, kind, n=8, seed=0, size=3)``.

    ``kind`` is "classes", "multilabel", "regression" or "dense"; ``size`` is the number of outputs.
    Every example has its own level, which shows in the inputs and decides the targets. Every split
    holds both values of every label and, with ``n >= size``, every class.
    """

    def make(
        shape: tuple[int, ...], kind: str = "classes", n: int = 8, seed: int = 0, size: int = 3
    ) -> Task:
        generator = torch.Generator().manual_seed(seed)

        def split() -> Split:
            inputs = torch.randn(n, *shape, generator=generator)
            inputs += 2 * torch.randn(n, *[1] * len(shape), generator=generator)
            return Split(inputs, _targets(kind, size, inputs))

        name = f"made_{kind}_{'x'.join(map(str, shape))}"
        return Task.of(name, OUTPUTS[kind](size), split(), split(), split())

    return make
