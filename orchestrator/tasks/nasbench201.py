"""NAS-Bench-201: the published accuracy of 15,625 trained networks, to be looked up in a table.

Dong, Yang: NAS-Bench-201, ICLR 2020; Dong, Liu, Musial, Gabrys: NATS-Bench (its topology space),
IEEE TPAMI 2021. No network is trained on this task: candidates and what a search finds are looked
up. docs/nasbench201.md says where to get the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from torch import Tensor
from torch.nn import functional

from orchestrator.tasks._parameters import task_name
from orchestrator.tasks._tables import read_table
from search_space.metric import Metric
from search_space.task import DataError, Output, Task

SOURCE = "https://github.com/D-X-Y/NATS-Bench, as docs/nasbench201.md says,"


def load(
    root: Path,
    *,
    file: str = "nasbench201/nasbench201_cifar10.csv",
    architecture: str = "arch_str",
    report: str = "cifar10_test_ep200",
    also: str = "",
    classes: int = 10,
    pixels: int = 32,
) -> Task:
    """Load a table from under ``root``. Raises DataError.

    Args:
        root: of the data sets.
        file: the CSV file, below ``root``.
        architecture: its column with the text form of each architecture.
        report: its column that results are compared by, in per cent; searches don't see it.
        also: further columns to report, with commas between them; searches don't see them.
        classes, pixels: of the images that the networks were trained on; they decide parameters
            and multiply-adds.
    """
    if classes < 2 or pixels < 4:
        raise DataError(f"classes is {classes} and pixels {pixels}; at least 2 and 4 are needed")
    reported = [report, *(name.strip() for name in also.split(",") if name.strip())]
    table = read_table(root / file, architecture, reported, SOURCE)
    metric = Metric(report, True, _no_network, "%")
    output = Output(classes, False, functional.cross_entropy, metric)
    given = {"file": file, "architecture": architecture, "report": report, "also": also}
    name = task_name(load, **given, classes=classes, pixels=pixels)
    return Task.tabulated(name, (3, pixels, pixels), output, table)


def _no_network(outputs: Tensor, targets: Tensor) -> NoReturn:
    raise DataError("nasbench201 is a table of results; nothing can be trained on it")
