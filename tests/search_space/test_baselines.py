"""The baselines shelf: contracts over every entry, and published numbers."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from torch import nn
from torch.nn import functional

from search_space.baselines import BASELINES
from search_space.baselines import random_forest as random_forest_module
from search_space.baselines._adapt import Pool
from search_space.baselines._predictor import Predictor
from search_space.cost import cost
from search_space.task import Output, Split, Task, classes, weighted_classes

NETWORKS = [name for name in BASELINES.names() if not isinstance(BASELINES.load(name), type)]
PREDICTORS = [name for name in BASELINES.names() if name not in NETWORKS]
KINDS = ("classes", "multilabel", "regression", "dense")
SHAPES = ((2, 33), (3, 1), (3, 32, 32), (1, 9, 10), (3, 5, 7), (1, 3, 5), (2, 1, 1))
LARGE = ((2, 9001), (1, 70, 61), (3, 140, 130))


def build(name: str, task: Task, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return BASELINES.load(name)(task)


def train_rows(task: Task, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return task.batch(task.train, torch.arange(n))


def fit(name: str, task: Task, seed: int = 0, threads: int = 1) -> Predictor:
    predictor = BASELINES.load(name)(task, seed=seed, threads=threads)
    for _ in range(predictor.rounds):
        predictor.fit_round()
    return predictor


def task_of(shape: tuple[int, ...], output: Output) -> Task:
    """Return a task without data, for networks that are built and counted only."""
    nothing = Split(torch.empty(0), torch.empty(0))
    return Task("none", shape, output, nothing, nothing, None)


@pytest.mark.parametrize("name", BASELINES.names())
def test_every_baseline_says_what_it_is_in_one_line(name):
    assert BASELINES.describe(name).endswith(".")


class TestEveryNetwork:
    @pytest.mark.parametrize("name", NETWORKS)
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_takes_a_training_step_on_two_examples_of_any_shape(self, make_task, name, kind, shape):
        task = make_task(shape, kind)
        network = build(name, task)
        inputs, targets = train_rows(task, 2)
        loss = task.loss(network(inputs), targets)
        loss.backward()
        assert torch.isfinite(loss)
        for parameter, values in network.named_parameters():
            assert values.grad is not None, parameter
            assert torch.isfinite(values.grad).all(), parameter
        outputs = network.eval()(inputs[:1])
        assert outputs.shape == (1, 3, *(task.spatial if kind == "dense" else ()))

    @pytest.mark.parametrize("name", NETWORKS)
    @pytest.mark.parametrize("shape", LARGE, ids=str)
    def test_takes_large_inputs(self, make_task, name, shape):
        task = make_task(shape, "dense", n=2)
        inputs, _ = train_rows(task, 1)
        with torch.no_grad():
            assert build(name, task).eval()(inputs).shape == (1, 3, *task.spatial)

    @pytest.mark.parametrize("name", NETWORKS)
    def test_draws_all_its_chance_from_the_global_generator(self, make_task, name):
        task = make_task((1, 9, 10))
        inputs, _ = train_rows(task, 8)
        first, again, other = (build(name, task, seed) for seed in (3, 3, 4))
        weights = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights)
        assert not torch.equal(next(first.parameters()), next(other.parameters()))
        outputs = []
        for network in (first, again):
            torch.manual_seed(5)
            outputs.append(network(inputs))
        assert torch.equal(*outputs)

    @pytest.mark.parametrize("name", NETWORKS)
    @pytest.mark.parametrize("length", [33, 5000])
    def test_is_on_signals_what_it_is_on_images_of_one_row(self, make_task, name, length):
        """A kernel's middle row is all that meets an image of one row between zero padding."""
        signals, images = make_task((2, length), n=4), make_task((2, 1, length), n=4)
        on_signals, on_images = build(name, signals), build(name, images)
        weights = {
            key: value[:, :, value.shape[2] // 2] if value.dim() == 4 else value
            for key, value in on_images.state_dict().items()
        }
        on_signals.load_state_dict(weights)
        inputs, _ = train_rows(signals, 4)
        with torch.no_grad():
            torch.manual_seed(0)
            given = on_signals(inputs)
            torch.manual_seed(0)
            wanted = on_images(inputs.unsqueeze(2))
        torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("name", NETWORKS)
    def test_learns_an_easy_problem(self, make_task, name):
        task = make_task((1, 9, 10), "classes", n=16)
        inputs, targets = train_rows(task, 16)
        network = build(name, task)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            losses.append(task.loss(network(inputs), targets))
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < 0.5 * losses[0]


class TestPublishedNumbers:
    @pytest.mark.parametrize("shape", [(1, 9, 10), (1, 32, 80)], ids=str)
    def test_tiny_resnet_has_the_parameters_of_the_capstone(self, make_task, shape):
        task = make_task(shape, "regression", size=1)
        assert cost(build("tiny_resnet", task), task).parameters == 77_273

    @pytest.mark.parametrize(
        ("name", "shape", "n", "parameters", "giga_multiply_adds"),
        [
            # torchvision's weights: num_params and _ops.
            ("resnet18", (3, 224, 224), 1000, 11_689_512, 1.814),
            ("googlenet", (3, 224, 224), 1000, 6_624_904, 1.498),
            # torchvision's vgg11_bn less its three linear layers, and one in their place.
            ("vgg11", (3, 224, 224), 1000, 132_868_840 - 123_642_856 + 513_000, 7.609 - 0.123),
            # kuangliu/pytorch-cifar.
            ("resnet18", (3, 32, 32), 10, 11_173_962, 0.556),
            ("vgg11", (3, 32, 32), 10, 9_231_114, 0.153),
            # andreasveit/densenet-pytorch; 0.8 M in Huang et al. 2017, table 2.
            ("densenet_bc", (3, 32, 32), 10, 769_162, 0.288),
        ],
    )
    def test_cost_is_the_published_one(self, name, shape, n, parameters, giga_multiply_adds):
        task = task_of(shape, classes(n))
        found = cost(build(name, task), task)
        assert found.parameters == parameters
        assert found.multiply_adds / 1e9 == pytest.approx(giga_multiply_adds, abs=1e-3)

    @pytest.mark.parametrize(
        ("name", "published"),
        [
            ("resnet18", torchvision.models.resnet18),
            (
                "googlenet",
                partial(torchvision.models.GoogLeNet, aux_logits=False, init_weights=False),
            ),
            ("densenet_bc", partial(torchvision.models.DenseNet, 12, (16, 16, 16), 24)),
        ],
    )
    def test_at_224_pixels_it_computes_what_torchvision_does(self, name, published):
        network = build(name, task_of((3, 224, 224), classes(10)))
        self.assert_same(network, published(num_classes=10), torch.randn(2, 3, 224, 224))

    @pytest.mark.parametrize("size", [32, 224])
    def test_vgg11_has_the_feature_maps_of_torchvision(self, size):
        network = build("vgg11", task_of((3, size, size), classes(10)))
        with torch.device("meta"):
            features = torchvision.models.vgg11_bn().features
        average = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)
        reference = nn.Sequential(features.to_empty(device="cpu"), *average)
        self.assert_same(network, reference, torch.randn(2, 3, size, size))

    def test_googlenet_drops_two_fifths_of_the_channels_before_the_average(self):
        """Szegedy et al. 2015, table 1."""
        body = build("googlenet", task_of((1, 9, 10), classes(10)))[0].eval()
        inputs = torch.randn(8, 1, 9, 10)
        alive = body(inputs) > 0
        body[-1].train()
        dropped = alive & (body(inputs) == 0)
        assert dropped.sum() / alive.sum() == pytest.approx(0.4, abs=0.03)

    def assert_same(self, network: nn.Module, reference: nn.Module, inputs: torch.Tensor) -> None:
        """Check for equal outputs with the same weights, which only have other names."""
        with torch.no_grad():
            network.train()(inputs)  # gives batch norms statistics worth copying
            values = network.state_dict().values()
            reference.load_state_dict(dict(zip(reference.state_dict(), values, strict=True)))
            outputs = network.eval()(inputs)
            assert outputs.std() > 0.01
            torch.testing.assert_close(outputs, reference.eval()(inputs))


