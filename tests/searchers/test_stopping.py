"""Stopping rules: on scripted sequences, and eigenvalues against the whole Hessian."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from search_space.genotype import Cell, Edge
from search_space.spaces import SPACES
from search_space.supernet import TextbookSupernet
from searchers._architecture import Architecture
from searchers._ending import Ending
from searchers._schedule import Schedule, cosine
from searchers.darts import Darts
from searchers.relaxations import RELAXATIONS
from searchers.stopping import STOPPING, Evidence, Stopping
from searchers.stopping.hessian import Hessian, hessian_vector

CPU = torch.device("cpu")
OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3")


def rule(name: str, **params: Any) -> Stopping:
    cls = STOPPING.load(name)
    return cls(cls.Params(**params))


def cells(normal: int, reduce: int = 0) -> dict[str, Cell]:
    """Return cells of two nodes with so many skip connections."""

    def cell(skips: int) -> Cell:
        names = iter(["skip_connect"] * skips + ["sep_conv_3x3"] * (4 - skips))
        nodes = tuple((Edge(next(names), 0), Edge(next(names), 1)) for _ in range(2))
        return Cell(nodes, (2, 3))

    return {"normal": cell(normal), "reduce": cell(reduce)}


def test_fixed_never_stops() -> None:
    assert [rule("fixed").decide(Evidence(e, cells(4, 4))) for e in range(1, 9)] == [None] * 8


@pytest.mark.parametrize(("skips", "stops_at"), [(2, 3), (3, 5), (1, 2), (4, None)])
def test_skip_count_stops_at_the_first_normal_cell_with_so_many(
    skips: int, stops_at: int | None
) -> None:
    counts = [0, 1, 2, 1, 3]
    one = rule("skip_count", skips=skips)
    found = [one.decide(Evidence(e, cells(n, 4))) for e, n in enumerate(counts, start=1)]
    stops = [epoch for epoch, verdict in enumerate(found, start=1) if verdict is not None]
    assert (stops[0] if stops else None) == stops_at
    assert {verdict for verdict in found if verdict is not None} <= {0}


def test_the_published_numbers_are_the_defaults() -> None:
    assert STOPPING.load("skip_count").Params().skips == 2  # DARTS+, criterion 1
    params = Hessian.Params()
    assert (params.window, params.ratio) == (5, 0.75)  # R-DARTS, section 4.3


class TestHessianRule:
    def verdicts(self, values: list[float], **params: Any) -> list[int | None]:
        one, found = rule("hessian", **params), []
        for epoch, value in enumerate(values, start=1):
            one.eigenvalue = value
            found.append(one.decide(Evidence(epoch, cells(0))))
        return found

    def test_stops_when_the_smoothed_eigenvalue_has_grown_by_a_third(self) -> None:
        # Means of two: 1, 1, 1, 1.25, 1.5; the last is the first with 1 / 1.5 < 0.75.
        values = [1.0, 1.0, 1.0, 1.0, 1.5, 1.5]
        assert self.verdicts(values, window=2) == [None] * 5 + [2]
        assert self.verdicts([1.0, 1.0, 1.0, 1.0, 1.3, 1.3], window=2) == [None] * 6

    def test_has_nothing_to_compare_before_two_windows(self) -> None:
        assert self.verdicts([10.0**i for i in range(9)]) == [None] * 9
        assert self.verdicts([10.0**i for i in range(10)])[-1] == 5

    def test_a_falling_or_negative_eigenvalue_is_no_reason(self) -> None:
        assert self.verdicts([5.0, 4.0, 3.0, 2.0, 1.0], window=1) == [None] * 5
        assert self.verdicts([-1.0, -2.0, -4.0, -8.0], window=1) == [None] * 4
        assert self.verdicts([math.nan, math.nan], window=1) == [None] * 2


@pytest.fixture(scope="module")
def bench(make_task):
    """A supernet and its architecture in float64, away from where nothing is preferred."""
    torch.manual_seed(0)
    task = make_task((1, 6, 5), n=16)
    cls = RELAXATIONS.load("softmax")
    generator = torch.Generator().manual_seed(0)
    made = Architecture(OPERATIONS, 1, cls(cls.Params()), partial=True, generator=generator)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    network = TextbookSupernet(
        task, operations=OPERATIONS, nodes=1, channels=2, layers=3, partial=2
    )
    return SimpleNamespace(
        seed=0,
        device=CPU,
        task=task,
        architecture_rows=torch.arange(16),
        network=network.double(),
        architecture=made.double(),
        charge=lambda mixtures, passes: None,
    )


def whole_hessian(bench: Any, batch: Any) -> torch.Tensor:
    """Differentiate the loss twice by a flat vector of all parameters."""
    names = [name for name, _ in bench.architecture.named_parameters()]
    shapes = [p.shape for p in bench.architecture.parameters()]
    sizes = [p.numel() for p in bench.architecture.parameters()]
    buffers = dict(copy.deepcopy(bench.architecture).named_buffers())

    class Composed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.architecture, self.network = bench.architecture, copy.deepcopy(bench.network)

        def forward(self) -> torch.Tensor:
            outputs = self.network(batch[0], self.architecture.composed())
            return bench.task.loss(outputs, batch[1])

    module = Composed()

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = [p.view(s) for p, s in zip(flat.split(sizes), shapes, strict=True)]
        values = {f"architecture.{n}": p for n, p in zip(names, parts, strict=True)}
        return torch.func.functional_call(module, values)

    assert buffers
    flat = torch.cat([p.detach().flatten() for p in bench.architecture.parameters()])
    return torch.autograd.functional.hessian(loss, flat)


class TestEigenvalue:
    def batch(self, bench: Any) -> Any:
        inputs, targets = bench.task.batch(bench.task.train, torch.arange(16))
        return inputs.double(), targets

    def test_a_product_is_that_of_the_whole_hessian(self, bench) -> None:
        batch = self.batch(bench)
        hessian = whole_hessian(bench, batch)
        parameters = list(bench.architecture.parameters())
        vector = torch.randn(len(hessian), dtype=torch.float64)
        given = hessian_vector(bench, batch, parameters, vector)
        torch.testing.assert_close(given, hessian @ vector, rtol=1e-9, atol=1e-12)

    def test_power_iteration_finds_the_eigenvalue_of_largest_magnitude(self, bench) -> None:
        class Double(type(bench.task)):  # type: ignore[misc]
            def batch(self, split, indices, generator=None):
                inputs, targets = super().batch(split, indices, generator)
                return inputs.double(), targets

        given = SimpleNamespace(**vars(bench))
        given.task = Double(**vars(bench.task))
        one = rule("hessian", iterations=200)
        while not one.finished:
            one.advance(given)
        values = torch.linalg.eigvalsh(whole_hessian(bench, self.batch(bench)))
        largest = values[values.abs().argmax()]
        assert one.eigenvalue == pytest.approx(float(largest), rel=1e-4)

    def test_leaves_no_trace_in_the_network(self, bench) -> None:
        before = {k: v.clone() for k, v in bench.network.state_dict().items()}
        parameters = list(bench.architecture.parameters())
        vector = torch.ones(sum(p.numel() for p in parameters), dtype=torch.float64)
        hessian_vector(bench, self.batch(bench), parameters, vector)
        after = bench.network.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)


class Scripted(Stopping):
    """Ends with a verdict after a given epoch."""

    def __init__(self, epoch: int, back: int, memory: int):
        super().__init__(None)
        self.epoch, self.back, self._memory = epoch, back, memory

    @property
    def memory(self) -> int:
        return self._memory

    def decide(self, evidence: Evidence) -> int | None:
        return self.back if evidence.epoch == self.epoch else None


class TestEnding:
    @pytest.mark.parametrize(("back", "wanted"), [(0, 5), (2, 3), (3, 2)])
    def test_goes_back_to_the_architecture_of_so_many_epochs_before(
        self, bench, back: int, wanted: int
    ) -> None:
        arch = copy.deepcopy(bench.architecture)
        ending, past = Ending(Scripted(5, back, 3)), {}
        for epoch in range(1, 6):
            with torch.no_grad():
                arch.alpha["normal"].fill_(epoch)
            ending.ask(Evidence(epoch, cells(0)), arch)
            past[epoch] = arch.alpha["normal"].detach().clone()
            assert ending.stop(arch) == (epoch == 5)
        assert torch.equal(arch.alpha["normal"], past[wanted])
        assert len(ending.history) == 4

    def test_goes_no_further_back_than_what_it_has(self, bench) -> None:
        arch = copy.deepcopy(bench.architecture)
        ending = Ending(Scripted(2, 3, 3))
        for epoch in (1, 2):
            with torch.no_grad():
                arch.alpha["normal"].fill_(epoch)
            ending.ask(Evidence(epoch, cells(0)), arch)
        assert ending.stop(arch)
        assert arch.alpha["normal"].detach()[0, 0] == 1


def test_a_search_that_stops_early_keeps_what_the_rule_wants_and_is_done(make_task, drive) -> None:
    space = SPACES.load("darts")(nodes=2, operations=OPERATIONS)
    params = Darts.Params(
        epochs=8,
        channels=2,
        layers=2,
        batch_size=4,
        learning_rate=0.05,
        selection="argmax",
        watchdog=False,
    )
    task = make_task((1, 4, 4), n=16).without_test()
    program = Darts(space, task, params, seed=0, device=CPU)
    program.ending = Ending(Scripted(4, 2, 2))
    trace = drive(program, seconds=math.inf)
    assert max(m.epoch for m in trace.measurements) == program.epoch == 4
    assert trace.progress[-1] == 1
    second = {(w.cell, w.edge, w.operation): w.weight for w in trace.weights if w.epoch == 2}
    for w in program.architecture.rows(0):
        assert w.weight == second[w.cell, w.edge, w.operation]


class TestSchedule:
    def test_stages_share_the_epochs_and_each_has_a_warm_up_and_a_cosine_of_its_own(self) -> None:
        schedule = Schedule(epochs=12, own=0, stages=3, warmup=0.5)
        assert [schedule.stage(e) for e in range(12)] == [0] * 4 + [1] * 4 + [2] * 4
        assert [schedule.warms_up(e) for e in range(12)] == [True, True, False, False] * 3
        assert [schedule.share(e) for e in range(12)] == [0, 0.25, 0.5, 0.75] * 3

    def test_the_last_epochs_are_the_selection_s(self) -> None:
        schedule = Schedule(epochs=10, own=4, stages=2, warmup=0.0)
        assert [schedule.selecting(e) for e in range(10)] == [False] * 6 + [True] * 4
        assert [schedule.due(e) for e in range(6, 10)] == [0.25, 0.5, 0.75, 1.0]
        assert [schedule.stage(e) for e in range(10)] == [0] * 3 + [1] * 7
        shares = [schedule.share(e) for e in range(3, 10)]
        assert shares == pytest.approx([i / 7 for i in range(7)])

    def test_a_cosine_leads_from_the_first_rate_to_the_last(self) -> None:
        assert cosine(0.2, 0.0, 0.0) == 0.2
        assert cosine(0.2, 0.0, 0.5) == pytest.approx(0.1)
        assert cosine(0.2, 0.04, 1.0) == pytest.approx(0.04)


class TestStages:
    def test_each_keeps_the_strongest_operations_of_every_edge(self, make_task, drive) -> None:
        space = SPACES.load("darts")(nodes=2, operations=OPERATIONS)
        stages = [{"layers": 1}, {"layers": 2, "keep": 3}, {"layers": 3, "keep": 2}]
        params = Darts.Params(
            epochs=6, channels=2, batch_size=4, learning_rate=0.05, stages=stages, watchdog=False
        )
        task = make_task((1, 4, 4), n=16).without_test()
        program, depths, tables = Darts(space, task, params, seed=0, device=CPU), [], {}

        def look() -> None:
            depths.append((program.epoch, len(program.network.cells)))

        trace = drive(program, between=look)
        for epoch, depth in depths:
            assert depth == 1 + min(epoch, 5) // 2
        for w in trace.weights:
            tables.setdefault((w.epoch, w.cell, w.edge), {})[w.operation] = w.weight
        for (epoch, cell, edge), row in tables.items():
            left = {name for name, weight in row.items() if weight > 0}
            assert len(left) == (4, 3, 2)[(epoch - 1) // 2]
            assert left != {"none"}
            if epoch in (3, 5):
                before = tables[epoch - 1, cell, edge]
                real = max((n for n in before if n != "none"), key=before.__getitem__)
                ranked = sorted(before, key=before.__getitem__, reverse=True)
                assert left == set([real, *(n for n in ranked if n != real)][: len(left)])
