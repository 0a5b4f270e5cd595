"""Passes over data: every row once, in batches of one size, from where the last stop was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from searchers._passes import EVALUATION_BATCH, Evaluation, Pass


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rest(batches: Pass) -> list[Tensor]:
    """Hand out what is left of a pass."""
    handed = []
    while not batches.finished:
        handed.append(batches.next())
    return handed


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 31, 63, 64, 65, 200])
@pytest.mark.parametrize("batch_size", [2, 3, 16, 64])
def test_a_pass_hands_out_every_row_once_in_batches_that_differ_by_at_most_one(
    n: int, batch_size: int
) -> None:
    rows = torch.arange(n) * 5 + 2
    batches = Pass(rows, batch_size, seeded(n))
    for _ in range(3):
        handed = rest(batches)
        sizes = [len(batch) for batch in handed]
        assert len(handed) == batches.length
        assert sorted(torch.cat(handed).tolist()) == rows.tolist()
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= min(n, batch_size)
        assert max(sizes) < 2 * max(n, batch_size)
        assert len(handed) == max(1, n // batch_size)
        batches.restart()


def test_every_pass_has_an_order_of_its_own_that_the_generator_decides() -> None:
    orders = []
    for seed in (1, 1, 2):
        batches = Pass(torch.arange(50), 8, seeded(seed))
        first = torch.cat(rest(batches)).tolist()
        batches.restart()
        orders.append((first, torch.cat(rest(batches)).tolist()))
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]
    assert orders[0][0] != orders[2][0]
    assert sorted(orders[0][0]) != orders[0][0]


@pytest.mark.parametrize("position", range(6))
def test_a_pass_goes_on_from_any_batch_without_its_generator(position: int) -> None:
    batches = Pass(torch.arange(23), 4, seeded(1))
    for _ in range(position):
        batches.next()
    other = Pass(torch.arange(23), 4, seeded(2))
    other.load_state_dict(batches.state_dict())
    assert other.finished == (position == 5)
    assert [b.tolist() for b in rest(other)] == [b.tolist() for b in rest(batches)]


def test_the_state_of_a_pass_is_not_changed_by_going_on() -> None:
    batches = Pass(torch.arange(23), 4, seeded(1))
    batches.next()
    state = batches.state_dict()
    order = state["order"].tolist()
    rest(batches)
    batches.restart()
    assert (state["position"], state["order"].tolist()) == (1, order)


class Watched(nn.Module):
    """Batch norm and dropout in front of a linear layer: what training mode would change."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(3)
        )
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        assert not torch.is_grad_enabled()
        return self.body(x)


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (3, [3]),
        (EVALUATION_BATCH, [EVALUATION_BATCH]),
        (2 * EVALUATION_BATCH + 1, [EVALUATION_BATCH, EVALUATION_BATCH, 1]),
    ],
)
@pytest.mark.parametrize("kind", ["classes", "multilabel", "regression"])
def test_an_evaluation_is_of_the_whole_split_at_once_in_evaluation_mode(
    make_task, n: int, sizes: list[int], kind: str
) -> None:
    task = make_task((2, 5), kind, n=n)
    torch.manual_seed(0)
    network = Watched()
    evaluation = Evaluation(task, task.valid)
    while not evaluation.finished:
        evaluation.advance(network)
        assert network.training
    assert network.sizes == sizes
    with torch.no_grad():
        inputs, targets = task.batch(task.valid, torch.arange(n))
        outputs = network.body.eval()(inputs)
    wanted = task.score(outputs, targets), float(task.loss(outputs, targets))
    assert evaluation.results() == pytest.approx(wanted, rel=1e-6)
    measured = {"loss": wanted[1], task.metric.name: wanted[0]}
    assert evaluation.measured() == pytest.approx(measured, rel=1e-6)
    assert list(evaluation.measured())[-1] == task.metric.name


def test_an_evaluation_leaves_running_statistics_alone_and_is_not_augmented(make_task) -> None:
    def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
        raise AssertionError("a validation example was augmented")

    task = make_task((2, 5))
    object.__setattr__(task, "augmentation", (augment,))
    network = Watched()
    Evaluation(task, task.valid).advance(network)
    assert network.body[0].num_batches_tracked == 0


def test_an_evaluation_goes_on_where_another_one_stopped(make_task, small_evaluations) -> None:
    task = make_task((2, 5), n=8)
    network = Watched()
    whole, first, second = (Evaluation(task, task.valid) for _ in range(3))
    while not whole.finished:
        whole.advance(network)
    first.advance(network)
    second.load_state_dict(first.state_dict())
    for evaluation in (first, second):
        while not evaluation.finished:
            evaluation.advance(network)
        assert evaluation.results() == whole.results()


def test_an_evaluation_that_is_restarted_has_forgotten_everything(make_task) -> None:
    task = make_task((2, 5))
    evaluation = Evaluation(task, task.valid)
    evaluation.advance(Watched())
    assert evaluation.finished
    evaluation.restart()
    assert not evaluation.finished
    assert evaluation.outputs == []
