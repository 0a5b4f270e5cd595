"""An ensemble of small networks that predicts scores from decisions, and how much it knows.

White, Neiswanger, Savani: BANANAS, AAAI 2021: five fully connected networks that differ in their
first weights, trained by Adam for 200 epochs at a learning rate of 0.01. Lakshminarayanan, Pritzel,
Blundell: Deep Ensembles, NeurIPS 2017: the spread of their predictions as a measure of what is not
known. The paper's networks have 10 layers of 20 units; two layers of 64 are trained faster and
order unseen candidates no worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pydantic
import torch
from torch import Tensor

from searchers._base import StrictParams

Decisions = tuple[int, ...]


class EnsembleParams(StrictParams):
    """How large the ensemble of a method is, and how it is trained."""

    members: int = pydantic.Field(5, ge=2, description="networks of the ensemble")
    layers: int = pydantic.Field(2, ge=1, description="hidden ones of a network")
    width: int = pydantic.Field(64, ge=1, description="units of a hidden layer")
    epochs: int = pydantic.Field(200, ge=1, description="training of the ensemble")
    learning_rate: float = pydantic.Field(0.01, gt=0.0, description="of the ensemble")

    def ensemble(self, *, leave_out: bool = False) -> Ensemble:
        """Return the ensemble; see there for ``leave_out``."""
        own = self.model_dump(include=set(EnsembleParams.model_fields))
        return Ensemble(**own, leave_out=leave_out)


@dataclass(frozen=True)
class Ensemble:
    """How the networks are built and trained; they are trained anew for each prediction.

    All are trained side by side on all examples at once, which takes about a tenth of a second.

    Args:
        members: number of networks.
        layers, width: of each, hidden ones.
        epochs: steps of Adam on all examples.
        learning_rate: of Adam.
        leave_out: each member is trained without its own share of the examples, one in as many as
            there are members (PNAS: five members on four fifths), instead of on all.
    """

    members: int = 5
    layers: int = 2
    width: int = 64
    epochs: int = 200
    learning_rate: float = 0.01
    leave_out: bool = False

    def predict(
        self,
        known: Sequence[Decisions],
        targets: Sequence[float],
        unknown: Sequence[Decisions],
        generator: torch.Generator,
    ) -> Tensor:
        """Train on ``known`` and return what each member predicts of ``unknown``, [members, n].

        Args:
            known: complete decision sequences, at least one.
            targets: their scores, of the order of 1 around 0.
            unknown: complete decision sequences.
            generator: of the first weights, and of what is left out.
        """
        inputs = one_hot([*known, *unknown])
        examples, wanted = inputs[: len(known)], torch.tensor(targets, dtype=torch.float32)
        weights, biases = self._draw(inputs.shape[1], generator)
        shares = self._shares(len(known), generator)
        # Fused: a step is so small that most of its time would go to launching its parts.
        adam = torch.optim.Adam([*weights, *biases], lr=self.learning_rate, fused=True)
        for _ in range(self.epochs):
            errors = (self._outputs(examples, weights, biases) - wanted) ** 2
            adam.zero_grad()
            (errors * shares).sum().backward()
            adam.step()
        with torch.no_grad():
            return self._outputs(inputs[len(known) :], weights, biases)

    def _draw(self, features: int, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """Draw weights as He et al. (ICCV 2015) do for rectified units; biases are 0."""
        sizes = [features, *[self.width] * self.layers, 1]
        weights, biases = [], []
        for fan_in, fan_out in pairwise(sizes):
            bound = math.sqrt(6 / max(fan_in, 1))
            weight = torch.empty(self.members, fan_in, fan_out)
            weights.append(weight.uniform_(-bound, bound, generator=generator).requires_grad_())
            biases.append(torch.zeros(self.members, 1, fan_out, requires_grad=True))
        return weights, biases

    def _shares(self, n: int, generator: torch.Generator) -> Tensor:
        """Return the weight of each example in each member's mean, [members, n]."""
        shares = torch.ones(self.members, n)
        if self.leave_out and n > 1:
            order = torch.randperm(n, generator=generator)
            for member in range(self.members):
                shares[member, order[member :: self.members]] = 0.0
        # With one member, or with fewer examples than members, nothing may be left to train on.
        shares[shares.sum(1) == 0] = 1.0
        return shares / shares.sum(1, keepdim=True)

    def _outputs(self, inputs: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
        hidden = inputs.expand(self.members, -1, -1)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            hidden = torch.baddbmm(bias, hidden, weight).relu()
        return torch.baddbmm(biases[-1], hidden, weights[-1])[..., 0]


def one_hot(sequences: Sequence[Decisions]) -> Tensor:
    """Return a column for each place and option that occurs, 1 where it was chosen, [n, columns].

    A decision that a sequence does not have is 0 in all columns of its place.
    """
    chosen = sorted({part for sequence in sequences for part in enumerate(sequence)})
    column = {part: i for i, part in enumerate(chosen)}
    table = torch.zeros(len(sequences), len(chosen))
    for row, sequence in enumerate(sequences):
        table[row, [column[part] for part in enumerate(sequence)]] = 1.0
    return table
