"""A made-up table of results of a tiny space, and plans that search it."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd

from search_space.spaces import SPACES
from search_space.spaces.nasbench201 import NasBench201
from searchers.grid import sequences

SPACE: NasBench201 = SPACES.load("nasbench201")(
    nodes=3, operations=("none", "skip_connect", "nor_conv_1x1")
)

PLAN = """\
name: looked_up
task: {name: nasbench201, report: test, also: late, pixels: 8}
arms:
  random: &arm
    method: random_search
    space: {name: nasbench201, nodes: 3, operations: [none, skip_connect, nor_conv_1x1]}
    estimator: {name: table, column: valid, channels: 2, layers: 3}
    budget: {samples: 8}
    seeds: 0-3
  evolution: {<<: *arm, method: regularized_evolution, params: {population: 3, sample: 2}}
  grid: {<<: *arm, method: grid, budget: {samples: 100}}
evaluate: {channels: 2, layers: 3}
"""


def rows() -> pd.DataFrame:
    """Return the table: 27 architectures with accuracies that their text decides."""
    texts = [SPACE.text(SPACE.decode(decisions)) for decisions in sequences(SPACE)]
    draws = [random.Random(text) for text in texts]
    columns = {name: [d.uniform(50, 95) for d in draws] for name in ("valid", "test", "late")}
    return pd.DataFrame({"arch_str": texts, **columns})


def write_table(root: Path) -> Path:
    """Write the table where the task looks for it; return the root of the data."""
    (root / "nasbench201").mkdir(parents=True, exist_ok=True)
    rows().to_csv(root / "nasbench201" / "nasbench201_cifar10.csv", index=False)
    return root
