"""Defaults that adapt: closed forms, ranges on many shapes, and the same numbers everywhere."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from search_space.cost import cost
from search_space.mixture import Mixture
from search_space.spaces import SPACES
from search_space.supernet import TextbookSupernet
from search_space.task import Split, Task, classes
from searchers import _adaptation as adaptation
from searchers import _rates as rates
from searchers._prices import Shape, example_bytes, prices
from searchers._rates import RangeTest, choose, exploded, rate_at
from searchers._recipe import completed
from searchers.darts import Darts

CPU = torch.device("cpu")
DEFAULT = Shape(SPACES.load("darts")().operations, 4, 8, 5, 1)
SHAPES = ((2, 11), (12, 256), (1, 8, 8), (1, 28, 28), (1, 9, 10), (3, 128, 96))
KINDS = ("classes", "multilabel", "regression", "dense")


class TestLossScale:
    def test_of_classes_is_the_entropy_of_their_shares(self, make_task) -> None:
        task = make_task((1, 4), "classes", n=40, size=4)
        targets = torch.tensor([0] * 20 + [1] * 10 + [2] * 6 + [3] * 4)
        task = dataclasses.replace(task, train=Split(task.train.inputs, targets))
        shares = [0.5, 0.25, 0.15, 0.1]
        entropy = -sum(p * math.log(p) for p in shares)
        assert adaptation.loss_scale(task) == pytest.approx(entropy, rel=1e-5)

    def test_of_labels_is_their_mean_binary_entropy(self, make_task) -> None:
        task = make_task((1, 4), "multilabel", n=40, size=2)
        targets = torch.zeros(40, 2)
        targets[:10, 0] = targets[:32, 1] = 1
        task = dataclasses.replace(task, train=Split(task.train.inputs, targets))
        binary = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in (0.25, 0.8)]
        assert adaptation.loss_scale(task) == pytest.approx(sum(binary) / 2, rel=1e-5)

    def test_of_standardised_numbers_is_one(self, make_task) -> None:
        assert adaptation.loss_scale(make_task((1, 4), "regression", n=40)) == pytest.approx(1)

    def test_of_dense_numbers_is_the_mean_of_their_variances(self, make_task) -> None:
        assert adaptation.loss_scale(make_task((2, 6, 5), "dense", n=20)) == pytest.approx(1)

    def test_is_not_less_than_a_tenth_where_nearly_all_are_alike(self, make_task) -> None:
        task = make_task((1, 4), "classes", n=40)
        targets = torch.zeros(40, dtype=torch.int64)
        task = dataclasses.replace(task, train=Split(task.train.inputs, targets))
        assert adaptation.loss_scale(task) == 0.1

    def test_of_targets_that_no_loss_can_take_is_one(self, make_task) -> None:
        task = make_task((1, 4), "regression", n=8)
        targets = torch.full((8, 3), 1e30)
        targets[0] = -1e38
        targets[1] = 3e38
        task = dataclasses.replace(
            task,
            train=Split(task.train.inputs, targets),
            target_scale=dataclasses.replace(task.target_scale, deviation=(1e-9,), mean=(0.0,)),
        )
        assert adaptation.loss_scale(task) == 1.0

    def test_scaled_losses_begin_near_one(self, make_task) -> None:
        task = make_task((1, 6, 5), "classes", n=64, size=8)
        network = nn.Sequential(nn.Flatten(), nn.Linear(30, 8))
        nn.init.zeros_(network[1].weight)
        inputs, targets = task.batch(task.train, torch.arange(64))
        loss = float(task.loss(network(inputs), targets).detach()) / adaptation.loss_scale(task)
        assert loss == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("steps", "batches", "wanted"),
    [(2000, 200, 10), (2000, 201, 10), (2000, 10, 50), (2000, 40, 50), (2000, 900, 5), (50, 7, 8)],
)
def test_epochs_make_the_steps_from_5_to_50(steps: int, batches: int, wanted: int) -> None:
    assert adaptation.epochs(steps, batches) == wanted


def test_the_architecture_moves_as_far_as_in_the_paper() -> None:
    assert adaptation.architecture_rate(19_500) == 3e-4
    assert adaptation.architecture_rate(40_000) == 3e-4
    assert adaptation.architecture_rate(1950) == pytest.approx(3e-3)
    assert adaptation.architecture_rate(100) == 1e-2


class TestBatchSize:
    def make(self, shape: tuple[int, ...]) -> Task:
        split = Split(torch.zeros(4, *shape), torch.arange(4))
        return Task.of("made", DIGITS, split, split, split)

    def size(self, task: Task, examples: int, gigabytes: float, **recipe: object) -> int:
        params = Darts.Params(memory_gb=gigabytes, **recipe)
        size = completed(params, SPACES.load("darts")(), task, examples).batch_size
        assert size is not None
        return size

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_is_64_where_memory_and_examples_allow(self, shape) -> None:
        assert self.size(self.make(shape), 10_000, 1000.0) == 64

    def test_is_smaller_where_an_epoch_would_have_fewer_than_ten_batches(self) -> None:
        task = self.make((1, 8, 8))
        assert self.size(task, 639, 4.0) == 63
        assert self.size(task, 150, 4.0) == 15
        assert self.size(task, 9, 4.0) == 2

    def test_halves_with_the_memory(self) -> None:
        task = self.make((3, 64, 64))
        one, half = (self.size(task, 10_000, g) for g in (4.0, 2.0))
        assert one < 64
        assert half in (one // 2, one // 2 + 1)
        assert self.size(task, 10_000, 4.0, order=2, second_order="exact") < one

    def test_is_that_of_the_largest_stage(self) -> None:
        task = self.make((3, 64, 64))
        deep = self.size(task, 10_000, 4.0, layers=17)
        stages = [{"layers": 5}, {"layers": 17, "keep": 4}]
        assert deep < self.size(task, 10_000, 4.0, stages=stages) < self.size(task, 10_000, 4.0)

    @pytest.mark.parametrize("partial", [1, 2])
    @pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
    def test_the_estimate_is_what_a_forward_pass_keeps_and_half_as_much_again(
        self, shape, partial: int
    ) -> None:
        task, made = self.make(shape), dataclasses.replace(DEFAULT, partial=partial)
        estimate = example_bytes(task, made) / 1.5
        assert estimate == pytest.approx(kept_bytes(task, made), rel=0.3)


DIGITS = classes(10)


def kept_bytes(task: Task, shape: Shape) -> float:
    """Count what autograd keeps of one example for a backward pass through the textbook."""
    with torch.device("meta"):
        network = TextbookSupernet(task, **vars(shape))
        own = {p.untyped_storage()._cdata for p in network.parameters()}
        kept = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            mixtures = network.uniform()
            for mixture in mixtures.values():
                mixture.weights.requires_grad_()
            network(torch.zeros(16, *task.shape), mixtures)
    return sum(storage.nbytes() for storage in kept.values()) / 16


class TestPrices:
    @pytest.mark.parametrize("partial", [1, 2])
    @pytest.mark.parametrize("shape", [(2, 21), (1, 9, 13), (1, 2, 2)], ids=str)
    def test_of_some_operations_are_what_a_pass_with_them_costs(
        self, make_task, shape, partial: int
    ) -> None:
        task = make_task(shape)
        made = Shape(DEFAULT.operations, 2, 4, 3, partial)
        network = TextbookSupernet(task, **vars(made))
        generator = torch.Generator().manual_seed(0)
        choices = [
            tuple(torch.randperm(8, generator=generator)[: int(k)].tolist())
            for k in torch.randint(0, 8, (5,), generator=generator)
        ]
        mixture = Mixture.only(choices, torch.ones(5, 8))
        mixtures = {"normal": mixture, "reduce": network.uniform()["reduce"]}

        class Part(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                on = {k: Mixture(m.weights.to(x), None, m.active) for k, m in mixtures.items()}
                return self.network(x, on)

        found = prices(task, made)
        assert found.of(mixtures) == cost(Part(), task).multiply_adds
        assert found.of(network.uniform()) == cost(network, task).multiply_adds


def range_test(network: nn.Module, loss: Any, momentum: float = 0.0) -> RangeTest:
    generator, rows = torch.Generator().manual_seed(0), torch.arange(16)
    options = {"momentum": momentum, "weight_decay": 0.0, "clip": 5.0}
    return RangeTest(network, rows, 8, loss, generator, **options)


class TestRangeTest:
    def test_rates_grow_by_a_constant_factor_from_1e_4_to_1(self) -> None:
        found = [rate_at(step) for step in range(rates.STEPS)]
        assert found[0] == 1e-4
        assert found[-1] == pytest.approx(1)
        factors = [b / a for a, b in itertools.pairwise(found)]
        assert factors == pytest.approx([factors[0]] * len(factors))

    def test_the_rate_is_a_tenth_of_the_largest_before_the_loss_explodes(self) -> None:
        # One loss of 9 lifts the smoothed mean to 1 + 0.2 * 8, which is over twice the first ones.
        losses = [1.0] * 30 + [9.0]
        assert choose(losses) == pytest.approx(rate_at(29) / 10)

    def test_a_single_bad_batch_is_no_explosion(self) -> None:
        losses = [1.0] * 15 + [4.0] + [1.0] * 20
        assert not any(exploded(losses[: step + 1]) for step in range(len(losses)))
        assert choose(losses) == 0.1

    @pytest.mark.parametrize(
        ("losses", "wanted"),
        [
            ([math.nan], 5e-3),
            ([1.0, math.inf], 5e-3),
            ([1.0] * 7 + [9.0, 9.0], 5e-3),
            ([1.0 - 0.02 * i for i in range(36)], 0.1),
        ],
    )
    def test_the_rate_is_never_outside_what_is_allowed(self, losses, wanted: float) -> None:
        assert choose(losses) == wanted

    def test_puts_weights_and_running_statistics_back(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        before = {k: v.clone() for k, v in network.state_dict().items()}
        x, y = torch.randn(16, 3), torch.randn(16, 1)
        test = range_test(network, lambda rows, _: (network(x) - y)[rows].square().mean(), 0.9)
        while not test.finished:
            test.advance()
            if not test.finished:
                assert not torch.equal(network[0].weight, before["0.weight"])
        after = network.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert 5e-3 <= test.result() <= 0.1

    def test_ends_when_the_loss_explodes(self) -> None:
        network, calls = nn.Linear(1, 1), []

        def loss(rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            calls.append(1)
            return network(torch.ones(1, 1)).sum() * 0 + (1.0 if len(calls) < 20 else 9.0)

        test = range_test(network, loss)
        while not test.finished:
            test.advance()
        assert len(calls) == 20
        assert test.share == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 11), (1, 9, 10)], ids=str)
class TestASearchWithoutParameters:
    def search(self, make_task, shape, kind, seed: int = 0) -> Darts:
        space = SPACES.load("darts")(nodes=1, operations=("none", "skip_connect", "sep_conv_3x3"))
        task = make_task(shape, kind, n=90).without_test()
        return Darts(space, task, Darts.Params(channels=2, layers=2), seed=seed, device=CPU)

    def test_chooses_the_same_twice_and_within_range(self, make_task, drive, shape, kind) -> None:
        told = []
        for _ in range(2):
            program = self.search(make_task, shape, kind)
            while not program.announced:
                report = program.step()
            told.append({m.name: m.value for m in report.measurements if m.split == "settings"})
        assert told[0] == told[1]
        assert 5 <= told[0]["epochs"] <= 50
        assert 2 <= told[0]["batch_size"] <= 64
        assert 5e-3 <= told[0]["learning_rate"] <= 0.1
        assert 3e-4 <= told[0]["architecture_learning_rate"] <= 1e-2
        assert told[0]["loss_scale"] >= 0.1

    def test_its_range_test_leaves_no_trace_but_the_rate(self, make_task, shape, kind) -> None:
        program = self.search(make_task, shape, kind)
        before = program.state_dict()["alternation"]
        kept = {k: v.clone() for k, v in before["network"].items()}
        generators = program.generator.get_state(), program.alternation.generator.get_state()
        while program.rate is None:
            program._test_rates()
        after = program.network.state_dict()
        assert all(torch.equal(kept[name], after[name]) for name in kept)
        assert torch.equal(generators[0], program.generator.get_state())
        assert torch.equal(generators[1], program.alternation.generator.get_state())
