"""Prune: the weakest operations go one by one while training goes on, until a network is left.

In the manner of ASAP (Noy et al.: Architecture Search, Anneal and Prune, AISTATS 2020), without its
annealing, which is the relaxation's part: in the last epochs operations are dropped by weight, the
architecture learns on, and those that stay share the weight of an edge. What remains when all is
dropped is the discrete network with weights trained for it; its validation metric is the score.

Deviations from ASAP: how many operations are left is a line in time, not a threshold on weights;
``none`` goes first; and once the network is discrete its weights train on both halves.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic
import torch
from torch import Tensor

from search_space.mixture import INPUTS, edges
from searchers._architecture import KINDS, Architecture
from searchers._base import StrictParams
from searchers.selections._base import Selection


class Prune(Selection):
    """Drops operations in a line over its epochs, and trains what is left in the last of them."""

    class Params(StrictParams):
        """When it begins and how long the discrete network trains; no paper gives these."""

        share: float = pydantic.Field(0.8, gt=0, lt=1, description="of the epochs")
        tuning: float = pydantic.Field(0.8, ge=0, lt=1, description="of these when all is dropped")

    mixed: ClassVar[bool] = True
    whole: ClassVar[bool] = True

    def epochs(self, total: int) -> int:
        return min(total - 1, max(1, round(self.params.share * total)))

    def settled(self, total: int) -> int:
        own = self.epochs(total)
        return sum(self._dropped(epoch / own) == 1 for epoch in range(1, own + 1))

    def before_epoch(self, architecture: Architecture, share: float) -> None:
        for kind in KINDS:
            shrink(architecture, kind, self._dropped(share))

    def _dropped(self, share: float) -> float:
        """Return the share of all that has to go that is gone in one of its own epochs."""
        return min(1.0, share / (1 - self.params.tuning))


def shrink(architecture: Architecture, kind: str, dropped: float) -> None:
    """Drop the weakest operations of a kind of cell, in place.

    Args:
        architecture: whose masks change.
        kind: of cell.
        dropped: share of all that has to go that is gone after this call; at 0 that is ``none``.
    """
    kept, mask = architecture.kept(kind), architecture.mask(kind)
    if architecture.none is not None:
        mask &= kept != architecture.none
    with torch.no_grad():
        # As they were before others were dropped: of the last one of an edge nothing is hidden.
        weights = architecture.relaxation.expected(architecture.alpha[kind])
    least = INPUTS * architecture.nodes
    whole = kept.numel() if architecture.none is None else int((kept != architecture.none).sum())
    left = round(whole - dropped * (whole - least))
    # Of equal weights the later goes first, as in deriving.
    order = weights.flatten().flip(0).sort(stable=True).indices.tolist()
    owners = [node for node, _ in edges(architecture.nodes)]
    for place in order:
        if int(mask.sum()) <= left:
            return
        row, column = divmod(mask.numel() - 1 - place, mask.shape[1])
        if mask[row, column] and _spare(mask, owners, row):
            mask[row, column] = False


def _spare(mask: Tensor, owners: list[int], row: int) -> bool:
    """Whether an operation of the edge ``row`` may go: not the last, or there are edges enough."""
    if int(mask[row].sum()) > 1:
        return True
    of_node = [i for i, owner in enumerate(owners) if owner == owners[row]]
    return int(mask[of_node].any(dim=1).sum()) > INPUTS
