"""Architecture parameters: what a search learns beside the weights, and the mixtures they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_space.mixture import INPUTS, Mixture, edges
from searchers._base import ArchitectureWeight
from searchers.penalties import Penalty
from searchers.relaxations import Relaxation

KINDS = ("normal", "reduce")

# Scale of the first edge parameters (yuhuixu1993/PC-DARTS, model_search.py).
_BETA_SCALE = 1e-3

# Keeps a division by zero, whose result is not used, from spoiling gradients.
_TINY = 1e-30


@dataclass(frozen=True)
class Draw:
    """One mixture for each kind of cell, cut off from the parameters it came from.

    Args:
        mixtures: made of ``leaves``, to be handed to a supernet.
        leaves: theta, tensors that require a gradient.
        values: the same numbers with the graph that leads to the parameters.
    """

    mixtures: dict[str, Mixture]
    leaves: list[Tensor]
    values: list[Tensor]

    def pull_back(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], term: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return the gradient by ``parameters`` of a loss whose gradient by theta is given.

        ``term`` is a scalar that is added to the loss.
        """
        outputs, given = list(self.values), list(gradients)
        if term is not None:
            outputs.append(term)
            given.append(torch.ones_like(term))
        return torch.autograd.grad(
            outputs, list(parameters), given, allow_unused=True, materialize_grads=True
        )


