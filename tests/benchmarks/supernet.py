"""The fast supernet against the textbook's: time of a step, and memory.

    python tests/benchmarks/supernet.py [--settings a,b,c,d] [--repeats 7] [--json] [--plain]

Times are CPU seconds of this process on one thread, medians over repeats in which the two take
turns. What is timed:

first         the gradient of the architecture with an Adam step, then the gradient of the weights
              with a clipped SGD step
published     the same as the papers' code does it with the textbook: the first half finds the
              weights' gradients too, and throws them away
second        with the unrolled gradient, by a finite difference; exact: by differentiating twice
single        a first-order step with one sampled operation an edge
checkpointed  forward and backward, where the fast form keeps no maps within cells

Memory is the peak of the resident set above that with the built model, in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from search_space import kernels
from search_space.mixture import Mixture
from search_space.spaces.darts import Darts
from search_space.task import Split, Task, classes
from searchers._unrolled import ArchitectureGradient, Unrolling


class Setting(NamedTuple):
    """Size of a supernet and of a batch."""

    channels: int
    layers: int
    batch: int
    shape: tuple[int, int, int]


SETTINGS = {
    "c": Setting(4, 3, 64, (1, 8, 8)),
    "b": Setting(8, 5, 32, (1, 28, 28)),
    "d": Setting(8, 5, 24, (1, 32, 80)),
    "a": Setting(16, 8, 64, (3, 32, 32)),
}
FORMS = ("textbook", "fast")
WORK = ("forward+backward", "checkpointed", "first", "published", "second", "exact", "single")
# A whole step of the largest setting takes the textbook minutes.
WORK_OF = {"a": ("forward+backward", "single")}


class Bench:
    """A supernet with its optimisers on random data."""

    def __init__(self, form: str, setting: Setting):
        torch.manual_seed(0)
        self.inputs = torch.randn(setting.batch, *setting.shape)
        self.targets = torch.randint(0, 10, (setting.batch,))
        split = Split(self.inputs, self.targets)
        task = Task.of("random", classes(10), split, split, split)
        space = Darts()
        self.network = space.supernet(
            task, channels=setting.channels, layers=setting.layers, fast=form == "fast"
        )
        self.alphas = [nn.Parameter(1e-3 * torch.randn(14, 8)) for _ in range(2)]
        self.weights = list(self.network.parameters())
        self.sgd = torch.optim.SGD(self.weights, lr=0.025, momentum=0.9, weight_decay=3e-4)
        self.adam = torch.optim.Adam(self.alphas, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.gradient = ArchitectureGradient(self.network, nn.functional.cross_entropy)

    def mixtures(self, single: bool = False) -> dict[str, Mixture]:
        tables = dict(zip(("normal", "reduce"), self.alphas, strict=True))
        if not single:
            return {kind: Mixture(alpha.softmax(-1)) for kind, alpha in tables.items()}
        chosen = {}
        for kind, alpha in tables.items():
            soft = nn.functional.gumbel_softmax(alpha, hard=True)
            chosen[kind] = Mixture.only(soft.argmax(1, keepdim=True).tolist(), soft)
        return chosen

    def forward_backward(self) -> None:
        self._loss(self.mixtures()).backward()

    def checkpointed(self) -> None:
        self.network.checkpointing = True
        self.forward_backward()
        self.network.checkpointing = False

    def first(self, single: bool = False) -> None:
        self._architecture(torch.autograd.grad(self._loss(self.mixtures(single)), self.alphas))
        self._step(single)

    def published(self) -> None:
        """The step of the papers' code, whose first half finds the weights' gradients too."""
        everything = [*self.alphas, *self.weights]
        found = torch.autograd.grad(self._loss(self.mixtures()), everything)
        self._architecture(found[:2])
        self._step()

    def single(self) -> None:
        self.first(single=True)

    def second(self, exact: bool = False) -> None:
        theta = [alpha.softmax(-1) for alpha in self.alphas]
        leaves = [t.detach().requires_grad_() for t in theta]
        mixtures = {k: Mixture(t) for k, t in zip(("normal", "reduce"), leaves, strict=True)}
        state = self.sgd.state
        velocities = [state[w].get("momentum_buffer", torch.zeros_like(w)) for w in self.weights]
        batch = (self.inputs, self.targets)
        unrolling = Unrolling(0.025, 0.9, 3e-4, velocities)
        gradients = self.gradient.second_order(
            batch, batch, mixtures, leaves, unrolling, exact=exact
        )
        self._architecture(torch.autograd.grad(theta, self.alphas, gradients))
        self._step()

    def exact(self) -> None:
        self.second(exact=True)

    def _loss(self, mixtures: dict[str, Mixture]) -> torch.Tensor:
        return nn.functional.cross_entropy(self.network(self.inputs, mixtures), self.targets)

    def _architecture(self, gradients: Sequence[torch.Tensor]) -> None:
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient
        self.adam.step()

    def _step(self, single: bool = False) -> None:
        mixtures = {
            k: Mixture(m.weights.detach(), None, m.active) for k, m in self.mixtures(single).items()
        }
        found = torch.autograd.grad(self._loss(mixtures), self.weights, allow_unused=True)
        for weight, gradient in zip(self.weights, found, strict=True):
            weight.grad = gradient
        nn.utils.clip_grad_norm_(self.weights, 5.0)
        self.sgd.step()


def work(bench: Bench, name: str) -> Callable[[], None]:
    return getattr(bench, name.replace("+", "_"))


def seconds(setting: str, repeats: int, wanted: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the median CPU seconds of each kind of work and form, taking turns."""
    names = [name for name in WORK_OF.get(setting, WORK) if name in wanted]
    benches = {form: Bench(form, SETTINGS[setting]) for form in FORMS}
    times: dict[str, dict[str, list[float]]] = {n: {f: [] for f in FORMS} for n in names}
    for repeat in range(repeats + 1):
        for name in names:
            for form, bench in benches.items():
                start = time.process_time()
                # Nobody is made to find gradients that aren't used, except by that code itself.
                work(bench, "first" if (form, name) == ("fast", "published") else name)()
                if repeat:  # the first one warms up
                    times[name][form].append(time.process_time() - start)
    return {n: {f: statistics.median(t) for f, t in by.items()} for n, by in times.items()}


