"""How far the paper's finite difference is from the exact product, in the course of a search.

    python tests/benchmarks/second_order.py [--task digits] [--data DIRECTORY] [--json]

A supernet is trained by first-order DARTS. Now and then the product of the training loss's mixed
second derivative with the validation gradient, which is what the second order adds, is found both
ways from the same weights and batches: exactly, by differentiating twice, and by the difference of
equation 8 at several radii (the paper's: 0.01). Printed: relative difference and cosine, in float64
unless --float32.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from orchestrator.tasks import TASKS
from search_space.mixture import Mixture
from search_space.spaces.darts import Darts
from search_space.task import Task
from searchers import _unrolled
from searchers._unrolled import ArchitectureGradient, Unrolling

RADII = (1e-1, 1e-2, 1e-3, 1e-4)
RATE, MOMENTUM, DECAY = 0.025, 0.9, 3e-4


class Search:
    """First-order DARTS with the paper's rates."""

    def __init__(self, task: Task, channels: int, layers: int, batch: int, dtype: torch.dtype):
        torch.manual_seed(0)
        self.task, self.batch, self.dtype = task, batch, dtype
        self.network = Darts().supernet(task, channels=channels, layers=layers).to(dtype)
        self.alphas = [(1e-3 * torch.randn(14, 8, dtype=dtype)).requires_grad_() for _ in range(2)]
        self.weights = list(self.network.parameters())
        self.sgd = torch.optim.SGD(self.weights, RATE, MOMENTUM, weight_decay=DECAY)
        self.adam = torch.optim.Adam(self.alphas, 3e-3, betas=(0.5, 0.999), weight_decay=1e-3)
        self.gradient = ArchitectureGradient(self.network, task.loss)

    def draw(self) -> tuple[Tensor, Tensor]:
        inputs, targets = self.task.batch(
            self.task.train, torch.randint(len(self.task.train), (self.batch,))
        )
        targets = targets.to(self.dtype) if targets.is_floating_point() else targets
        return inputs.to(self.dtype), targets

    def mixtures(self, tables: list[Tensor]) -> dict[str, Mixture]:
        return {k: Mixture(t) for k, t in zip(("normal", "reduce"), tables, strict=True)}

    def step(self) -> None:
        for parameters, optimizer in ((self.alphas, self.adam), (self.weights, self.sgd)):
            inputs, targets = self.draw()
            mixtures = self.mixtures([a.softmax(-1) for a in self.alphas])
            found = torch.autograd.grad(
                self.task.loss(self.network(inputs, mixtures), targets), parameters
            )
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = gradient
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()

    def products(self) -> tuple[Tensor, dict[float, Tensor]]:
        """Return the exact product, and the difference for each radius."""
        theta = [a.detach().softmax(-1).requires_grad_() for a in self.alphas]
        train, valid, mixtures = self.draw(), self.draw(), self.mixtures(theta)
        state = self.sgd.state
        velocities = [state[w].get("momentum_buffer", torch.zeros_like(w)) for w in self.weights]

        def product(exact: bool) -> Tensor:
            unrolling = Unrolling(RATE, MOMENTUM, DECAY, velocities)
            whole = self.gradient.second_order(
                train, valid, mixtures, theta, unrolling, exact=exact
            )
            return torch.cat([g.flatten() for g in whole])

        # What the second order adds is minus the rate times the product.
        with mock.patch.object(ArchitectureGradient, "_mixed", _zero):
            direct = product(exact=True)
        found = {}
        for radius in RADII:
            with mock.patch.object(_unrolled, "RADIUS", radius):
                found[radius] = (direct - product(exact=False)) / RATE
        return (direct - product(exact=True)) / RATE, found


def _zero(
    self: ArchitectureGradient, train: object, mixtures: object, theta: list[Tensor], _: object
):
    return [torch.zeros_like(t) for t in theta]


def rows(search: Search, moments: list[int]) -> Iterator[dict[str, float]]:
    steps = 0
    for moment in moments:
        while steps < moment:
            search.step()
            steps += 1
        exact, found = search.products()
        for radius, difference in found.items():
            yield {
                "step": steps,
                "radius": radius,
                "relative difference": float((difference - exact).norm() / exact.norm()),
                "cosine": float(torch.cosine_similarity(difference, exact, dim=0)),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="digits", choices=TASKS.names())
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--moments", default="0,50,200", help="steps, default: %(default)s")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = TASKS.load(arguments.task).load(arguments.data).without_test()
    dtype = torch.float32 if arguments.float32 else torch.float64
    search = Search(task, arguments.channels, arguments.layers, arguments.batch, dtype)
    found = list(rows(search, [int(m) for m in arguments.moments.split(",")]))
    if arguments.json:
        print(json.dumps(found))
        return
    table = Table(*found[0])
    for row in found:
        table.add_row(*(f"{value:.3g}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
