"""What ENAS finds against random architectures of the same space, all retrained alike.

    python tests/benchmarks/enas.py --task digits --space '{"name": "enas_macro", "layers": 6}'

Prints the controller's curve, then what was found and each random architecture with its test
metric, then both means. It runs for minutes, on one thread; ``--help`` has the sizes.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from orchestrator.tasks import TASKS
from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.task import Task
from searchers import METHODS, Program
from searchers._base import STEP_SECONDS
from searchers._training import Training, TrainingParams

CPU = torch.device("cpu")


def entry(text: str) -> tuple[str, dict[str, Any]]:
    """Read a name, or a mapping with a ``name`` and parameters."""
    given = json.loads(text) if text.startswith("{") else {"name": text}
    return given.pop("name"), given


def run(program: Program) -> None:
    """Run a search to its end and print what it measures after each epoch."""
    begun = time.monotonic()
    while not program.done:
        found = {f"{m.split} {m.name}": m.value for m in program.step().measurements}
        if found:
            line = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
            print(f"{time.monotonic() - begun:6.0f} s  {line}", flush=True)


def retrained(
    space: SearchSpace,
    genotype: Genotype,
    task: Task,
    params: TrainingParams,
    size: dict[str, int],
    seeds: int,
) -> tuple[float, float]:
    """Return the mean validation and test metric of trainings from scratch."""
    valid, test = [], []
    for seed in range(seeds):
        program = Training(
            lambda: space.build(genotype, task, **size), task, params, seed=seed, device=CPU
        )
        while not program.done:
            program.step()
        outcome = program.outcome()
        assert outcome.test is not None
        valid.append(outcome.score)
        test.append(outcome.test)
    return statistics.mean(valid), statistics.mean(test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--task", default="digits", help="a name, or JSON with its parameters")
    parser.add_argument("--space", default="enas_micro", help="likewise")
    parser.add_argument("--method", default="enas", help="likewise")
    parser.add_argument("--random", type=int, default=8, help="how many to compare with")
    parser.add_argument("--epochs", type=int, default=10, help="of each retraining")
    parser.add_argument("--channels", type=int, default=8, help="of each retraining")
    parser.add_argument("--layers", type=int, default=5, help="of each retraining")
    parser.add_argument("--repeats", type=int, default=1, help="of each retraining, by seed")
    parser.add_argument("--seed", type=int, default=0, help="of the search and the random ones")
    given = parser.parse_args()
    torch.set_num_threads(1)
    STEP_SECONDS.set(60.0)
    name, params = entry(given.task)
    task = TASKS.load(name).load(given.data, **params)
    name, params = entry(given.space)
    space = SPACES.load(name)(**params)
    name, params = entry(given.method)
    cls = METHODS.load(name)
    search = cls(space, task.without_test(), cls.Params(**params), seed=given.seed, device=CPU)
    run(search)
    found = search.outcome().genotype
    assert found is not None
    rng = random.Random(given.seed)
    size = {"channels": given.channels, "layers": given.layers}
    training = TrainingParams(epochs=given.epochs, auxiliary=0.0)
    tests = []
    for number in range(given.random + 1):
        genotype = space.sample(rng) if number else found
        valid, test = retrained(space, genotype, task, training, size, given.repeats)
        tests.append(test)
        who = f"random {number}" if number else "found"
        print(f"{who:10} valid {valid:.4f}  test {test:.4f}  {genotype.to_json()}", flush=True)
    mean, deviation = statistics.mean(tests[1:]), statistics.stdev(tests[1:])
    better = sum(tests[0] > test for test in tests[1:])
    print(
        f"found {tests[0]:.4f}; random {mean:.4f} +- {deviation:.4f}; better than {better} of them"
    )


if __name__ == "__main__":
    main()