class Architecture(nn.Module):
    """Alpha ``[edges, operations]`` of each kind of cell and, for partial channels, beta.

    Args:
        operations: names of the operations of the space.
        nodes: number of nodes of a cell.
        relaxation: from alpha to weights.
        partial: whether edges have parameters of their own: beta, by a softmax over the edges into
            a node, is the factor of all that an edge brings (Xu et al. 2020, section 3.2).
        generator: of the first values, on the CPU.
        kept: for each kind the numbers ``[edges, kept]`` of the operations that are left; alpha
            has these columns only. None: all.

    ``masks`` ``[edges, kept]`` say which operations of an edge still take part; where some don't,
    the others share a weight of one in proportion to theirs.
    """

    def __init__(
        self,
        operations: Sequence[str],
        nodes: int,
        relaxation: Relaxation,
        *,
        partial: bool,
        generator: torch.Generator,
        kept: Mapping[str, Tensor] | None = None,
    ):
        super().__init__()
        self.operations, self.nodes, self.relaxation = tuple(operations), nodes, relaxation
        self.none = self.operations.index("none") if "none" in self.operations else None
        rows = len(edges(nodes))
        self.alpha, self.beta = nn.ParameterDict(), nn.ParameterDict()
        for kind in KINDS:
            columns = torch.arange(len(operations)).repeat(rows, 1) if kept is None else kept[kind]
            alpha = relaxation.initial(rows, columns.shape[1], generator)
            self.alpha[kind] = nn.Parameter(alpha)
            if partial:
                beta = _BETA_SCALE * torch.randn(rows, generator=generator)
                self.beta[kind] = nn.Parameter(beta)
            self.register_buffer(f"kept_{kind}", columns)
            self.register_buffer(f"mask_{kind}", torch.ones_like(columns, dtype=torch.bool))

    def kept(self, kind: str) -> Tensor:
        """Return the numbers ``[edges, kept]`` of the operations that alpha's columns stand for."""
        return self.get_buffer(f"kept_{kind}")

    def mask(self, kind: str) -> Tensor:
        """Return which of the kept operations ``[edges, kept]`` take part; change it in place."""
        return self.get_buffer(f"mask_{kind}")

    def draw(self, progress: float, generator: torch.Generator) -> Draw:
        """Draw the mixtures of a training step when ``progress`` of the search is done.

        Where gradients are disabled the leaves don't ask for any either.
        """
        mixtures, leaves, values = {}, [], []
        for kind in KINDS:
            shares = self._masked(kind, self.relaxation.draw(self.alpha[kind], progress, generator))
            weights, bypass = self._weighed(kind, shares)
            parts = [weights] if bypass is None else [weights, bypass]
            cut = [part.detach().requires_grad_(torch.is_grad_enabled()) for part in parts]
            active = self._active(kind, shares if self.relaxation.sampled else None)
            mixtures[kind] = Mixture(cut[0], cut[1] if bypass is not None else None, active)
            leaves += cut
            values += parts
        return Draw(mixtures, leaves, values)

    def expected(self) -> dict[str, Mixture]:
        """Return the mixtures to report and to choose by: no chance, no gradient."""
        with torch.no_grad():
            return self.composed()

    def standing(self) -> dict[str, Mixture]:
        """Return the mixtures to measure the supernet by: what a training step expects to see.

        Where a step draws a single operation of each edge, that is the likeliest one alone.
        """
        if not self.relaxation.sampled:
            return self.expected()
        with torch.no_grad():
            found = {}
            for kind in KINDS:
                shares = self._shares(kind)
                best = torch.zeros_like(shares).scatter(1, shares.argmax(1, keepdim=True), 1.0)
                best = best * self.mask(kind)
                weights, bypass = self._weighed(kind, best)
                found[kind] = Mixture(weights, bypass, self._active(kind, best))
            return found

    def composed(self) -> dict[str, Mixture]:
        """Return the expected mixtures with the graph that leads to the parameters."""
        found = {}
        for kind in KINDS:
            weights, bypass = self._weighed(kind, self._shares(kind))
            found[kind] = Mixture(weights, bypass, self._active(kind))
        return found

    def tables(self) -> dict[str, Tensor]:
        """Return the expected weights ``[edges, operations]`` of each kind."""
        return {kind: mixture.weights for kind, mixture in self.expected().items()}

    def penalty(self, penalty: Penalty, progress: float) -> Tensor:
        """Return a penalty's term, the mean over the kinds of cell, differentiable."""
        terms = [
            penalty(self.alpha[kind], self.relaxation.expected(self.alpha[kind]), progress)
            for kind in KINDS
        ]
        return torch.stack(terms).mean()

    def rows(self, epoch: int) -> list[ArchitectureWeight]:
        """Return the expected weights as they stand at the end of ``epoch``, for a report."""
        return [
            ArchitectureWeight(epoch, kind, f"{source}->{node + 2}", operation, weight)
            for kind, table in self.tables().items()
            for (node, source), weights in zip(edges(self.nodes), table.tolist(), strict=True)
            for operation, weight in zip(self.operations, weights, strict=True)
        ]

    @property
    def discrete(self) -> bool:
        """Whether nothing is left to choose: two operations a node, on different edges."""
        nodes = torch.tensor([node for node, _ in edges(self.nodes)])
        for kind in KINDS:
            left = self.mask(kind).sum(dim=1).cpu()
            inputs = left.new_zeros(self.nodes).index_add(0, nodes, left)
            if int(left.max()) > 1 or int(inputs.max()) > INPUTS:
                return False
        return True

    def strongest(self, keep: int) -> dict[str, Tensor]:
        """Return for each kind the numbers ``[edges, keep]`` of the operations that weigh most.

        At least one of each edge is not ``none``. In ascending order.
        """
        found = {}
        for kind, table in self.tables().items():
            kept = self.kept(kind)
            weights = table.gather(1, kept)
            if self.none is not None:
                real = weights.masked_fill(kept == self.none, -1.0)
                best = real.argmax(dim=1, keepdim=True)
                weights = weights.scatter(1, best, torch.inf)
            chosen = weights.sort(dim=1, descending=True, stable=True).indices[:, :keep]
            found[kind] = kept.gather(1, chosen).sort(dim=1).values.cpu()
        return found

    def _shares(self, kind: str) -> Tensor:
        return self._masked(kind, self.relaxation.expected(self.alpha[kind]))

    def _masked(self, kind: str, shares: Tensor) -> Tensor:
        mask = self.mask(kind)
        if bool(mask.all()):
            return shares
        left = shares * mask
        total = left.sum(dim=1, keepdim=True)
        # Where nothing that is left weighs anything, as with sparsemax, all weigh the same.
        even = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
        scaled = torch.where(total > 0, left / total.clamp(min=_TINY), even.to(left))
        return torch.where(mask.all(dim=1, keepdim=True), shares, scaled)

    def _weighed(self, kind: str, shares: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return weights ``[edges, operations]`` and, with edge parameters, the bypass."""
        bypass = None
        if kind in self.beta:
            nodes = self.beta[kind].split([node + 2 for node in range(self.nodes)])
            bypass = torch.cat([beta.softmax(dim=0) for beta in nodes])
            shares = bypass.unsqueeze(1) * shares
        if shares.shape[1] < len(self.operations):
            empty = shares.new_zeros(len(shares), len(self.operations))
            shares = empty.scatter(1, self.kept(kind), shares)
        return shares, bypass

    def _active(
        self, kind: str, single: Tensor | None = None
    ) -> tuple[tuple[int, ...], ...] | None:
        """Return the operations that are computed: those left or, of a one-hot draw, the one."""
        kept, mask = self.kept(kind), self.mask(kind)
        if single is not None:
            mask = mask & (single.detach() > 0)
        elif kept.shape[1] == len(self.operations) and bool(mask.all()):
            return None
        return tuple(
            tuple(sorted(row[chosen].tolist()))
            for row, chosen in zip(kept.cpu(), mask.cpu(), strict=True)
        )
