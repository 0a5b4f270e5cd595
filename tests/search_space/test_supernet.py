"""The supernet: against single operations, discrete networks, published sizes and real logs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from search_space.mixture import Mixture, derive, edges, of_cell
from search_space.network import CellNetwork
from search_space.spaces.darts import Darts
from search_space.supernet import CellShape, MixedCell, Supernet, TextbookSupernet
from search_space.task import Task

MakeTask = Callable[..., Task]

OPERATIONS = Darts().operations
ROWS = 14  # edges of a cell of four nodes: 2 + 3 + 4 + 5


def one_hot(choices: Sequence[int], columns: int = len(OPERATIONS)) -> Tensor:
    return torch.eye(columns)[list(choices)]


def small(task: Task, layers: int = 3, operations: Sequence[str] = OPERATIONS) -> Supernet:
    return TextbookSupernet(task, operations=operations, nodes=4, channels=4, layers=layers)


def published_parse(table: Sequence[Sequence[float]]) -> list[tuple[str, int]]:
    """Derive a cell as section 2.4 of the paper says, with plain loops over a table [14, 8]."""
    none = OPERATIONS.index("none")
    columns = [k for k in range(len(OPERATIONS)) if k != none]
    gene, start = [], 0
    for node in range(4):
        rows = table[start : start + node + 2]
        strongest = [max(columns, key=lambda k, row=row: row[k]) for row in rows]
        kept = sorted(range(node + 2), key=lambda j: rows[j][strongest[j]], reverse=True)[:2]
        gene += [(OPERATIONS[strongest[j]], j) for j in kept]
        start += node + 2
    return gene


def derived(table: Tensor) -> list[tuple[str, int]]:
    cell = derive(OPERATIONS, 4, table)
    assert cell.concat == (2, 3, 4, 5)
    return [tuple(edge) for node in cell.nodes for edge in node]


def random_mixtures(generator: torch.Generator, dtype: torch.dtype = torch.float32):
    """Return mixtures that prefer something, with weights that ask for a gradient."""
    return {
        kind: Mixture(
            torch.randn(ROWS, len(OPERATIONS), generator=generator, dtype=dtype)
            .softmax(dim=1)
            .requires_grad_()
        )
        for kind in ("normal", "reduce")
    }


def test_the_rows_of_a_table_are_the_edges_node_by_node() -> None:
    assert edges(3) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert len(edges(4)) == ROWS


@pytest.mark.parametrize("reduction", [False, True])
@pytest.mark.parametrize("ndim", [1, 2])
def test_with_one_hot_weights_a_node_is_the_sum_of_single_operations(
    reduction: bool, ndim: int
) -> None:
    torch.manual_seed(0)
    cell = MixedCell(CellShape(OPERATIONS, 4, (6, 5), 4, ndim, reduction=reduction))
    before, last = torch.randn(2, 6, *[7] * ndim), torch.randn(2, 5, *[7] * ndim)
    rng = random.Random(0)
    for _ in range(4):
        choices = [rng.randrange(len(OPERATIONS)) for _ in range(ROWS)]
        states = [cell.first(before), cell.second(last)]
        for node in range(4):
            total = torch.zeros(())
            for row, (owner, source) in enumerate(edges(4)):
                if owner == node:
                    single = cell.edges[row].operations[choices[row]]
                    total = total + single(states[source])
            states.append(total)
        got = cell(before, last, Mixture(one_hot(choices)))
        torch.testing.assert_close(got, torch.cat(states[2:], dim=1))


@pytest.mark.parametrize("shape", [(2, 12), (2, 9, 7)], ids=["1-D", "odd and not square"])
def test_a_supernet_with_one_hot_weights_is_the_discrete_network(
    make_task: MakeTask, shape: tuple[int, ...]
) -> None:
    # Without pools, which have a normalisation of their own in the supernet only.
    torch.manual_seed(0)
    space = Darts(operations=("none", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"))
    task = make_task(shape, "classes")
    supernet = space.supernet(task, channels=4, layers=4, fast=False)
    genotype = space.sample(random.Random(5))
    network = space.build(genotype, task, channels=4, layers=4)
    cells, mixture = space.cells(genotype), {}
    chosen: dict[str, list[tuple[int, int]]] = {}
    for kind, cell in cells.items():
        chosen[kind] = [
            (edges(4).index((node, edge.source)), space.operations.index(edge.operation))
            for node, pair in enumerate(cell.nodes)
            for edge in pair
        ]
        table = one_hot([0] * ROWS, len(space.operations))  # "none" where there is no edge
        for row, column in chosen[kind]:
            table[row] = one_hot([column], len(space.operations))[0]
        mixture[kind] = Mixture(table)
    share_weights(supernet, network, chosen)
    x = torch.randn(3, *shape)
    torch.testing.assert_close(supernet(x, mixture), network(x))


def share_weights(
    supernet: Supernet, network: CellNetwork, chosen: dict[str, list[tuple[int, int]]]
) -> None:
    """Copy the weights of the chosen edges; scales and shifts, of which it has none, stay new."""
    network.stem.load_state_dict(supernet.stem.state_dict())
    network.head.load_state_dict(supernet.head.state_dict())
    for kind, mixed, cell in zip(supernet.kinds, supernet.cells, network.cells, strict=True):
        pairs = [(mixed.first, cell.first), (mixed.second, cell.second)]
        for (row, column), module in zip(chosen[kind], cell.edges, strict=True):
            pairs.append((mixed.edges[row].operations[column], module))
        for source, target in pairs:
            missing, unexpected = target.load_state_dict(source.state_dict(), strict=False)
            assert unexpected == []
            assert len(missing) == sum(p.dim() == 1 for p in target.parameters())


@pytest.mark.parametrize("partial", [1, 2])
def test_operations_that_are_not_active_add_nothing_whatever_their_weight(
    make_task: MakeTask, partial: int
) -> None:
    torch.manual_seed(0)
    task = make_task((2, 9, 7), "classes")
    supernet = TextbookSupernet(
        task, operations=OPERATIONS, nodes=4, channels=4, layers=4, partial=partial
    )
    rng, x = random.Random(1), torch.randn(3, 2, 9, 7)
    full, part = {}, {}
    for kind, mixture in random_mixtures(torch.Generator().manual_seed(2)).items():
        # Some edges compute nothing at all.
        choices = [
            sorted(rng.sample(range(8), k)) for k in (0, 1, 3, 8, 2, 0, 5, 1, 1, 4, 2, 7, 1, 3)
        ]
        mask = torch.tensor([[float(i in row) for i in range(8)] for row in choices])
        full[kind] = Mixture(mixture.weights * mask)
        part[kind] = Mixture.only(choices, mixture.weights)
    torch.testing.assert_close(supernet(x, part), supernet(x, full))


def test_the_mixture_of_a_cell_computes_its_operations_with_weight_one() -> None:
    space, rng = Darts(), random.Random(3)
    for _ in range(20):
        cell = space.cells(space.sample(rng))["normal"]
        mixture = of_cell(OPERATIONS, cell)
        gene = [tuple(edge) for node in cell.nodes for edge in node]
        assert derived(mixture.weights) == gene
        assert float(mixture.weights.sum()) == len(gene)
        for row, computed in enumerate(mixture.active or ()):
            assert mixture.weights[row].nonzero().flatten().tolist() == list(computed)


def test_without_mixtures_all_operations_weigh_the_same(make_task: MakeTask) -> None:
    supernet = small(make_task((1, 8, 8), "classes"))
    x = torch.randn(2, 1, 8, 8)
    table = torch.full((ROWS, len(OPERATIONS)), 1 / len(OPERATIONS))
    even = {"normal": Mixture(table), "reduce": Mixture(table)}
    torch.testing.assert_close(supernet(x), supernet(x, even))


def test_each_cell_is_mixed_by_the_table_of_its_kind(make_task: MakeTask) -> None:
    supernet = small(make_task((1, 16, 16), "classes"), layers=6)
    assert supernet.kinds == ["normal", "normal", "reduce", "normal", "reduce", "normal"]
    x = torch.randn(2, 1, 16, 16)
    mixtures = random_mixtures(torch.Generator().manual_seed(0))
    before = supernet(x, mixtures)
    for kind in ("normal", "reduce"):
        changed = {**mixtures, kind: Mixture(one_hot([3] * ROWS))}
        assert not torch.allclose(supernet(x, changed), before)


def test_deriving_is_what_the_paper_says_on_random_tables() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        table = (3 * torch.randn(ROWS, 8, generator=generator)).softmax(dim=1)
        assert derived(table) == published_parse(table.tolist())


def test_deriving_ignores_none_however_strong() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        logits = torch.randn(ROWS, 8, generator=generator)
        logits[:, 0] += 8 * torch.rand(ROWS, generator=generator)
        table = logits.softmax(dim=1)
        gene = derived(table)
        assert gene == published_parse(table.tolist())
        assert "none" not in [operation for operation, _ in gene]


def test_deriving_compares_weights_and_not_ranks_within_a_row() -> None:
    # A strong "none" takes weight away from an edge's other operations: it counts that way.
    table = torch.full((ROWS, 8), 0.1)
    table[0] = torch.tensor([0.9, 0.04, 0, 0, 0.06, 0, 0, 0])
    table[1, 6], table[2, 4], table[3, 5], table[4, 7] = 0.2, 0.3, 0.4, 0.35
    gene = derived(table)
    assert gene[:2] == [("dil_conv_3x3", 1), ("sep_conv_3x3", 0)]
    assert gene[2:4] == [("sep_conv_5x5", 1), ("dil_conv_5x5", 2)]


def test_equal_strengths_go_to_the_earlier_edge_and_operation() -> None:
    assert derived(torch.full((ROWS, 8), 0.125)) == [("max_pool_3x3", j) for j in (0, 1)] * 4
    generator = torch.Generator().manual_seed(2)
    for _ in range(200):
        table = torch.randint(0, 3, (ROWS, 8), generator=generator) / 8.0
        assert derived(table) == published_parse(table.tolist())


def test_both_cells_are_derived_from_their_own_tables() -> None:
    space, mixtures = Darts(), random_mixtures(torch.Generator().manual_seed(4))
    cells = space.cells(space.discretise({k: m.weights for k, m in mixtures.items()}))
    for kind, cell in cells.items():
        wanted = published_parse(mixtures[kind].weights.tolist())
        for node, pair in enumerate(cell.nodes):
            assert sorted(tuple(e) for e in pair) == sorted(wanted[2 * node : 2 * node + 2])


def test_the_tables_of_the_real_log_derive_to_the_genotypes_beside_them(data_root: Path) -> None:
    space = Darts()
    log = data_root / "darts_logs/search-GRAPHENE-20191014-131026/log.txt"
    compared = 0
    for epoch in log.read_text("utf-8").split("genotype = ")[1:]:
        genotype = space.parse(epoch.partition("\n")[0])
        mixture = {
            kind: torch.tensor(
                [float(x) for x in re.findall(r"\d\.\d{4}\b", table)], dtype=torch.float64
            ).view(ROWS, 8)
            for kind, table in re.findall(r"alphas_(\w+) = .*?:\n(.*?)\n\[torch", epoch, re.DOTALL)
        }
        cells = {kind: derive(OPERATIONS, 4, table) for kind, table in mixture.items()}
        wanted = space.cells(genotype)
        for kind in ("normal", "reduce"):
            parts = mixture[kind].split([2, 3, 4, 5])
            for rows, got, node in zip(parts, cells[kind].nodes, wanted[kind].nodes, strict=True):
                if decided(rows):
                    assert got == node
                    compared += 1
    assert compared >= 100


def decided(rows: Tensor) -> bool:
    """Whether four printed decimals tell a node's two strongest edges and their operations."""
    best, second = rows[:, 1:].topk(2, dim=1).values.unbind(dim=1)
    ranked = best.sort(descending=True)
    kept = ranked.indices[:2]
    margins = [*(best - second)[kept], *-ranked.values[:3].diff()]
    return min(map(float, margins)) > 2e-4