class TestPool:
    @pytest.mark.parametrize(
        "pool",
        [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2, padding=1)],
        ids=repr,
    )
    def test_is_the_published_one_on_even_sizes(self, pool):
        x = torch.randn(1, 2, 8, 6)
        assert torch.equal(Pool(pool)(x), pool(x))

    def test_counts_what_is_left_at_an_odd_edge(self):
        x = torch.tensor([[[1.0, 3.0, 5.0]]])
        assert Pool(nn.AvgPool2d(2))(x).tolist() == [[[2.0, 5.0]]]
        assert Pool(nn.MaxPool2d(2))(x).tolist() == [[[3.0, 5.0]]]

    def test_leaves_a_single_position_as_it_is(self):
        x = torch.randn(1, 4, 1, 1)
        for pool in (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2, ceil_mode=True)):
            assert torch.equal(Pool(pool)(x), x)


class TestEveryPredictor:
    @pytest.mark.parametrize("name", PREDICTORS)
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("size", [1, 3])
    @pytest.mark.parametrize("shape", [(2, 33), (3, 5, 7), (1, 70, 61)], ids=str)
    def test_puts_out_what_the_metric_takes(self, make_task, name, kind, size, shape):
        task = make_task(shape, kind, size=size)
        inputs, targets = task.batch(task.valid, torch.arange(5))
        outputs = fit(name, task).predict(inputs)
        assert outputs.shape == (5, size, *(task.spatial if kind == "dense" else ()))
        assert outputs.dtype == torch.float32
        assert np.isfinite(task.score(outputs, targets))

    @pytest.mark.parametrize("name", PREDICTORS)
    @pytest.mark.parametrize("kind", ["classes", "multilabel"])
    def test_gives_probabilities_of_classes_and_labels(self, make_task, name, kind):
        task = make_task((1, 4, 4), kind, n=30)
        outputs = fit(name, task).predict(train_rows(task, 30)[0])
        if kind == "classes":
            outputs = outputs.exp()  # of logits that are logarithms of probabilities
            torch.testing.assert_close(outputs.sum(dim=1), torch.ones(30))
        assert outputs.min() >= 0
        assert outputs.max() <= 1

    @pytest.mark.parametrize("name", PREDICTORS)
    @pytest.mark.parametrize("weighted", [False, True])
    def test_gives_logits_that_have_a_finite_log_loss(self, make_task, name, weighted):
        task = make_task((1, 4, 4), "classes", n=30)
        if weighted:
            output = weighted_classes((1.0, 2.0, 1.0), task.train.targets)
            task = dataclasses.replace(task, output=output)
        inputs, targets = task.batch(task.valid, torch.arange(30))
        outputs = fit(name, task).predict(inputs)
        assert float(functional.cross_entropy(outputs, targets)) < 3

    @pytest.mark.parametrize("name", PREDICTORS)
    def test_same_seed_same_predictions_whatever_the_threads(self, make_task, name):
        task = make_task((2, 9), "regression", n=40)
        inputs, _ = task.batch(task.valid, torch.arange(40))
        first, again = (fit(name, task, seed=7, threads=n).predict(inputs) for n in (1, 2))
        assert torch.equal(first, again)

    @pytest.mark.parametrize("name", PREDICTORS)
    def test_reads_the_training_split_only(self, make_task, name):
        task, other = (make_task((2, 9), "regression", seed=seed) for seed in (0, 1))
        blind = dataclasses.replace(task, valid=other.valid, test=None)
        inputs, _ = train_rows(task, 8)
        assert torch.equal(fit(name, task).predict(inputs), fit(name, blind).predict(inputs))

    @pytest.mark.parametrize("name", PREDICTORS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_at_least_as_good_as_the_constant(self, make_task, name, kind):
        task = make_task((1, 3, 4), kind, n=120)
        inputs, targets = task.batch(task.valid, torch.arange(120))
        score, floor = (
            task.score(fit(which, task).predict(inputs), targets) for which in (name, "constant")
        )
        assert not task.metric.better(floor, score)
        assert name == "constant" or task.metric.better(score, floor + 0.2)


class TestConstant:
    def test_is_the_share_of_each_class(self):
        split = Split(torch.randn(5, 1, 4), torch.tensor([0, 2, 2, 2, 0]))
        task = Task.of("shares", classes(4), split, split, split)
        outputs = fit("constant", task).predict(torch.randn(2, 1, 4))
        shares = outputs.softmax(dim=1)
        torch.testing.assert_close(shares, torch.tensor([[0.4, 0.0, 0.6, 0.0]] * 2))
        assert task.score(fit("constant", task).predict(split.inputs), split.targets) == 0.6

    def test_is_the_importance_of_each_class_where_the_loss_weights_them(self):
        split = Split(torch.randn(6, 1, 4), torch.tensor([0, 2, 2, 2, 2, 1]))
        output = weighted_classes((1.0, 2.0, 1.0), split.targets)
        task = Task.of("weighted", output, split, split, split)
        outputs = fit("constant", task).predict(split.inputs)
        torch.testing.assert_close(outputs.softmax(dim=1), torch.tensor([[0.25, 0.5, 0.25]] * 6))
        # No other constant is better: the gradient of the loss is zero.
        outputs.requires_grad_()
        task.loss(outputs, split.targets).backward()
        assert float(outputs.grad.sum(dim=0).abs().max()) < 1e-6

    @pytest.mark.parametrize(("kind", "floor"), [("regression", 0.0), ("multilabel", 0.5)])
    def test_has_the_floor_of_the_metric_on_the_training_split(self, make_task, kind, floor):
        task = make_task((1, 4, 4), kind, n=30)
        inputs, targets = train_rows(task, 30)
        score = task.score(fit("constant", task).predict(inputs), targets)
        assert score == pytest.approx(floor, abs=1e-6)


class TestRandomForest:
    def test_is_the_classification_forest_of_scikit_learn(self, make_task):
        task = make_task((1, 4, 4), "classes", n=90)
        inputs, targets = train_rows(task, 90)
        reference = RandomForestClassifier(100, random_state=3)
        reference.fit(inputs.flatten(1).numpy(), targets.numpy())
        unseen, _ = task.batch(task.valid, torch.arange(90))
        wanted = reference.predict_proba(unseen.flatten(1).numpy())
        given = fit("random_forest", task, seed=3).predict(unseen)
        np.testing.assert_allclose(given.exp().numpy(), (100 * wanted + 1) / 103, atol=1e-6)

    def test_weights_examples_as_the_loss_does(self, make_task):
        task = make_task((1, 4, 4), "classes", n=90)
        output = weighted_classes((1.0, 5.0, 0.2), task.train.targets)
        task = dataclasses.replace(task, output=output)
        inputs, targets = train_rows(task, 90)
        reference = RandomForestClassifier(100, random_state=3)
        weights = np.array(output.weights)[targets.numpy()]
        reference.fit(inputs.flatten(1).numpy(), targets.numpy(), sample_weight=weights)
        unseen, _ = task.batch(task.valid, torch.arange(90))
        wanted = reference.predict_proba(unseen.flatten(1).numpy())
        given = fit("random_forest", task, seed=3).predict(unseen)
        np.testing.assert_allclose(given.exp().numpy(), (100 * wanted + 1) / 103, atol=1e-6)

    def test_is_the_regression_forest_of_scikit_learn_on_a_third_of_the_features(self, make_task):
        task = make_task((1, 4, 4), "regression", n=90, size=1)
        inputs, targets = train_rows(task, 90)
        reference = RandomForestRegressor(100, max_features=1 / 3, random_state=3)
        reference.fit(inputs.flatten(1).numpy(), targets.squeeze(1).numpy())
        unseen, _ = task.batch(task.valid, torch.arange(90))
        wanted = reference.predict(unseen.flatten(1).numpy())
        given = fit("random_forest", task, seed=3).predict(unseen).squeeze(1)
        np.testing.assert_allclose(given.numpy(), wanted, atol=1e-6)

    def test_keeps_the_trees_of_earlier_rounds(self, make_task, monkeypatch):
        monkeypatch.setattr(random_forest_module, "WORK", 60_000)
        task = make_task((1, 4, 4), "regression", n=40)
        forest = BASELINES.load("random_forest")(task, seed=0)
        forest.fit_round()
        first = forest._forest.estimators_[0]
        forest.fit_round()
        assert forest._forest.estimators_[0] is first

    def test_grows_the_same_trees_in_many_rounds_as_in_one(self, make_task, monkeypatch):
        task = make_task((1, 4, 4), "regression", n=40)
        inputs, _ = task.batch(task.valid, torch.arange(40))
        at_once = fit("random_forest", task)
        assert at_once.rounds == 1
        monkeypatch.setattr(random_forest_module, "WORK", 60_000)
        in_pieces = fit("random_forest", task)
        assert in_pieces.rounds > 5
        assert torch.equal(at_once.predict(inputs), in_pieces.predict(inputs))

    def test_bounds_rounds_and_memory_by_the_size_of_the_data(self):
        rows = Split(torch.empty(50_000, 3, 64, 64, device="meta"), torch.empty(0))
        task = dataclasses.replace(task_of((3, 64, 64), classes(100)), train=rows)
        forest = BASELINES.load("random_forest")(task, seed=0)
        assert forest.rounds == 100
        assert forest._forest.max_samples < 1
        assert forest._forest.max_leaf_nodes < 50_000
