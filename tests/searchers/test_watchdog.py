"""The collapse watchdog: values by hand, and a derived network measured without a trace."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from search_space.genotype import Cell, Edge
from search_space.metric import ACCURACY, Metric
from search_space.mixture import Mixture
from search_space.spaces import SPACES
from search_space.supernet import TextbookSupernet
from searchers._watchdog import MOMENTUM, Inherited, discrete, gap, signs
from searchers.darts import Darts

CPU = torch.device("cpu")
OPERATIONS = ("none", "skip_connect", "sep_conv_3x3")


def cell(*operations: str) -> Cell:
    pairs = zip(operations[::2], operations[1::2], strict=True)
    nodes = tuple((Edge(a, 0), Edge(b, 1)) for a, b in pairs)
    return Cell(nodes, tuple(range(2, len(nodes) + 2)))


class TestSigns:
    def told(self, cells: dict[str, Cell], *tables: list[list[float]]) -> dict[str, float]:
        named = zip(("normal", "reduce"), map(torch.tensor, tables), strict=False)
        rows = signs(cells, dict(named))
        assert {split for split, _, _ in rows} == {"architecture"}
        return {name: value for _, name, value in rows}

    def test_skips_are_counted_among_the_edges_of_the_derived_cells(self) -> None:
        cells = {
            "normal": cell("skip_connect", "skip_connect", "sep_conv_3x3", "skip_connect"),
            "reduce": cell("sep_conv_3x3", "sep_conv_3x3", "sep_conv_3x3", "skip_connect"),
        }
        told = self.told(cells, [[0.5, 0.5]])
        assert told["skip_share_normal"] == 3 / 4
        assert told["skip_share_reduce"] == 1 / 4
        assert told["skip_share"] == 4 / 8

    def test_entropy_is_one_where_all_weigh_the_same_and_zero_where_one_has_all(self) -> None:
        cells = {"normal": cell("sep_conv_3x3", "sep_conv_3x3")}
        even, single = [0.25] * 4, [0.0, 1.0, 0.0, 0.0]
        assert self.told(cells, [even])["entropy"] == pytest.approx(1)
        assert self.told(cells, [single])["entropy"] == 0
        two = self.told(cells, [[0.5, 0.5, 0.0, 0.0]], [even])
        assert two["entropy"] == pytest.approx((0.5 + 1) / 2)

    def test_distance_from_uniform_is_half_the_sum_of_differences(self) -> None:
        cells = {"normal": cell("sep_conv_3x3", "sep_conv_3x3")}
        told = self.told(cells, [[0.7, 0.1, 0.1, 0.1], [0.25] * 4])
        assert told["distance_from_uniform"] == pytest.approx((0.45 + 0) / 2)

    def test_weights_are_taken_by_their_share_of_an_edge(self) -> None:
        """Those of a sigmoid and those with factors of edges don't sum to one."""
        cells = {"normal": cell("sep_conv_3x3", "sep_conv_3x3")}
        one = self.told(cells, [[0.1, 0.2, 0.3, 0.4]])
        assert self.told(cells, [[0.2, 0.4, 0.6, 0.8]]) == pytest.approx(one)
        assert self.told(cells, [[0.1, 0.2, 0.3, 0.4], [0.0] * 4]) == pytest.approx(one)


def test_the_gap_is_positive_where_deriving_loses_in_either_direction() -> None:
    assert gap(ACCURACY, supernet=0.9, derived=0.7) == pytest.approx(0.2)
    error = Metric("error", False, lambda outputs, targets: 0.0)
    assert gap(error, supernet=0.1, derived=0.4) == pytest.approx(0.3)


@pytest.fixture
def supernet(make_task):
    """A trained supernet with two nodes, its task, and two derived cells."""
    torch.manual_seed(0)
    task = make_task((1, 6, 5), n=30)
    network = TextbookSupernet(task, operations=OPERATIONS, nodes=2, channels=4, layers=4)
    inputs, _ = task.batch(task.train, torch.arange(30))
    for _ in range(3):
        network(inputs)
    cells = {
        "normal": cell("skip_connect", "sep_conv_3x3", "sep_conv_3x3", "sep_conv_3x3"),
        "reduce": cell("sep_conv_3x3", "skip_connect", "skip_connect", "sep_conv_3x3"),
    }
    return network, task, discrete(OPERATIONS, cells, CPU)


def run(work: Inherited, network: nn.Module, mixtures: dict[str, Mixture]) -> tuple[float, float]:
    while not work.finished:
        work.advance(network, mixtures)
    return work.results()


