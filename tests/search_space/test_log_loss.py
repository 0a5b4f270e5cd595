"""The weighted log loss against its formula in numpy, scikit-learn and closed forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from search_space.log_loss import WeightedCrossEntropy, weighted_log_loss
from search_space.task import DataError, Split, Task, classes, weighted_classes

IMPORTANCE = (1.0, 2.0, 1.0, 0.5)


def examples(n: int = 300, seed: int = 0, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and class numbers, of which the first are the most frequent."""
    generator = torch.Generator().manual_seed(seed)
    frequencies = torch.tensor([0.6, 0.25, 0.1, 0.05])
    targets = torch.multinomial(frequencies, n, replacement=True, generator=generator)
    return scale * torch.randn(n, 4, generator=generator), targets


def probabilities(outputs: torch.Tensor) -> NDArray[np.float64]:
    powers = np.exp(outputs.double().numpy())
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_the_metric_is_the_formula_class_by_class(seed):
    outputs, targets = examples(seed=seed)
    given, true = probabilities(outputs), targets.numpy()
    means = [-np.log(given[true == k, k]).mean() for k in range(4)]
    expected = np.average(means, weights=IMPORTANCE)
    found = weighted_log_loss(IMPORTANCE).compute(outputs, targets)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_metric_is_scikit_learns_log_loss_with_sample_weights(seed):
    outputs, targets = examples(seed=seed)
    weights = np.array(IMPORTANCE) / np.bincount(targets.numpy())
    expected = log_loss(
        targets.numpy(), probabilities(outputs), sample_weight=weights[targets.numpy()]
    )
    found = weighted_log_loss(IMPORTANCE).compute(outputs, targets)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [2, 14])
def test_guessing_evenly_gives_the_logarithm_of_the_number_of_classes(n):
    metric = weighted_log_loss([1.0 + k for k in range(n)])
    targets = torch.arange(n).repeat_interleave(torch.arange(1, n + 1))
    assert metric.compute(torch.zeros(len(targets), n), targets) == pytest.approx(
        math.log(n), rel=1e-14
    )


def test_a_class_without_examples_drops_out():
    outputs, targets = examples()
    kept = targets != 3
    found = weighted_log_loss(IMPORTANCE).compute(outputs[kept], targets[kept])
    other = weighted_log_loss((*IMPORTANCE[:3], 99.0)).compute(outputs[kept], targets[kept])
    assert found == other
    given, true = probabilities(outputs[kept]), targets[kept].numpy()
    means = [-np.log(given[true == k, k]).mean() for k in range(3)]
    assert found == pytest.approx(np.average(means, weights=IMPORTANCE[:3]), rel=1e-12)


def test_certainty_is_clipped_on_both_sides():
    metric = weighted_log_loss((1.0, 1.0))
    outputs = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    assert metric.compute(outputs, torch.tensor([1, 0])) == pytest.approx(-math.log(1e-15))
    assert metric.compute(outputs, torch.tensor([0, 1])) == pytest.approx(1e-15, rel=0.2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_outputs_of_a_diverged_network_have_no_value_and_a_lower_one_is_better(bad):
    metric = weighted_log_loss(IMPORTANCE)
    outputs, targets = examples()
    outputs[0, 0] = bad
    assert math.isnan(metric.compute(outputs, targets))
    assert metric.better(1.0, 2.0)
    assert metric.better(2.0, metric.worst)


def test_the_loss_on_the_examples_it_was_made_for_is_the_metric():
    outputs, targets = examples()
    loss = WeightedCrossEntropy.of(IMPORTANCE, targets)
    expected = weighted_log_loss(IMPORTANCE).compute(outputs, targets)
    assert float(loss(outputs, targets)) == pytest.approx(expected, rel=1e-6)
    assert np.array(loss.weights)[targets].mean() == pytest.approx(1.0)


def test_losses_of_batches_average_to_that_of_all():
    outputs, targets = examples()
    loss = WeightedCrossEntropy.of(IMPORTANCE, targets)
    pieces = [loss(*pair) for pair in zip(outputs.split(30), targets.split(30), strict=True)]
    assert float(sum(pieces) / 10) == pytest.approx(float(loss(outputs, targets)), rel=1e-6)


def test_the_loss_of_a_class_that_does_not_occur_in_training_weighs_nothing():
    outputs, targets = examples()
    kept = targets != 3
    loss = WeightedCrossEntropy.of(IMPORTANCE, targets[kept])
    assert loss.weights[3] == 0.0
    expected = weighted_log_loss(IMPORTANCE).compute(outputs[kept], targets[kept])
    assert float(loss(outputs[kept], targets[kept])) == pytest.approx(expected, rel=1e-6)


def test_a_task_of_weighted_classes_checks_its_class_numbers_like_any_other():
    targets = torch.tensor([0, 1, 2, 3])
    good = Split(torch.randn(4, 1, 5), targets)
    output = weighted_classes(IMPORTANCE, targets)
    task = Task.of("t", output, good, good, good)
    assert task.output.of_classes
    assert classes(4).of_classes
    for wrong in (torch.tensor([0, 1, 2, 4]), torch.rand(4)):
        with pytest.raises(DataError, match="class"):
            Task.of("t", output, good, good, Split(good.inputs, wrong))


def test_other_weights_are_another_task_and_further_metrics_are_not():
    targets = torch.tensor([0, 1, 2, 3])
    split = Split(torch.zeros(4, 1, 5), targets)
    tasks = []
    for importance in (IMPORTANCE, (1.0, 1.0, 1.0, 1.0)):
        tasks.append(Task.of("t", weighted_classes(importance, targets), split, split, split))
    output = dataclasses.replace(tasks[0].output, also=())
    tasks.append(dataclasses.replace(tasks[0], output=output))
    fingerprints = [task.fingerprint() for task in tasks]
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]
