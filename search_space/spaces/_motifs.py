"""Motifs: small graphs with an operation, or none, on the edge between any two nodes.

Liu, Simonyan, Vinyals, Fernando, Kavukcuoglu: Hierarchical Representations for Efficient
Architecture Search, ICLR 2018, section 2: node 0 is the input and the last one the output; a node
concatenates what the operations on its incoming edges make of the nodes before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

Place = tuple[int, int]  # (source, target)
Edges = Mapping[Place, Any]


def places(nodes: int) -> list[Place]:
    """Return the edges of a motif in the order in which their operations are listed."""
    return [(source, target) for target in range(1, nodes) for source in range(target)]


def live(operations: Sequence[Any], nodes: int, none: Any) -> dict[Place, Any]:
    """Return the edges that hold an operation and lie on a way from the input to the output.

    A node that nothing leads to holds nothing, as if the edges that leave it held no operation.
    """
    edges = dict(zip(places(nodes), operations, strict=True))
    return _connected({place: held for place, held in edges.items() if held != none}, nodes)


def normal_form(operations: Sequence[Any], nodes: int, none: Any, identity: Any) -> tuple[Any, ...]:
    """Return the operations of the representative of all motifs that compute the same.

    Edges that lead nowhere hold none; what takes a node through an identity takes the node itself
    as far as no second edge between the two would be needed; and of all numberings of the nodes
    between input and output the one with the least list of operations is taken.

    Args:
        operations: in the order of :func:`places`; can be compared with each other.
        nodes: number of nodes with input and output.
        none, identity: the operations that mean this; no operation need be the identity.
    """
    edges = live(operations, nodes, none)
    edges = _connected(_direct(edges, nodes, identity), nodes)
    forms = []
    for middle in permutations(range(1, nodes - 1)):
        at = (0, *middle, nodes - 1) if nodes > 1 else (0,)
        moved = {(at[s], at[t]): held for (s, t), held in edges.items()}
        if all(source < target for source, target in moved):
            forms.append(tuple(moved.get(place, none) for place in places(nodes)))
    return min(forms)


class MotifModule(nn.Module):
    """A motif that computes; zeros of the shape of the input where no way leads to the output.

    Args:
        edges: those that are :func:`live`.
        nodes: number of nodes with input and output.
        inputs: channels of the input.
        operation: makes the module of an operation behind so many channels, and says how many it
            puts out.
    """

    def __init__(
        self,
        edges: Edges,
        nodes: int,
        inputs: int,
        operation: Callable[[Any, int], tuple[nn.Module, int]],
    ):
        super().__init__()
        widths = {0: inputs}
        self.places: list[Place] = []
        self.operations = nn.ModuleList()
        for source, target in places(nodes):
            if (source, target) in edges:
                module, width = operation(edges[source, target], widths[source])
                self.places.append((source, target))
                self.operations.append(module)
                widths[target] = widths.get(target, 0) + width
        self.last = nodes - 1
        self.width = widths.get(self.last, inputs)

    def forward(self, x: Tensor) -> Tensor:
        if not self.places:
            return torch.zeros_like(x)
        parts: dict[int, list[Tensor]] = defaultdict(list)
        states = {0: x}
        for (source, target), module in zip(self.places, self.operations, strict=True):
            # All edges into a node come before the first that leaves it.
            if source not in states:
                states[source] = torch.cat(parts[source], dim=1)
            parts[target].append(module(states[source]))
        return torch.cat(parts[self.last], dim=1)


def _connected(edges: Edges, nodes: int) -> dict[Place, Any]:
    reached = {0}
    for source, target in sorted(edges, key=lambda place: place[1]):
        if source in reached:
            reached.add(target)
    useful = {nodes - 1}
    for source, target in sorted(edges, reverse=True):
        if target in useful:
            useful.add(source)
    return {
        (source, target): held
        for (source, target), held in edges.items()
        if source in reached and target in useful
    }


def _direct(edges: Edges, nodes: int, identity: Any) -> dict[Place, Any]:
    """Return the edges with as few ways through identities as there can be.

    Nodes that hold the same are told apart by their numbers only: what takes them takes the first
    ones, in the order of its operations.
    """
    into: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        into[target].append(source)
    origin = {0: 0}
    for node in range(1, nodes):
        copies = (
            node < nodes - 1 and len(into[node]) == 1 and edges[into[node][0], node] == identity
        )
        origin[node] = origin[into[node][0]] if copies else node
    same: dict[int, list[int]] = defaultdict(list)
    for node, first in origin.items():
        same[first].append(node)
    result: dict[Place, Any] = {}
    for target in range(1, nodes):
        if origin[target] != target:
            result[origin[target], target] = identity
            continue
        held: dict[int, list[Any]] = defaultdict(list)
        for source in into[target]:
            held[origin[source]].append(edges[source, target])
        for first, operations in held.items():
            for source, operation in zip(same[first], sorted(operations), strict=False):
                result[source, target] = operation
    return result