class TestInherited:
    def test_is_the_network_with_statistics_that_are_the_mean_over_the_batches(
        self, supernet, small_evaluations
    ) -> None:
        network, task, mixtures = supernet
        rows = torch.randperm(30, generator=torch.Generator().manual_seed(1))[:24]
        score, loss = run(Inherited(task, rows, 8, seed=0), network, mixtures)

        oracle = copy.deepcopy(network)
        norms = [m for m in oracle.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's own mean over batches
        for part in rows.split(8):
            oracle(task.batch(task.train, part)[0], mixtures)
        inputs, targets = task.batch(task.valid, torch.arange(30))
        with torch.no_grad():
            outputs = oracle.eval()(inputs, mixtures)
        assert score == task.score(outputs, targets)
        assert loss == pytest.approx(float(task.loss(outputs, targets)), rel=1e-5)

    def test_leaves_no_trace_in_the_network(self, supernet) -> None:
        network, task, mixtures = supernet
        before = copy.deepcopy(network.state_dict())
        run(Inherited(task, torch.arange(24), 8, seed=0), network, mixtures)
        after = network.state_dict()
        assert [name for name in before if not torch.equal(before[name], after[name])] == []
        assert network.training

    def test_a_network_that_is_derived_already_is_about_as_good_as_it_was(self, supernet) -> None:
        """Trained as the derived network itself: what is measured anew is what it had."""
        network, task, mixtures = supernet
        inputs, targets = task.batch(task.train, torch.arange(30))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        for _ in range(40):
            optimizer.zero_grad()
            task.loss(network(inputs, mixtures), targets).backward()
            optimizer.step()
        task = dataclasses.replace(task, valid=task.train)
        score, _ = run(Inherited(task, torch.arange(30), 10, seed=0), network, mixtures)
        with torch.no_grad():
            outputs = network(inputs, mixtures)  # by the statistics of the batch itself
        assert score == pytest.approx(task.score(outputs, targets), abs=0.1)
        assert score > 0.8

    def test_the_weight_of_a_batch_in_running_statistics_is_the_one_of_every_batch_norm(
        self, supernet
    ) -> None:
        norms = [m for m in supernet[0].modules() if isinstance(m, nn.BatchNorm2d)]
        assert {norm.momentum for norm in norms} == {MOMENTUM}

    def test_it_has_at_most_sixteen_batches_and_one_at_least(self, make_task) -> None:
        task = make_task((1, 6, 5), n=60)
        assert len(Inherited(task, torch.arange(60), 2, seed=0).batches) == 16
        (whole,) = Inherited(task, torch.arange(5), 8, seed=0).batches
        assert len(whole) == 5


def test_channels_go_round_the_chosen_edges_only() -> None:
    chosen = {"normal": cell("skip_connect", "sep_conv_3x3", "sep_conv_3x3", "skip_connect")}
    (mixture,) = discrete(OPERATIONS, chosen, CPU).values()
    assert mixture.bypass is not None
    assert mixture.bypass.tolist() == [1, 1, 1, 1, 0]


def test_a_search_reports_the_gap_between_what_it_reports(make_task, drive) -> None:
    space = SPACES.load("darts")(nodes=2, operations=OPERATIONS)
    params = Darts.Params(
        epochs=3, channels=2, layers=3, batch_size=4, learning_rate=0.1, selection="argmax"
    )
    task = make_task((1, 4, 4), n=24).without_test()
    trace = drive(Darts(space, task, params, seed=0, device=CPU), seconds=math.inf)
    for epoch in (1, 2, 3):
        told = {m.name: m.value for m in trace.measurements if m.epoch == epoch}
        assert told["discretisation_gap"] == pytest.approx(
            told["accuracy"] - told["derived_accuracy"]
        )
        assert 0 <= told["skip_share"] <= 1
        assert 0 <= told["entropy"] <= 1
    assert [m.name for m in trace.measurements][-1] == "accuracy"


def test_once_it_prunes_the_gap_is_to_the_supernet_as_it_was_before(make_task, drive) -> None:
    space = SPACES.load("darts")(nodes=2, operations=OPERATIONS)
    prune = {"name": "prune", "share": 0.8, "tuning": 0.5}
    params = Darts.Params(
        epochs=5, channels=2, layers=3, batch_size=4, learning_rate=0.1, selection=prune
    )
    task = make_task((1, 4, 4), n=24).without_test()
    trace = drive(Darts(space, task, params, seed=0, device=CPU), seconds=math.inf)
    told = [
        {m.name: m.value for m in trace.measurements if m.epoch == epoch} for epoch in range(1, 6)
    ]
    mixed = told[0]["accuracy"]
    for row in told:
        assert row["discretisation_gap"] == pytest.approx(mixed - row["derived_accuracy"])
    # Two of four epochs drop operations. What is left then trains as itself, and is the derived.
    assert [row["derived_accuracy"] == row["accuracy"] for row in told[2:]] == [True] * 3
    assert [row["entropy"] == 0 for row in told] == [False, False, True, True, True]
