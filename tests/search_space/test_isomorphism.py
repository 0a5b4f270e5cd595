"""Isomorphism of cells: against brute force over all orders of nodes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from search_space.cost import cost
from search_space.genotype import Cell, Edge
from search_space.isomorphism import canonical_cell
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.task import Task

MakeTask = Callable[..., Task]


def orders(cell: Cell) -> Iterator[Cell]:
    """Yield the cell with its nodes in every order in which each comes after its inputs."""
    inputs = cell.inputs
    for order in itertools.permutations(range(len(cell.nodes))):
        names = {state: state for state in range(inputs)}
        names |= {node + inputs: place + inputs for place, node in enumerate(order)}
        try:
            written = Cell(
                tuple(
                    tuple(Edge(op, names[source]) for op, source in cell.nodes[node])
                    for node in order
                ),
                tuple(names[state] for state in cell.concat),
                inputs,
                tuple(names[node + inputs] - inputs for node in cell.joined),
            )
            written.check()
        except ValueError:
            continue
        yield written


def class_of(cell: Cell) -> tuple[Any, ...]:
    """Return what all cells of the same network have in common, found by trying all orders."""
    return min(
        (
            tuple(tuple(sorted(edges)) for edges in written.nodes),
            tuple(sorted(written.concat)),
            tuple(sorted(written.joined)),
        )
        for written in orders(cell)
    )


def cells(name: str, params: dict[str, Any]) -> Iterator[Cell]:
    """Yield every cell that a space makes, and where there are too many a part of them."""
    space, rng = SPACES.load(name)(**params), random.Random(0)
    for _ in range(700):
        yield from space.cells(space.sample(rng)).values()


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("enas_micro", {"nodes": 2, "operations": ("skip_connect", "max_pool_3x3")}),
        ("enas_micro", {"nodes": 4, "operations": ("skip_connect",)}),
        ("darts", {"nodes": 3, "operations": ("skip_connect", "max_pool_3x3")}),
    ],
)
def test_two_cells_have_one_representative_if_and_only_if_an_order_makes_them_equal(
    name: str, params: dict[str, Any]
) -> None:
    pairs = {(canonical_cell(cell), class_of(cell)) for cell in cells(name, params)}
    assert len(pairs) > 50
    representatives = {representative for representative, _ in pairs}
    classes = {of for _, of in pairs}
    assert len(pairs) == len(representatives) == len(classes)
    for representative, of in pairs:
        assert class_of(representative) == of


def test_nodes_that_are_alike_are_told_apart_by_what_uses_them() -> None:
    twins = (Edge("a", 0),)
    one = Cell((twins, twins, (Edge("b", 2),), (Edge("c", 3),)), (4, 5))
    other = Cell((twins, twins, (Edge("c", 2),), (Edge("b", 3),)), (4, 5))
    both = Cell((twins, twins, (Edge("b", 2),), (Edge("c", 2),)), (4, 5))
    assert canonical_cell(one) == canonical_cell(other)
    assert canonical_cell(one) != canonical_cell(both)


def test_a_node_that_joins_and_what_is_put_out_make_a_difference() -> None:
    nodes = ((Edge("a", 0), Edge("b", 1)), (Edge("a", 0), Edge("b", 1)))
    plain = Cell(nodes, (2, 3))
    assert canonical_cell(Cell(nodes, (3, 2))) == plain
    assert canonical_cell(Cell(nodes, (2, 3), joined=(0,))) != plain
    assert canonical_cell(Cell(nodes, (2,))) == canonical_cell(Cell(nodes, (3,))) != plain
    joined = [canonical_cell(Cell(nodes, (2, 3), joined=(node,))) for node in (0, 1)]
    assert joined[0] == joined[1]


def test_many_nodes_that_are_all_alike_take_no_time() -> None:
    node = (Edge("a", 0), Edge("a", 0))
    cell = Cell((node,) * 12, tuple(range(2, 14)))
    assert canonical_cell(cell) == cell


@pytest.mark.parametrize("name", [name for name in SPACES.names() if name != "nasbench201"])
def test_a_representative_builds_a_network_of_the_same_cost(name: str, make_task: MakeTask) -> None:
    # The classes of NAS-Bench-201 are as published, which is something else: see its docstring.
    space: SearchSpace = SPACES.load(name)()
    task, rng = make_task((2, 8, 8)), random.Random(0)
    for _ in range(6):
        genotype = space.sample(rng)
        with torch.device("meta"):
            one, other = (
                space.build(g, task, channels=4, layers=4)
                for g in (genotype, space.canonical(genotype))
            )
        assert cost(one, task) == cost(other, task)
