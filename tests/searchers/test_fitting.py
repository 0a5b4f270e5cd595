"""Fitting: what the contracts of all programs can't show on small data, a fit of several rounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from search_space.baselines import BASELINES
from search_space.task import weighted_classes
from searchers._fitting import Fitting

PREDICTORS = [name for name in BASELINES.names() if isinstance(BASELINES.load(name), type)]


class TestFitting:
    @pytest.fixture
    def make_forest(self, make_task, monkeypatch) -> Callable[[], Fitting]:
        monkeypatch.setattr("search_space.baselines.random_forest.WORK", 90_000)
        task = make_task((2, 9), "regression", n=12)
        forest = BASELINES.load("random_forest")
        return lambda: Fitting(lambda t: forest(t, seed=3), task)

    def test_a_step_is_a_round_and_the_last_one_scores(self, make_forest, drive):
        trace = drive(make_forest())
        rounds = trace.program.predictor.rounds
        assert 3 <= rounds <= 6
        assert len(trace.progress) == rounds + 1
        assert [m.split for m in trace.measurements] == ["valid"]

    def test_killed_after_every_round_it_ends_like_the_unbroken_run(
        self, make_forest, drive, differences
    ):
        whole, broken = drive(make_forest()), drive(make_forest(), fresh=make_forest)
        assert differences(whole.end, broken.end) == []
        inputs, _ = whole.program.task.batch(whole.program.task.valid, torch.arange(12))
        outputs = [trace.program.predictor.predict(inputs) for trace in (whole, broken)]
        assert torch.equal(*outputs)

    @pytest.mark.parametrize("name", PREDICTORS)
    def test_scores_are_the_metric_of_the_predictions_on_each_split(self, make_task, drive, name):
        task = make_task((2, 9), "regression", n=12)
        predictor = BASELINES.load(name)
        trace = drive(Fitting(lambda t: predictor(t, seed=3), task))
        alone = predictor(task, seed=3)
        for _ in range(alone.rounds):
            alone.fit_round()
        scores = []
        for split in (task.valid, task.test):
            outputs = task.target_scale.undo(alone.predict(task.input_scale.apply(split.inputs)))
            residual = (split.targets - outputs).double().square().sum(0)
            total = (split.targets - split.targets.mean(0)).double().square().sum(0)
            scores.append(float((1 - residual / total).mean()))
        assert (trace.outcome.score, trace.outcome.test) == pytest.approx(scores, rel=1e-5)
        assert trace.outcome.compute == 0

    @pytest.mark.parametrize("name", PREDICTORS)
    def test_further_metrics_are_recorded_and_the_tasks_own_comes_last(
        self, make_task, drive, name
    ):
        task = make_task((2, 9), "classes", n=12)
        output = weighted_classes((1.0, 2.0, 1.0), task.train.targets)
        task = dataclasses.replace(task, output=output)
        predictor = BASELINES.load(name)
        trace = drive(Fitting(lambda t: predictor(t, seed=3), task))
        found = {(m.split, m.name): m.value for m in trace.measurements}
        metric = ("valid", "weighted log loss")
        assert list(found) == [("test", "accuracy"), ("valid", "accuracy"), metric]
        assert found[metric] == trace.outcome.score
        inputs, targets = task.batch(task.test, torch.arange(12))
        outputs = trace.program.predictor.predict(inputs)
        assert trace.outcome.test == task.score(outputs, targets)
        assert found["test", "accuracy"] == task.measure(outputs, targets)["accuracy"]

    @pytest.mark.parametrize("name", PREDICTORS)
    def test_without_a_test_split_there_is_no_test_score(self, make_task, drive, name):
        predictor = BASELINES.load(name)
        task = make_task((2, 9)).without_test()
        assert drive(Fitting(lambda t: predictor(t, seed=3), task)).outcome.test is None