def test_the_saved_tables_of_the_real_search_derive_to_its_last_genotype(data_root: Path) -> None:
    folder = data_root / "darts_logs/search-GRAPHENE-20191014-131026"
    lines = (folder / "log.txt").read_text("utf-8").splitlines()
    last = Darts().parse([line for line in lines if "Genotype(" in line][-1])
    mixture = {
        kind: torch.from_numpy(np.load(folder / f"{kind}_049.npy")) for kind in ("normal", "reduce")
    }
    cells = {kind: derive(OPERATIONS, 4, table) for kind, table in mixture.items()}
    assert Darts().genotype(cells) == last


def test_the_published_supernet_has_as_many_weights_as_its_code_prints(
    make_task: MakeTask,
) -> None:
    # quark0/darts, train_search.py for CIFAR-10: "param size = 1.930618MB". Architecture
    # parameters are no parameters of the supernet, there and here.
    task = make_task((3, 32, 32), "classes", n=10, size=10)
    supernet = Darts().supernet(task, channels=16, layers=8)
    assert sum(p.numel() for p in supernet.parameters()) == 1_930_618


def test_the_supernet_of_the_real_logs_has_as_many_weights_as_its_log_says(
    make_task: MakeTask, data_root: Path
) -> None:
    log = data_root / "darts_logs/search-GRAPHENE-20191014-131026/log.txt"
    task = make_task((1, 32, 32), "regression", size=1)
    supernet = Darts().supernet(task, channels=16, layers=8)
    assert "param size = 1.927441MB" in log.read_text("utf-8")
    assert sum(p.numel() for p in supernet.parameters()) == 1_927_441


