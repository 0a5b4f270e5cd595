"""Passes over data that can stop after any batch and go on later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from search_space.task import DataError, Split, Task

# Examples in a batch of an evaluation, which keeps no activations for a backward pass.
EVALUATION_BATCH = 256


class Pass:
    """Batches of ``rows`` in an order drawn anew for each pass, from an explicit generator.

    All batches of a pass differ by at most one in size, so that none is too small for batch norm.

    Args:
        rows: indices of the examples.
        batch_size: at least this many rows in a batch, where there are so many.
        generator: of the order.
    """

    def __init__(self, rows: Tensor, batch_size: int, generator: torch.Generator):
        self.rows = rows
        self.length = max(1, len(rows) // batch_size)
        self.generator = generator
        self.restart()

    @property
    def finished(self) -> bool:
        """Whether every row has been handed out."""
        return self.position == self.length

    def restart(self) -> None:
        """Begin a new pass with a new order."""
        self.order = self.rows[torch.randperm(len(self.rows), generator=self.generator)]
        self.position = 0

    def next(self) -> Tensor:
        """Return the rows of the next batch."""
        self.position += 1
        return self.order.tensor_split(self.length)[self.position - 1]

    def rows_of(self, batches: int) -> int:
        """Return how many rows are in the first ``batches``, over as many passes as they take."""
        passes, rest = divmod(batches, self.length)
        size, longer = divmod(len(self.rows), self.length)
        return passes * len(self.rows) + rest * size + min(rest, longer)

    def state_dict(self) -> dict[str, Any]:
        """Return order and position; the generator is the owner's."""
        return {"order": self.order, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to what :meth:`state_dict` returned."""
        self.order, self.position = state["order"], state["position"]


def halves(task: Task, portion: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw which training examples are for the weights, a ``portion``, and which for the rest.

    Raises:
        DataError: a half would be empty.
    """
    rows = torch.randperm(len(task.train), generator=generator)
    cut = int(portion * len(rows))
    if not 0 < cut < len(rows):
        raise DataError(
            f"{task.name}: train_portion {portion} of {len(rows)} training examples leaves {cut} "
            f"for the weights and {len(rows) - cut} for the architecture; each needs one at least"
        )
    return rows[:cut], rows[cut:]


class Evaluation:
    """The outputs of a network on a whole split, gathered batch by batch."""

    def __init__(self, task: Task, split: Split):
        self.task, self.split = task, split
        self.outputs: list[Tensor] = []

    @property
    def finished(self) -> bool:
        """Whether every example has gone through the network."""
        return len(self.outputs) * EVALUATION_BATCH >= len(self.split)

    @property
    def share(self) -> float:
        """Share of the examples that have gone through the network."""
        return min(1.0, len(self.outputs) * EVALUATION_BATCH / len(self.split))

    @property
    def next_rows(self) -> int:
        """How many examples the next batch has."""
        return len(self._rows(len(self.outputs)))

    def restart(self) -> None:
        """Forget the outputs."""
        self.outputs = []

    def advance(
        self, network: nn.Module, forward: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """Put the next batch through ``network`` in evaluation mode, or through ``forward``.

        ``forward`` is some other way to call the network.
        """
        network.eval()
        inputs, _ = self.task.batch(self.split, self._rows(len(self.outputs)))
        with torch.no_grad():
            self.outputs.append((forward or network)(inputs).cpu())
        network.train()

    def results(self) -> tuple[float, float]:
        """Return the metric and the mean loss over the whole split."""
        found = self.measured()
        return found[self.task.metric.name], found["loss"]

    def measured(self) -> dict[str, float]:
        """Return by name all that is measured over the whole split: the loss and every metric.

        The task's own metric comes last: what people watch is the latest number.
        """
        outputs, targets = torch.cat(self.outputs), self.task.targets(self.split).cpu()
        loss = float(self.task.loss(outputs, targets))
        return {"loss": loss, **self.task.measure(outputs, targets)}

    def state_dict(self) -> dict[str, Any]:
        """Return the outputs gathered so far."""
        return {"outputs": list(self.outputs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to what :meth:`state_dict` returned."""
        self.outputs = list(state["outputs"])

    def _rows(self, number: int) -> Tensor:
        start = number * EVALUATION_BATCH
        end = min(start + EVALUATION_BATCH, len(self.split))
        return torch.arange(start, end, device=self.split.inputs.device)
