"""Growing cells: a supernet of which only what has been chosen so far takes part.

Hu, Langford, Caruana, Mukherjee, Horvitz, Dey: Efficient Forward Architecture Search, NeurIPS 2019,
section 3: candidates for the next node see earlier states through a stop-gradient and are seen
through a stop-forward, so that they learn what would lower the loss while the network trains as if
they weren't there.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from search_space.mixture import Mixture, edges
from search_space.supernet import MixedCell, TextbookSupernet, go_round

Choices = tuple[tuple[int, int], ...]
"""The edges of a node as rows and columns of a mixture's table."""


def stop_forward(x: Tensor) -> Tensor:
    """Return zeros through which gradients flow as if they were ``x``."""
    return x - x.detach()


class GrowingNetwork(nn.Module):
    """The cells of a supernet whose nodes are chosen one after another.

    A node that has not been chosen yet is the newer input of its cell, halved by a max pool in
    reduction cells. In training mode the next node has every operation on every earlier state as a
    candidate, times its ``alpha``, which changes no output; in evaluation mode it has none.

    Args:
        supernet: its operations end in batch norms without an affine part, so that alphas compare.
    """

    def __init__(self, supernet: TextbookSupernet):
        super().__init__()
        self.supernet = supernet
        self.rows: list[list[int]] = [[] for _ in range(supernet.nodes)]  # of a table, by node
        for row, (node, _) in enumerate(edges(supernet.nodes)):
            self.rows[node].append(row)
        shape = (sum(map(len, self.rows)), len(supernet.operations))
        self.alpha = nn.ParameterDict(
            {kind: torch.zeros(shape) for kind in dict.fromkeys(supernet.kinds)}
        )
        self.chosen: dict[str, list[Choices]] = {kind: [] for kind in self.alpha}

    @property
    def size(self) -> int:
        """Number of nodes that have been chosen."""
        return min(map(len, self.chosen.values()))

    @property
    def complete(self) -> bool:
        """Whether all nodes have been chosen."""
        return self.size == self.supernet.nodes

    def grow(self, choices: Mapping[str, Choices]) -> None:
        """Make the next node of each kind of cell part of the network."""
        for kind, chosen in self.chosen.items():
            chosen.append(choices[kind])

    def mixtures(self, candidates: bool) -> dict[str, Mixture]:
        """Return what is computed, with the candidates or without."""
        found = {}
        for kind, table in self.alpha.items():
            active: list[list[int]] = [[] for _ in table]
            for row, column in (choice for node in self.chosen[kind] for choice in node):
                active[row].append(column)
            if candidates and not self.complete:
                for row in self.rows[self.size]:
                    active[row] = list(range(table.shape[1]))
            found[kind] = Mixture.only(active, table.detach())
        return found

    def forward(self, x: Tensor) -> Tensor:
        before = last = self.supernet.stem(x)
        for kind, cell in zip(self.supernet.kinds, self.supernet.cells, strict=True):
            assert isinstance(cell, MixedCell)
            before, last = last, self._cell(kind, cell, before, last)
        return self.supernet.head(last)

    def _cell(self, kind: str, cell: MixedCell, before: Tensor, last: Tensor) -> Tensor:
        states = [cell.first(before), cell.second(last)]
        absent = go_round(states[1], max(cell.strides))
        for node, rows in enumerate(self.rows):
            if node < self.size:
                paths = [
                    self._operation(cell, row, column, states[row - rows[0]])
                    for row, column in self.chosen[kind][node]
                ]
                states.append(functools.reduce(torch.add, paths))
            elif node == self.size and self.training:
                states.append(absent + stop_forward(self._candidates(kind, cell, rows, states)))
            else:
                states.append(absent)
        return torch.cat(states[2:], dim=1)

    def _candidates(
        self, kind: str, cell: MixedCell, rows: Sequence[int], states: Sequence[Tensor]
    ) -> Tensor:
        terms = [
            self.alpha[kind][row, column]
            * self._operation(cell, row, column, states[row - rows[0]].detach())
            for row in rows
            for column in range(len(self.supernet.operations))
        ]
        return functools.reduce(torch.add, terms)

    def _operation(self, cell: MixedCell, row: int, column: int, state: Tensor) -> Tensor:
        mixed = cell.edges[row]
        operations = mixed.get_submodule("operations")
        assert isinstance(operations, nn.ModuleList)
        return operations[column](state)
