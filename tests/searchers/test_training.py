"""Training of one network: against steps written by hand, and stopped where it hurts."""

from __future__ import annotations

import copy
import dataclasses
import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_space.augmentation import Mirror, Shift
from search_space.baselines import BASELINES
from search_space.cost import cost
from search_space.network import CellNetwork
from search_space.spaces import SPACES
from search_space.task import Task, weighted_classes
from searchers._training import Training, TrainingParams, learning_rate, planned_compute

CPU = torch.device("cpu")
KINDS = ("classes", "multilabel", "regression", "dense")


def train(build: Any, task: Task, seed: int = 0, **params: Any) -> Training:
    return Training(build, task, TrainingParams(**params), seed=seed, device=CPU)


def linear(task: Task) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.shape), task.output.size))


class TestEverythingAtOnce:
    """A searched network with drop-path, auxiliary head and dropout, on augmented images."""

    POINTS = (
        (1, "in the middle of the first epoch"),
        (2, "between an epoch's training and its validation"),
        (3, "in the middle of a validation pass"),
        (4, "at the end of an epoch"),
        (5, "in the middle of an epoch in which paths are dropped"),
        (11, "in the middle of the last validation pass"),
        (12, "between the last epoch and the test"),
        (13, "in the middle of the test pass"),
        (14, "when it is done"),
    )

    @pytest.fixture
    def make(self, make_task, small_evaluations):
        task = make_task((2, 32, 32), n=10)
        four = torch.arange(4)
        task = dataclasses.replace(
            task,
            valid=task.valid.rows(four),
            test=task.test.rows(four),
            augmentation=(Mirror(0), Shift(2)),
        )
        space = SPACES.load("darts")(nodes=2, operations=("skip_connect", "sep_conv_3x3"))
        genotype = space.sample(random.Random(1))

        def build() -> nn.Module:
            network = space.build(genotype, task, channels=2, layers=3, auxiliary=True)
            assert network.auxiliary_layer == 2
            network.head = nn.Sequential(nn.Dropout2d(0.2), network.head)
            return network

        return lambda seed=1: train(build, task, seed, epochs=3, batch_size=4, drop_path=0.5)

    def test_goes_on_from_every_point_like_the_unbroken_run(
        self, make, drive, resume, differences
    ) -> None:
        whole = drive(make(), states=True)
        assert len(whole.states) == self.POINTS[-1][0]
        for steps, point in self.POINTS:
            again = drive(resume(make(2), whole.states[steps - 1]))
            assert again.progress == whole.progress[steps:], point
            done = [m for m in whole.measurements if m.epoch <= steps // 4]
            assert differences(whole.end["state"], again.end["state"]) == [], point
            assert differences(whole.outcome, again.outcome) == [], point
            assert done + again.measurements == whole.measurements, point

    def test_every_source_of_chance_is_in_it_and_is_the_seed_s(
        self, make, drive, differences, monkeypatch
    ) -> None:
        used = set()

        def watch(name: str) -> None:
            original = getattr(torch.nn.functional, name)

            def watched(*arguments: Any, **options: Any) -> Any:
                used.add(name)
                return original(*arguments, **options)

            monkeypatch.setattr(torch.nn.functional, name, watched)

        watch("dropout2d")
        dropped = []
        original = torch.Tensor.bernoulli_
        monkeypatch.setattr(
            torch.Tensor,
            "bernoulli_",
            lambda self, p: (dropped.append(p), original(self, p))[1],
        )
        first, second = drive(make(1)), drive(make(1))
        assert differences(first.end, second.end) == []
        assert used == {"dropout2d"}
        # Epochs 1, 2 and 3 of 3 drop 0, 1/3 and 2/3 of the final probability.
        assert sorted(set(dropped)) == pytest.approx([1 - 0.5 * 2 / 3, 1 - 0.5 / 3])


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("clip", [1e9, 0.05])
def test_steps_are_those_of_nesterov_s_momentum_written_by_hand(
    make_task, recorded, drive, momentum: float, clip: float
) -> None:
    """Sutskever et al. 2013 as torch documents it: v = m v + g, w = w - rate (g + m v)."""
    task, batches = recorded(make_task((2, 5), "regression", n=12))
    params = TrainingParams(
        epochs=2, batch_size=4, momentum=momentum, clip=clip, weight_decay=0.1, warmup=0.3
    )
    program = train(lambda: linear(task).double(), task, **params.model_dump())
    network = copy.deepcopy(program.network)
    velocities = [torch.zeros_like(w) for w in network.parameters()]
    drive(program)
    assert len(batches) == 6
    for i, (_, inputs, targets) in enumerate(batches):
        share = (i + 0.5) / 6
        rate = 0.05 * share / 0.3
        if share >= 0.3:
            rate = 0.05 * (1 + math.cos(math.pi * (share - 0.3) / 0.7)) / 2
        weights = list(network.parameters())
        loss = (network(inputs) - targets).square().mean()
        gradients = torch.autograd.grad(loss, weights)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        with torch.no_grad():
            for w, g, v in zip(weights, gradients, velocities, strict=True):
                g = g * min(1.0, clip / (float(norm) + 1e-6)) + 0.1 * w
                v.mul_(momentum).add_(g)
                w -= rate * (g + momentum * v)
    for w, wanted in zip(program.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(w, wanted, rtol=1e-12, atol=1e-14)


def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine_to_zero() -> None:
    params = TrainingParams(learning_rate=0.4, warmup=0.2)
    rates = {share: learning_rate(params, share) for share in (0, 0.1, 0.2, 0.4, 0.6, 1)}
    assert rates == pytest.approx(
        {0: 0, 0.1: 0.2, 0.2: 0.4, 0.4: 0.2 * (1 + math.sqrt(0.5)), 0.6: 0.2, 1: 0}, abs=1e-12
    )
    assert learning_rate(TrainingParams(learning_rate=0.4, warmup=0), 0) == 0.4


def test_every_batch_has_the_learning_rate_of_its_middle(make_task, drive) -> None:
    task = make_task((2, 5), n=12)
    program = train(lambda: linear(task), task, epochs=3, batch_size=4, warmup=0.25)
    rates: list[float] = []
    program.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    drive(program)
    wanted = [learning_rate(program.params, (i + 0.5) / 9) for i in range(9)]
    assert rates == pytest.approx(wanted, rel=1e-12)
    assert rates[2] == max(rates)


def test_an_auxiliary_head_counts_as_much_as_it_is_told_to(make_task, drive) -> None:
    task = make_task((2, 5), n=4)
    torch.manual_seed(0)
    main, extra = linear(task), linear(task)

    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.extra = copy.deepcopy(main), copy.deepcopy(extra)

        def forward(self, x: Tensor) -> Any:
            return (self.main(x), self.extra(x)) if self.training else self.main(x)

    program = train(Double, task, epochs=1, batch_size=4, auxiliary=0.3, clip=1e9)
    gradients = {}
    program.optimizer.register_step_pre_hook(
        lambda *_: gradients.update(
            {name: w.grad.clone() for name, w in program.network.named_parameters()}
        )
    )
    drive(program)
    inputs, targets = task.batch(task.train, torch.arange(4))
    for name, alone, weight in (("main", main, 1.0), ("extra", extra, 0.3)):
        task.loss(alone(inputs), targets).backward()
        wanted = weight * alone[1].weight.grad
        torch.testing.assert_close(gradients[f"{name}.1.weight"], wanted)


def test_measurements_are_the_losses_and_the_metric_of_whole_splits(make_task, drive) -> None:
    """With a learning rate of nearly nothing the training loss is that of the first weights."""
    task = make_task((2, 5), "regression", n=11)
    program = train(lambda: linear(task), task, epochs=2, batch_size=11, learning_rate=1e-30)
    with torch.no_grad():
        everything = [task.batch(s, torch.arange(11)) for s in (task.train, task.valid, task.test)]
        outputs = [program.network(inputs) for inputs, _ in everything]
    losses = [float((o - t).square().mean()) for o, (_, t) in zip(outputs, everything, strict=True)]
    scores = [task.score(o, t) for o, (_, t) in zip(outputs, everything, strict=True)]
    trace = drive(program)
    found = [(m.step, m.epoch, m.split, m.name) for m in trace.measurements]
    rows = (("train", "loss"), ("valid", "loss"), ("valid", "R2"))
    assert found == [(epoch, epoch, *row) for epoch in (1, 2) for row in rows]
    values = [m.value for m in trace.measurements]
    assert values == pytest.approx([losses[0], losses[1], scores[1]] * 2, rel=1e-5)
    assert trace.outcome.score == pytest.approx(scores[1], rel=1e-5)
    assert trace.outcome.test == pytest.approx(scores[2], rel=1e-5)


def test_further_metrics_are_recorded_and_the_tasks_own_comes_last(make_task, drive) -> None:
    """So does what people watch stay the metric that counts."""
    task = make_task((2, 5), "classes", n=12)
    output = weighted_classes((1.0, 2.0, 1.0), task.train.targets)
    task = dataclasses.replace(task, output=output)
    trace = drive(train(lambda: linear(task), task, epochs=2, batch_size=4))
    found = [(m.epoch, m.split, m.name) for m in trace.measurements]
    names = ["loss", "accuracy", "weighted log loss"]
    rows = [("train", "loss"), *(("valid", name) for name in names)]
    expected = [(epoch, *row) for epoch in (1, 2) for row in rows]
    assert found == [*expected, (2, "test", "accuracy")]
    assert trace.outcome.score == trace.measurements[-2].value
    network = trace.program.network.eval()
    for split, name, value in (
        (task.valid, "accuracy", trace.measurements[-3].value),
        (task.valid, "weighted log loss", trace.outcome.score),
        (task.test, "accuracy", trace.measurements[-1].value),
        (task.test, "weighted log loss", trace.outcome.test),
    ):
        inputs, targets = task.batch(split, torch.arange(12))
        with torch.no_grad():
            assert task.measure(network(inputs), targets)[name] == pytest.approx(value, rel=1e-5)


def test_the_score_is_of_the_last_epoch_even_if_an_earlier_one_was_better(make_task, drive) -> None:
    """Choosing the best epoch by the validation split would make its score too good."""
    task = make_task((2, 5), "regression", n=12)
    program = train(lambda: linear(task), task, epochs=6, batch_size=4, learning_rate=0.3)
    scores = []

    def evaluate() -> None:
        if program.batches.position == 0:
            inputs, targets = task.batch(task.valid, torch.arange(12))
            with torch.no_grad():
                scores.append(task.score(program.network(inputs), targets))

    trace = drive(program, between=evaluate)
    found = [m.value for m in trace.measurements if m.name == "R2"]
    assert found == pytest.approx(scores[:6], rel=1e-5)
    assert max(found) > found[-1] + 0.01
    assert trace.outcome.score == found[-1]


def test_the_test_split_is_read_once_after_the_last_epoch(make_task, drive, monkeypatch) -> None:
    task = make_task((2, 5), n=8)
    program = train(lambda: linear(task), task, epochs=3, batch_size=4)
    read = []
    original = Task.batch

    def recorded(self: Task, split: Any, *arguments: Any) -> Any:
        if split is program.task.test:
            read.append(program.epoch)
        return original(self, split, *arguments)

    monkeypatch.setattr(Task, "batch", recorded)
    drive(program)
    assert read == [3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_of_a_million_is_a_divergence_and_no_error(
    make_task, drive, kind: str
) -> None:
    task = make_task((1, 4, 5), kind, n=64)
    space = SPACES.load("darts")(nodes=1, operations=("skip_connect", "sep_conv_3x3"))
    genotype = space.sample(random.Random(0))
    for seconds in (0, math.inf):
        program = train(
            lambda: space.build(genotype, task, channels=2, layers=2),
            task,
            epochs=5,
            batch_size=4,
            learning_rate=1e6,
        )
        outcome = drive(program, seconds=seconds).outcome
        assert outcome.diverged
        assert math.isnan(outcome.score)
        assert math.isnan(outcome.test)


def test_only_a_search_cell_network_drops_paths_and_a_plain_one_is_left_alone(
    make_task, drive
) -> None:
    task = make_task((2, 5), n=8)
    program = train(lambda: linear(task), task, epochs=2, batch_size=4, drop_path=0.5)
    drive(program)
    assert not isinstance(program.network, CellNetwork)
    assert not hasattr(program.network, "drop_path")


@pytest.mark.parametrize("name", ["tiny_resnet", "vgg11"])
def test_a_step_really_costs_three_forward_passes_but_for_the_gradient_of_the_inputs(
    make_task, name: str
) -> None:
    task = make_task((2, 8, 8), n=6)
    network = BASELINES.load(name)(task)
    inputs, targets = task.batch(task.train, torch.arange(6))
    with FlopCounterMode(display=False) as counter:
        task.loss(network(inputs), targets).backward()
    stem = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    of_the_inputs = 6 * 64 * stem.weight.numel()
    planned = planned_compute(cost(network, task).multiply_adds, task, TrainingParams(epochs=1))
    validation = 6 * cost(network, task).multiply_adds
    assert counter.get_total_flops() / 2 + of_the_inputs == planned - validation


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_lower_precision_is_by_request_and_in_the_training_pass_only(
    make_task, drive, precision: str
) -> None:
    task, seen = make_task((2, 6, 6)), set()
    program = train(lambda: linear(task), task, epochs=1, batch_size=8, precision=precision)
    program.network[1].register_forward_hook(
        lambda module, inputs, output: seen.add((module.training, output.dtype))
    )
    drive(program)
    assert seen == {(True, getattr(torch, precision)), (False, torch.float32)}
    assert all(p.dtype == torch.float32 for p in program.network.parameters())