def peak(form: str, setting: str, checkpointing: bool) -> float:
    """Return in megabytes what a forward and backward pass needs above the built model."""
    bench = Bench(form, SETTINGS[setting])
    bench.network.checkpointing = checkpointing
    warm = torch.randn(8, 8, requires_grad=True)
    (warm @ warm).sum().backward()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = _resident("VmRSS")
    bench.forward_backward()
    return (_resident("VmHWM") - before) / 1024


def _resident(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found[1])


def peaks(setting: str, *, plain: bool) -> dict[str, float]:
    """Measure peaks, each in a process of its own."""
    found = {}
    for name, form, checkpointing in (
        ("textbook", "textbook", False),
        ("fast", "fast", False),
        ("fast, checkpointed", "fast", True),
    ):
        command = [sys.executable, __file__, "--peak", form, "--settings", setting]
        command += ["--checkpointing"] * checkpointing + ["--plain"] * plain
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = float(run.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", default="c,b,d,a")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plain", action="store_true", help="without the compiled kernels")
    parser.add_argument("--work", default=",".join(WORK), help="default: %(default)s")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--peak", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with kernels.in_plain_torch() if arguments.plain else contextlib.nullcontext():
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    settings = arguments.settings.split(",")
    if arguments.peak:
        print(peak(arguments.peak, settings[0], arguments.checkpointing))
        return
    rows = []
    for setting in settings:
        repeats = max(2, arguments.repeats // 3) if setting == "a" else arguments.repeats
        for name, by in seconds(setting, repeats, arguments.work.split(",")).items():
            rows.append({"setting": setting, "what": f"{name}, s", **by})
        if not arguments.no_memory:
            found = peaks(setting, plain=arguments.plain)
            for name in ("fast", "fast, checkpointed"):
                rows.append(
                    {
                        "setting": setting,
                        "what": f"{name}, MB",
                        "textbook": found["textbook"],
                        "fast": found[name],
                    }
                )
    if arguments.json:
        print(json.dumps(rows))
        return
    table = Table("setting", "what", "textbook", "fast", "textbook / fast")
    for row in rows:
        ratio = f"{row['textbook'] / row['fast']:.2f}"
        table.add_row(
            row["setting"], row["what"], f"{row['textbook']:.3f}", f"{row['fast']:.3f}", ratio
        )
    Console().print(table)


if __name__ == "__main__":
    main()
