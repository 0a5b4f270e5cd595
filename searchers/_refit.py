"""Statistics of batch norms, fitted anew to one architecture with shared weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from search_space.genotype import Genotype
from search_space.shared import SharedWeights
from search_space.task import Task


class Refit:
    """Puts training batches through one architecture, so that statistics are those of its own.

    Guo et al.: Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020,
    section 3.4; Bender et al., ICML 2018, section 3.3. Running statistics of shared weights are
    those of all paths that were trained lately, and good architectures look broken by them. They
    become the mean over these batches. They are the same batches, augmented alike, for all
    architectures, so that scores differ by the architectures only.

    Training takes no notice of running statistics, so they are left as they are afterwards.

    Args:
        network: with the shared weights.
        task: what is fitted.
        rows: examples, in a random order, that the weights are trained on.
        batch_size: as in the training.
        count: number of batches, at most.
        seed: of the augmentation.
    """

    def __init__(
        self,
        network: SharedWeights,
        task: Task,
        rows: Tensor,
        batch_size: int,
        count: int,
        seed: int,
    ):
        self.network, self.task, self.seed = network, task, seed
        count = max(1, min(count, len(rows) // batch_size))
        self.batches = rows[: count * batch_size].tensor_split(count)
        self.norms: list[Any] = [m for m in network.modules() if hasattr(m, "running_mean")]
        self.generator = torch.Generator()
        self.restart()

    @property
    def finished(self) -> bool:
        """Whether the statistics are those of the architecture."""
        return self.position == len(self.batches)

    @property
    def share(self) -> float:
        """Share of the batches that are done."""
        return self.position / len(self.batches)

    def restart(self) -> None:
        """Begin with the next architecture."""
        self.position = 0
        self.generator.manual_seed(self.seed)

    def advance(self, genotype: Genotype) -> None:
        """Put the next batch through the network of ``genotype``."""
        rows = self.batches[self.position].to(self.task.train.inputs.device)
        inputs, _ = self.task.batch(self.task.train, rows, self.generator)
        self.position += 1
        before = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 1 / self.position  # the running mean of all batches so far
        with torch.no_grad():
            self.network(inputs, genotype)
        for norm, momentum in zip(self.norms, before, strict=True):
            norm.momentum = momentum

    def state_dict(self) -> dict[str, Any]:
        """Return the position; the statistics are in the network's state."""
        return {"position": self.position, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to what :meth:`state_dict` returned."""
        self.position = state["position"]
        self.generator.set_state(state["generator"].cpu())
