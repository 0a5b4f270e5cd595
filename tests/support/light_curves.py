"""Light curves like those of PLAsTiCC, made up, and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from orchestrator.tasks.plasticc import CLASSES

Tables = tuple[pd.DataFrame, pd.DataFrame]


def light_curves() -> Tables:
    """Return light curves and metadata of 7 objects a class (53: 3), and more metadata."""
    rng = np.random.default_rng(0)
    targets = np.array([c for c in CLASSES for _ in range(3 if c == 53 else 7)])
    n = len(targets)
    numbers = np.sort(rng.choice(10_000, n + 5, replace=False)) + 10
    ours = np.isin(targets, (6, 16, 53, 65, 92))
    metadata = pd.DataFrame(
        {
            "object_id": numbers[:n],
            "ra": rng.uniform(0, 360, n),
            "decl": rng.uniform(-60, 0, n),
            "gal_l": rng.uniform(0, 360, n),
            "gal_b": rng.uniform(-80, 80, n),
            "ddf": rng.integers(0, 2, n),
            "hostgal_specz": np.where(ours, 0, rng.uniform(0.1, 2, n).round(4)),
            "hostgal_photoz": np.where(ours, 0, rng.uniform(0.1, 2, n).round(4)),
            "hostgal_photoz_err": np.where(ours, 0, rng.uniform(0.1, 1, n).round(4)),
            "distmod": np.where(ours, np.nan, rng.uniform(35, 45, n).round(4)),
            "mwebv": rng.uniform(0, 1, n).round(3),
            "target": targets,
        }
    )
    rows = 30 * n
    curves = pd.DataFrame(
        {
            "object_id": np.repeat(metadata["object_id"].to_numpy(), 30),
            "mjd": 59_580 + rng.uniform(0, 1095, rows).round(4),
            "passband": rng.integers(0, 6, rows),
            "flux": rng.normal(0, 100, rows).round(6),
            "flux_err": rng.uniform(1, 20, rows).round(6),
            "detected": rng.integers(0, 2, rows),
        }
    )
    more = metadata.tail(5).assign(object_id=numbers[n:])
    return curves, pd.concat([metadata, more], ignore_index=True)


def write(root: Path, tables: Tables, **options: object) -> Path:
    """Write files as Kaggle has them, and return ``root``."""
    folder = root / "plasticc"
    folder.mkdir(parents=True, exist_ok=True)
    names = ("training_set.csv", "training_set_metadata.csv")
    for name, table in zip(names, tables, strict=True):
        table.to_csv(folder / name, index=False, na_rep="nan", **options)
    return root