@pytest.mark.parametrize("kind", ["classes", "dense"])
@pytest.mark.parametrize("shape", [(2, 21), (3, 9, 13)], ids=["1-D", "odd and not square"])
def test_a_gradient_reaches_every_parameter_and_every_mixture(
    make_task: MakeTask, kind: str, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    task = make_task(shape, kind)
    supernet = small(task)
    mixtures = random_mixtures(torch.Generator().manual_seed(0))
    inputs, targets = task.batch(task.train, torch.arange(len(task.train)))
    loss = task.loss(supernet(inputs, mixtures), targets)
    named = dict(supernet.named_parameters()) | {k: m.weights for k, m in mixtures.items()}
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    without = [
        name
        for name, g in zip(named, gradients, strict=True)
        if g is None or not torch.isfinite(g).all() or g.abs().sum() == 0
    ]
    assert without == []


def test_the_derivative_of_the_loss_by_a_mixture_is_that_of_finite_differences(
    make_task: MakeTask,
) -> None:
    torch.manual_seed(0)
    task = make_task((1, 8, 8), "classes")
    supernet = small(task).double()
    mixtures = random_mixtures(torch.Generator().manual_seed(0), torch.float64)
    inputs, targets = task.batch(task.train, torch.arange(len(task.train)))
    inputs = inputs.double()
    weights, step = mixtures["normal"].weights, 1e-5
    (gradient,) = torch.autograd.grad(task.loss(supernet(inputs, mixtures), targets), weights)
    for row, column in ((0, 1), (3, 4), (13, 7)):
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                weights[row, column] += sign * step
                losses.append(float(task.loss(supernet(inputs, mixtures), targets)))
                weights[row, column] -= sign * step
        slope = (losses[0] - losses[1]) / (2 * step)
        assert float(gradient[row, column]) == pytest.approx(slope, rel=1e-4, abs=1e-8)
