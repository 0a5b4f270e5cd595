"""Collapse to skip connections: plain DARTS and its remedies where the plain one collapses.

    python tests/benchmarks/collapse.py [--seeds 3] [--remedies plain,beta] [--task digits]
        [--data DIR] [--rows 128] [--search epochs=60] [--retrain 20] [--json] [--log FILE]

The space has two operations, skip connection and separable convolution, in the manner of S2 of
Zela et al.: Understanding and Robustifying Differentiable Architecture Search, ICLR 2020. A cell
drawn at random has a skip share of one half. Every remedy is one choice of ``method: darts``, the
rest stays as in the plain search. The networks that were found are trained anew on the same rows
and measured on the test split. Progress goes to the standard error output, with the time that is
left, about: all searches that are still to come taken as long as the average one so far. Numbers
are the same on the same machine whatever runs beside; on another they may differ, as rounding does.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from orchestrator.tasks import TASKS
from search_space.genotype import Cell, Genotype
from search_space.spaces.darts import Darts as Space
from search_space.task import Task
from searchers._base import Program
from searchers._training import Training, TrainingParams
from searchers.darts import Darts

CPU = torch.device("cpu")
SPACE = Space(operations=("skip_connect", "sep_conv_3x3"))

# Where plain DARTS goes to skip connections; docs/darts.md says how it was found.
SETTING: dict[str, Any] = {
    "selection": "argmax",
    "epochs": 200,
    "channels": 4,
    "layers": 8,
    "batch_size": 32,
    "learning_rate": 0.005,
    "architecture_learning_rate": 0.03,
    "watchdog": False,
}
RETRAINED = {"channels": 8, "layers": 4}

REMEDIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "sparsemax": {"relaxation": "sparsemax"},
    "sigmoid": {"relaxation": "sigmoid"},
    "gumbel": {"relaxation": "gumbel"},
    "dirichlet": {"relaxation": "dirichlet"},
    "l1": {"penalty": "l1"},
    "entropy": {"penalty": "entropy"},
    "zero_one": {"penalty": "zero_one"},
    "fair": {"relaxation": "sigmoid", "penalty": "zero_one"},
    "beta": {"penalty": "beta"},
    "partial": {"partial": 2},
    "perturbation": {"selection": {"name": "perturbation", "tuning": 5}},
    "prune": {"selection": "prune"},
    # The paper has two, of eight operations: here chance gives four.
    "skip_count": {"stopping": {"name": "skip_count", "skips": 5}},
    "hessian": {"stopping": "hessian"},
    "warmup": {"warmup": 0.3},
    "weight decay": {"weight_decay": 0.03},
    "second order": {"order": 2},
}

NUMBERS = {
    "normal": "skips, normal cell",
    "both": "skips, both cells",
    "epochs": "epochs",
    "supernet": "supernet, validation",
    "retrained": "retrained, test",
    "seconds": "s",
}


def finished(program: Program) -> Program:
    while not program.done:
        program.step()
    return program


def skip_share(cells: Sequence[Cell]) -> float:
    """Return the share of skip connections among the edges of ``cells``."""
    found = [edge.operation == "skip_connect" for c in cells for node in c.nodes for edge in node]
    return sum(found) / len(found)


def search(task: Task, params: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], Genotype]:
    """Search with ``params``; return what it came to and the genotype."""
    start = time.process_time()
    program = Darts(SPACE, task.without_test(), Darts.Params(**params), seed=seed, device=CPU)
    finished(program)
    outcome = program.outcome()
    assert outcome.genotype is not None, "the search diverged"
    cells = SPACE.cells(outcome.genotype)
    row = {
        "normal": skip_share([cells["normal"]]),
        "both": skip_share(list(cells.values())),
        "epochs": program.epoch,
        "supernet": outcome.score,
        "seconds": time.process_time() - start,
        "genotype": SPACE.text(outcome.genotype),
    }
    return row, outcome.genotype


def retrained(task: Task, genotype: Genotype, epochs: int, seed: int) -> float | None:
    """Return the metric of the test split after training what was found from new weights."""
    params = TrainingParams(epochs=epochs, batch_size=32, auxiliary=0.0)
    program = Training(
        lambda: SPACE.build(genotype, task, **RETRAINED), task, params, seed=seed, device=CPU
    )
    finished(program)
    return program.outcome().test


def measure(
    task: Task,
    setting: Mapping[str, Any],
    remedies: Sequence[str],
    seeds: Sequence[int],
    epochs: int,
    tell: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Search with every remedy and seed, and train what was found where ``epochs`` isn't 0."""
    rows: list[dict[str, Any]] = []
    start, total = time.monotonic(), len(remedies) * len(seeds)
    for seed in seeds:
        for name in remedies:
            row, genotype = search(task, {**setting, **REMEDIES[name]}, seed)
            row = {"remedy": name, "seed": seed, **row}
            if epochs:
                row["retrained"] = retrained(task, genotype, epochs, seed)
            rows.append(row)
            tell(row)
            left = (time.monotonic() - start) / len(rows) * (total - len(rows))
            print(
                f"{len(rows)} of {total}: {name}, seed {seed}; {left / 60:.0f} min left, about",
                file=sys.stderr,
            )
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return means over seeds, with the range of the skip share, remedies in order."""
    names = [n for n in NUMBERS if all(n in row for row in rows)]
    made = Table("remedy", "seeds", *(NUMBERS[n] for n in names))
    for remedy in dict.fromkeys(row["remedy"] for row in rows):
        own = [row for row in rows if row["remedy"] == remedy]
        made.add_row(remedy, str(len(own)), *(_cell(n, [row[n] for row in own]) for n in names))
    return made


def _cell(name: str, values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    if name in ("normal", "both"):
        return f"{mean:.2f} ({min(values):.2f} to {max(values):.2f})"
    if name in ("epochs", "seconds"):
        return f"{mean:.0f}"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean:.3f}{spread}"


def _data() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return os.environ.get("NAS_DATA") or f"{cache}/nas-orchestrator"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many; default: %(default)s")
    parser.add_argument("--first", type=int, default=0, help="seed; default: %(default)s")
    parser.add_argument("--remedies", default=",".join(REMEDIES), help="default: %(default)s")
    parser.add_argument("--task", default="digits", help="default: %(default)s")
    parser.add_argument("--data", default=_data(), help="folder of data; default: %(default)s")
    parser.add_argument(
        "--rows",
        type=int,
        default=128,
        help="training rows, the first; 0: all; default: %(default)s",
    )
    parser.add_argument(
        "--search", action="append", default=[], metavar="NAME=NUMBER", help="instead of SETTING's"
    )
    parser.add_argument("--retrain", type=int, default=20, help="epochs; 0: not at all")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--log", type=Path, help="gets every row at once, a line of JSON each")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = TASKS.load(arguments.task).load(Path(arguments.data).expanduser())
    if arguments.rows:
        task = dataclasses.replace(task, train=task.train.rows(torch.arange(arguments.rows)))
    other = {name: json.loads(number) for name, number in (s.split("=") for s in arguments.search)}

    def tell(row: Mapping[str, Any]) -> None:
        if arguments.log:
            with arguments.log.open("a", encoding="utf-8") as file:
                print(json.dumps(row), file=file)

    rows = measure(
        task,
        {**SETTING, **other},
        arguments.remedies.split(","),
        range(arguments.first, arguments.first + arguments.seeds),
        arguments.retrain,
        tell,
    )
    if arguments.json:
        print(json.dumps(rows))
    else:
        Console().print(table(rows))


if __name__ == "__main__":
    main()
