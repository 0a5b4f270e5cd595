"""Selections: prune ends in the discrete network, perturbation asks what hurts."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_space.genotype import Cell
from search_space.mixture import derive, edges, of_cell
from search_space.spaces import SPACES
from search_space.task import Split, Task
from searchers._architecture import KINDS, Architecture
from searchers.darts import Darts
from searchers.relaxations import RELAXATIONS
from searchers.selections import SELECTIONS
from searchers.selections.perturbation import Perturbation
from searchers.selections.prune import Prune, shrink

CPU = torch.device("cpu")
OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3")


def architecture(nodes: int = 3, name: str = "softmax", seed: int = 0, **options) -> Architecture:
    relaxation = RELAXATIONS.load(name)
    generator = torch.Generator().manual_seed(seed)
    made = Architecture(
        OPERATIONS,
        nodes,
        relaxation(relaxation.Params()),
        partial=False,
        generator=generator,
        **options,
    )
    with torch.no_grad():
        for alpha in made.alpha.values():
            alpha.add_(torch.randn(alpha.shape, generator=generator))
    return made


def search(task: Task, seed: int = 0, **params: Any) -> Darts:
    space = SPACES.load("darts")(nodes=2, operations=OPERATIONS)
    least = {"channels": 2, "layers": 3, "batch_size": 4, "learning_rate": 0.05}
    chosen = Darts.Params(**{**least, **params})
    return Darts(space, task.without_test(), chosen, seed=seed, device=CPU)


def derived(table: Tensor) -> Cell:
    """Derive a cell of four nodes, its edges in the order of their sources."""
    cell = derive(OPERATIONS, 4, table)
    nodes = tuple(tuple(sorted(node, key=lambda edge: edge.source)) for node in cell.nodes)
    return dataclasses.replace(cell, nodes=nodes)


class TestPrune:
    @pytest.mark.parametrize("name", ["softmax", "sigmoid", "dirichlet"])
    @pytest.mark.parametrize("seed", range(5))
    def test_when_the_architecture_stands_still_it_ends_where_deriving_does(
        self, name: str, seed: int
    ) -> None:
        arch = architecture(4, name, seed)
        wanted = {kind: derived(table) for kind, table in arch.tables().items()}
        for dropped in (0.0, 0.3, 0.7, 1.0):
            for kind in KINDS:
                shrink(arch, kind, dropped)
        assert arch.discrete
        assert {kind: derived(table) for kind, table in arch.tables().items()} == wanted
        for kind, mixture in arch.expected().items():
            exact = of_cell(OPERATIONS, wanted[kind])
            assert torch.equal(mixture.weights, exact.weights)
            assert mixture.active == exact.active

    def test_drops_in_a_line_the_weakest_first_and_none_before_all(self) -> None:
        arch = architecture(3)
        rows, counts = len(edges(3)), []
        strength = arch.relaxation.expected(arch.alpha["normal"].detach())
        for dropped in (0.0, 0.25, 0.5, 0.75, 1.0):
            shrink(arch, "normal", dropped)
            mask = arch.mask("normal")
            counts.append(int(mask.sum()))
            assert not mask[:, 0].any()
            assert all(mask.any(dim=1)[part].sum() >= 2 for part in (slice(2), slice(2, 5)))
            if dropped == 0.25:
                gone = strength[:, 1:][~mask[:, 1:]]
                assert (
                    sorted(gone.tolist()) == sorted(strength[:, 1:].flatten().tolist())[: len(gone)]
                )
        whole, least = 3 * rows, 6
        assert counts == [round(whole - d * (whole - least)) for d in (0, 0.25, 0.5, 0.75, 1)]
        assert bool(arch.mask("reduce").all())

    def test_works_on_what_earlier_stages_left(self) -> None:
        kept = {kind: torch.tensor([[0, 2], [1, 3]] * 4 + [[0, 1]]) for kind in KINDS}
        arch = architecture(3, kept=kept)
        for kind in KINDS:
            shrink(arch, kind, 1.0)
        assert arch.discrete
        for mixture in arch.expected().values():
            assert mixture.active is not None
            assert sum(map(len, mixture.active)) == 6
            assert 0 not in [i for row in mixture.active for i in row]

    @pytest.mark.parametrize(
        ("total", "share", "own"), [(10, 0.5, 5), (2, 0.9, 1), (5, 0.1, 1), (1, 0.5, 0)]
    )
    def test_has_its_share_of_the_epochs_and_leaves_one_at_least(
        self, total: int, share: float, own: int
    ) -> None:
        assert Prune(Prune.Params(share=share)).epochs(total) == own

    @pytest.mark.parametrize(
        ("total", "tuning", "settled"), [(10, 0.4, 3), (10, 0.0, 1), (50, 0.4, 11), (2, 0.9, 1)]
    )
    def test_knows_the_epochs_in_which_nothing_is_left_to_choose(
        self, total: int, tuning: float, settled: int
    ) -> None:
        assert Prune(Prune.Params(share=0.5, tuning=tuning)).settled(total) == settled

    def test_the_architecture_s_rate_is_for_the_epochs_in_which_it_learns(self, make_task) -> None:
        task = make_task((1, 4, 4), n=2000)
        rates = [
            search(
                task, epochs=40, batch_size=10, selection=selection
            ).params.architecture_learning_rate
            for selection in ("argmax", {"name": "prune", "share": 0.5, "tuning": 0.5})
        ]
        assert rates[1] / rates[0] == pytest.approx(40 / 29)

    def test_ends_with_exactly_the_discrete_network_whose_metric_is_the_score(
        self, make_task, drive
    ) -> None:
        task = make_task((2, 6, 5), n=24)
        late = {"name": "prune", "share": 0.5, "tuning": 0.4}
        trace = drive(search(task, epochs=6, selection=late), seconds=math.inf)
        program, outcome = trace.program, trace.outcome
        cells = program.space.cells(outcome.genotype)
        mixtures = {kind: of_cell(OPERATIONS, cell) for kind, cell in cells.items()}
        inputs, targets = task.batch(task.valid, torch.arange(24))
        network = program.network.eval()
        with torch.no_grad():
            outputs = network(inputs, mixtures)
            assert torch.equal(outputs, network(inputs, program.architecture.expected()))
        assert outcome.score == task.score(outputs, targets)
        # It was discrete for the last epochs, and its weights went on training.
        discrete = [
            {w.weight for w in trace.weights if w.epoch == epoch} == {0.0, 1.0}
            for epoch in range(1, 7)
        ]
        assert discrete == [False, False, False, False, True, True]
        gaps = [m.value for m in trace.measurements if m.name == "entropy"]
        assert gaps[-1] == 0

    def test_trains_a_discrete_network_on_both_halves(self, make_task, recorded, drive) -> None:
        task, batches = recorded(make_task((2, 6, 5), n=24))
        program = search(task, epochs=6, selection="prune", watchdog=False)
        program.network.double()
        program.architecture.double()
        moved = []
        alphas = program.architecture.alpha["normal"]

        def look() -> None:
            moved.append((program.epoch, alphas.detach().clone(), program.network.stem[0].weight))

        drive(program, between=look)
        at_end = [alpha for epoch, alpha, _ in moved if epoch >= 4]
        assert all(torch.equal(at_end[0], alpha) for alpha in at_end)
        rows = {row for seen, _, _ in batches[-12:] for row in seen}
        assert rows == set(range(24))


class Additive(nn.Module):
    """Puts out the sum of what operations are worth: their removal is seen in the metric."""

    kinds = ("normal",)
    nodes = 3
    operations = OPERATIONS

    def __init__(self, worth: Tensor):
        super().__init__()
        self.worth = worth

    def forward(self, x: Tensor, mixtures: Any) -> Tensor:
        mixture = mixtures["normal"]
        total = sum(
            (self.worth[row, i] for row in range(len(self.worth)) for i in mixture.computed(row)),
            torch.zeros(()),
        )
        return total.expand(len(x), 1) + 0.1 * x.flatten(1)[:, :1]


class TestPerturbation:
    def run(self, worth: Tensor, make_task, seed: int = 0, **params: int) -> Any:
        """Let it ask a network in which each operation brings the output nearer to the target."""
        task = make_task((1, 4), "regression", n=12, size=1)
        target = torch.full((12, 1), float(worth.sum()) + 1)
        target += 0.1 * task.train.inputs.flatten(1)[:, :1]
        task = dataclasses.replace(
            task,
            train=Split(task.train.inputs, target),
            target_scale=dataclasses.replace(task.target_scale, mean=(0.0,), deviation=(1.0,)),
            input_scale=dataclasses.replace(task.input_scale, mean=(0.0,), deviation=(1.0,)),
        )
        arch = architecture(3)
        bench = SimpleNamespace(
            seed=seed,
            device=CPU,
            task=task,
            architecture_rows=torch.arange(12),
            network=Additive(worth),
            architecture=arch,
            tuned=[],
            charged=[],
        )
        bench.tune = bench.tuned.append
        bench.charge = lambda mixtures, passes: bench.charged.append(passes)
        selection = Perturbation(Perturbation.Params(**params))
        selection.begin(bench)
        while not selection.finished:
            selection.advance(bench)
        return bench

    @pytest.mark.parametrize("seed", range(3))
    def test_each_edge_keeps_what_is_missed_most_and_each_node_its_two_best_edges(
        self, make_task, seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        worth = torch.rand(9, 4, generator=generator)
        worth[:, 0] = 10  # none would be missed most, and is never chosen
        bench = self.run(worth, make_task, seed)
        best = worth[:, 1:].max(dim=1)
        mixture = bench.architecture.expected()["normal"]
        for node, part in enumerate(torch.arange(9).split([2, 3, 4])):
            kept = best.values[part].topk(2).indices + part[0]
            for row in part.tolist():
                wanted = (int(best.indices[row]) + 1,) if row in kept else ()
                assert mixture.active[row] == wanted, (node, row)

    def test_weights_play_no_part(self, make_task) -> None:
        """The strongest operation by weight goes if its removal hurts least."""
        worth = torch.full((9, 4), 0.5)
        worth[:, 2] = 1.0
        bench = self.run(worth, make_task)
        with torch.no_grad():
            strongest = bench.architecture.alpha["normal"][:, 1:].argmax(dim=1) + 1
        assert (strongest != 2).any()
        chosen = [row for row in bench.architecture.expected()["normal"].active if row]
        assert chosen == [(2,)] * 6

    def test_tunes_after_every_decision_at_its_share_of_the_rate(self, make_task) -> None:
        worth = torch.rand(9, 4)
        bench = self.run(worth, make_task, tuning=3, rate=0.25)
        decisions = 9 + 2  # edges, and the nodes that have more than two
        assert bench.tuned == [0.25] * 3 * decisions

    def test_asks_once_for_each_operation_and_each_edge_of_a_contested_node(
        self, make_task
    ) -> None:
        bench = self.run(torch.rand(9, 4), make_task, examples=7)
        assert bench.charged == [7] * (9 * 3 + 3 + 4)

    def test_edges_are_decided_in_a_random_order_of_the_seed(self, make_task) -> None:
        orders = []
        for seed in (0, 0, 1):
            bench = SimpleNamespace(
                seed=seed,
                device=CPU,
                task=make_task((1, 4), n=12),
                architecture_rows=torch.arange(12),
                network=Additive(torch.ones(9, 4)),
                architecture=architecture(3),
            )
            selection = Perturbation(Perturbation.Params())
            selection.begin(bench)
            orders.append([question for question in selection.questions if question[0] == "edge"])
        assert orders[0] == orders[1] != orders[2]
        assert sorted(orders[0]) == sorted(orders[2]) == [("edge", "normal", i) for i in range(9)]

    def test_a_search_scores_what_is_left_after_tuning(self, make_task, drive) -> None:
        task = make_task((2, 6, 5), n=24)
        selection = {"name": "perturbation", "examples": 6, "tuning": 2}
        trace = drive(search(task, epochs=2, selection=selection), seconds=math.inf)
        program = trace.program
        assert program.architecture.discrete
        cells = program.space.cells(trace.outcome.genotype)
        mixtures = {kind: of_cell(OPERATIONS, cell) for kind, cell in cells.items()}
        inputs, targets = task.batch(task.valid, torch.arange(24))
        with torch.no_grad():
            outputs = program.network.eval()(inputs, mixtures)
        assert trace.outcome.score == task.score(outputs, targets)
        last = trace.measurements[-1]
        assert (last.epoch, last.step) == (3, 2 * program.batches.length + program.tuned)


def test_argmax_is_the_derived_cell_and_keep_continuous_the_mixture(make_task, drive) -> None:
    task = make_task((2, 6, 5), n=24)
    plain, kept = (
        drive(search(task, epochs=2, selection=name), seconds=math.inf)
        for name in ("argmax", "keep_continuous")
    )
    tables = plain.program.architecture.tables()
    space = plain.program.space
    assert plain.outcome.genotype == space.discretise(tables)
    assert kept.outcome.genotype == space.continuous(tables)
    network = space.build(kept.outcome.genotype, task, channels=2, layers=3)
    assert sum(p.numel() for p in network.parameters()) == kept.outcome.parameters


@pytest.mark.parametrize("name", SELECTIONS.names())
def test_a_selection_says_what_it_asks_of_a_supernet(name: str) -> None:
    cls = SELECTIONS.load(name)
    assert isinstance(cls.mixed, bool)
    assert (cls(cls.Params()).epochs(10) > 0) == cls.whole
