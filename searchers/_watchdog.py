"""The collapse watchdog: signs, epoch by epoch, that a search drifts to where deriving hurts.

A known failure of DARTS: skip connections win although the derived network is bad (Zela et al.
2020), while the supernet's metric says nothing of it. So every epoch derives the present cells and
measures the network they make, with the supernet's weights.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from search_space.genotype import Cell
from search_space.metric import Metric
from search_space.mixture import Mixture, Mixtures, of_cell
from search_space.task import Task
from searchers._passes import Evaluation

Row = tuple[str, str, float]

# Of the reports' rows. Not "valid": it is the architecture that they tell of.
SPLIT = "architecture"

SKIP = "skip_connect"

# Batches that statistics are measured on anew.
BATCHES = 16

# Of every batch norm in search_space: the weight of a batch in running statistics.
MOMENTUM = 0.1
STATISTICS = ("running_mean", "running_var")


def signs(cells: Mapping[str, Cell], tables: Mapping[str, Tensor]) -> list[Row]:
    """Describe derived ``cells`` and the weights ``[edges, operations]`` they are derived from.

    ``skip_share``, also of each kind of cell: of the edges of the derived cells. ``entropy``: mean
    over edges, 0 where one operation has all the weight and 1 where all have the same.
    ``distance_from_uniform``: mean over edges of half the sum of absolute differences, from 0 to
    1 - 1/operations. Both of weights divided by their sum on an edge.
    """
    skips = {
        kind: [edge.operation == SKIP for node in cell.nodes for edge in node]
        for kind, cell in cells.items()
    }
    every = [skip for row in skips.values() for skip in row]
    shares = torch.cat([_normalised(table) for table in tables.values()])
    count = shares.shape[1]
    entropy = torch.special.entr(shares).sum(dim=1).mean() / math.log(max(count, 2))
    distance = (shares - 1 / count).abs().sum(dim=1).mean() / 2
    return [
        (SPLIT, "skip_share", sum(every) / len(every)),
        *((SPLIT, f"skip_share_{kind}", sum(row) / len(row)) for kind, row in skips.items()),
        (SPLIT, "entropy", float(entropy)),
        (SPLIT, "distance_from_uniform", float(distance)),
    ]


def _normalised(table: Tensor) -> Tensor:
    """Divide rows by their sums; those without any weight are left out."""
    table = table.detach().cpu().double()
    sums = table.sum(dim=1, keepdim=True)
    kept = sums.squeeze(1) != 0
    return (table / sums)[kept]


def gap(metric: Metric, supernet: float, derived: float) -> float:
    """Return what is lost by keeping the derived network only: positive where it is worse."""
    return supernet - derived if metric.higher_is_better else derived - supernet


def discrete(
    operations: Sequence[str], cells: Mapping[str, Cell], device: torch.device
) -> dict[str, Mixture]:
    """Return the mixtures that compute derived cells, each chosen operation with weight one.

    Where channels go round the operations, they do so on the chosen edges only.
    """
    found = {}
    for kind, cell in cells.items():
        mixture = of_cell(operations, cell)
        weights = mixture.weights.to(device)
        found[kind] = dataclasses.replace(mixture, weights=weights, bypass=weights.sum(dim=1))
    return found


class Inherited:
    """The metric of a derived network with the supernet's weights, on the validation split.

    The running statistics of the supernet are those of mixtures: a state that sums two edges at
    weight one is on another scale than one that sums five at an eighth. Judged by them a good
    derived network looks broken, and the gap would tell of statistics only. So they are measured
    anew, on some training batches, as the mean over batches; the network keeps its own.

    Args:
        task: what is fitted.
        rows: training examples, in a random order, that the weights are trained on.
        batch_size: as in the training, whose batches the statistics are of.
        seed: of the augmentation.
    """

    def __init__(self, task: Task, rows: Tensor, batch_size: int, seed: int):
        self.task, self.seed = task, seed
        count = max(1, min(BATCHES, len(rows) // batch_size))
        self.batches = rows[: count * batch_size].tensor_split(count)
        self.generator = torch.Generator()
        self.valid = Evaluation(task, task.valid)
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.position = 0
        self.statistics: dict[str, Tensor] = {}
        self.generator.manual_seed(self.seed)
        self.valid.restart()

    @property
    def finished(self) -> bool:
        """Whether the metric is known."""
        return self.valid.finished

    @property
    def share(self) -> float:
        """Share of the work that is done, about."""
        return 0.5 * (self.position / len(self.batches) + self.valid.share)

    @property
    def next_rows(self) -> int:
        """How many examples go through the network in the next :meth:`advance`."""
        if self.position < len(self.batches):
            return len(self.batches[self.position])
        return self.valid.next_rows

    def advance(self, network: nn.Module, mixtures: Mixtures) -> None:
        """Put the next batch through the part of ``network`` that ``mixtures`` compute."""
        if self.position < len(self.batches):
            self._learn(network, mixtures, self.batches[self.position])
            self.position += 1
            return

        def forward(inputs: Tensor) -> Tensor:
            return functional_call(network, self.statistics, (inputs, mixtures))

        self.valid.advance(network, forward)

    def results(self) -> tuple[float, float]:
        """Return the metric and the mean loss over the validation split."""
        return self.valid.results()

    def _learn(self, network: nn.Module, mixtures: Mixtures, rows: Tensor) -> None:
        device = self.task.train.inputs.device
        inputs, _ = self.task.batch(self.task.train, rows.to(device), self.generator)
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        fresh = {name: buffer for name, buffer in buffers.items() if name.endswith(STATISTICS)}
        for buffer in fresh.values():
            buffer.zero_()
        with torch.no_grad():
            functional_call(network, buffers, (inputs, mixtures))
        # From zero, a running value is the batch's times its weight.
        for name, buffer in fresh.items():
            mean = self.statistics.get(name, torch.zeros_like(buffer))
            self.statistics[name] = mean + (buffer / MOMENTUM - mean) / (self.position + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the pass depends on but network and mixtures."""
        return {
            "position": self.position,
            "statistics": dict(self.statistics),
            "generator": self.generator.get_state(),
            "valid": self.valid.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to what :meth:`state_dict` returned."""
        device = self.task.train.inputs.device
        self.position = state["position"]
        self.statistics = {k: v.to(device) for k, v in state["statistics"].items()}
        self.generator.set_state(state["generator"].cpu())
        self.valid.load_state_dict(state["valid"])
