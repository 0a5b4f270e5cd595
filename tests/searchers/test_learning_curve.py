"""Learning curves: predictions against other formulas of them, and what is stopped by them."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from search_space.metric import Metric
from search_space.spaces import SPACES
from searchers._extrapolation import StudentT, extrapolate, regress
from searchers.estimators import ESTIMATORS
from searchers.estimators._base import Scored

CPU = torch.device("cpu")
SPACE = SPACES.load("nasbench201")()
GENOTYPE = SPACE.sample(random.Random(2))
SMALL = {"channels": 4, "layers": 3, "batch_size": 4, "epochs": 4, "observe": 2, "learn_from": 3}


def test_student_s_t_is_that_of_scipy():
    made = StudentT(0.3, 0.2, 5.0)
    reference = stats.t(5.0, loc=0.3, scale=0.2)
    for value in (-1.0, 0.1, 0.3, 0.9):
        assert made.above(value) == pytest.approx(reference.sf(value), rel=1e-9)
    assert made.deviation == pytest.approx(reference.std(), rel=1e-12)
    assert StudentT(0, 1, 2.0).deviation == math.inf


def test_the_prediction_is_that_of_a_multivariate_t_of_all_targets_together():
    # With the coefficients integrated out, targets are jointly Student t with the covariance
    # I + X X'; conditioning on the known ones (Roth 2013, equation 2.12) needs no coefficients.
    rng = np.random.default_rng(0)
    x, y, at = rng.normal(size=(7, 2)), rng.normal(size=7), rng.normal(size=2)
    design = np.column_stack([np.ones(8), np.vstack([x, at])])
    covariance = np.eye(8) + design @ design.T
    known, cross = covariance[:7, :7], covariance[7, :7]
    mean = cross @ np.linalg.solve(known, y)
    schur = covariance[7, 7] - cross @ np.linalg.solve(known, cross)
    scale = math.sqrt((2 + y @ np.linalg.solve(known, y)) / (2 + 7) * schur)
    found = regress(torch.tensor(x), torch.tensor(y), torch.tensor(at))
    assert found.mean == pytest.approx(mean, rel=1e-10)
    assert found.scale == pytest.approx(scale, rel=1e-10)
    assert found.freedom == 9


def made_curves(count: int, seed: int) -> np.ndarray:
    """Curves that rise to a limit of their own, with the noise of a small validation split."""
    rng = np.random.default_rng(seed)
    limit, speed = rng.uniform(0.6, 0.95, count), rng.uniform(0.15, 0.4, count)
    epochs = np.arange(1, 21)
    noise = rng.normal(0, 0.005, (count, 20))
    return limit[:, None] * (1 - np.exp(-speed[:, None] * epochs)) + noise


def test_nine_in_ten_final_values_lie_where_nine_in_ten_were_predicted():
    inside = []
    for seed in range(40):
        curves = made_curves(30, seed)
        for curve in curves[20:]:
            found = extrapolate(curves[:20].tolist(), curve[:8].tolist())
            inside.append(0.05 < found.above(curve[-1]) < 0.95)
    # 400 cases, ten at a time from the same 20 curves: 0.9 to within 0.06 in all but a few runs,
    # and more, as the prior says that features tell nothing, and here they do.
    assert 0.84 < np.mean(inside) < 0.98


def test_predictions_are_closer_than_the_last_value_seen():
    curves = made_curves(60, 1)
    found = [extrapolate(curves[:30].tolist(), c[:8].tolist()).mean for c in curves[30:]]
    errors = np.abs(np.array(found) - curves[30:, -1]).mean()
    assert errors < 0.3 * np.abs(curves[30:, 7] - curves[30:, -1]).mean()


def test_units_do_not_matter():
    curves = made_curves(12, 2)
    one = extrapolate(curves[:11].tolist(), curves[11, :5].tolist())
    other = extrapolate((7 - 100 * curves[:11]).tolist(), (7 - 100 * curves[11, :5]).tolist())
    assert other.mean == pytest.approx(7 - 100 * one.mean)
    assert other.scale == pytest.approx(100 * one.scale)


def test_curves_that_are_all_the_same_predict_the_same_with_an_uncertainty():
    found = extrapolate([[0.1, 0.2, 0.5]] * 4, [0.1, 0.2])
    assert found.mean == pytest.approx(0.5)
    assert found.scale > 0


def estimator(**params):
    cls = ESTIMATORS.load("learning_curve")
    return cls(cls.Params(**{**SMALL, **params}))


def program(task, best, curves=None, **params):
    """A training after others whose curves were those of no progress, or ``curves``."""
    curves = curves if curves is not None else [[i / 2.0] * 4 for i in range(-3, 5)]
    left = {f"job{i}": {"curve": torch.tensor(c)} for i, c in enumerate(curves)}
    return estimator(**params).program(
        SPACE,
        GENOTYPE,
        task,
        seed=0,
        device=CPU,
        recalled={"best": best, "jobs": list(left)},
        legacies=left.__getitem__,
    )


@pytest.fixture
def task(make_task):
    return make_task((1, 8, 8)).without_test()


def remarks(trace):
    return {m.name: (m.epoch, m.value) for m in trace.measurements if m.split == "extrapolation"}


def test_a_hopeless_candidate_is_stopped_and_scored_by_its_prediction(task, drive):
    stopped, whole = drive(program(task, best=100.0, control=0)), drive(program(task, best=-100.0))
    told = remarks(stopped)
    assert told["hopeless"] == told["stopped"] == (2, 1.0)
    assert "wrong" not in told
    assert stopped.outcome.score == told["mean"][1]
    assert stopped.outcome.compute == whole.outcome.compute / 2
    assert len(stopped.program.legacy()["curve"]) == 2
    assert remarks(whole)["hopeless"] == (2, 0.0)
    assert whole.program.epoch == 4
    curve = [m.value for m in whole.measurements if (m.split, m.name) == ("valid", "accuracy")]
    assert whole.program.legacy()["curve"].tolist() == curve
    assert whole.outcome.score == curve[-1]
    compute = estimator().compute(SPACE, GENOTYPE, task)
    assert whole.outcome.compute == compute


@pytest.mark.parametrize(("best", "higher"), [(100.0, True), (-100.0, False)])
def test_a_control_is_trained_to_the_end_and_says_that_stopping_was_right(
    make_task, drive, best, higher
):
    task = make_task((1, 8, 8), "regression").without_test()
    if not higher:
        metric = Metric("RMSE", False, lambda a, b: float((a - b).square().mean().sqrt()))
        task = dataclasses.replace(task, output=dataclasses.replace(task.output, metric=metric))
    trace = drive(program(task, best=best, control=1))
    told = remarks(trace)
    assert told["hopeless"] == (2, 1.0)
    assert told["stopped"] == (2, 0.0)
    assert told["wrong"] == (4, 0.0)
    assert trace.program.epoch == 4


def test_a_control_that_became_the_best_says_that_stopping_was_wrong(task, drive):
    final = drive(program(task, best=-100.0)).outcome.score
    # Curves that fall to nothing, whatever they began with, make every candidate hopeless.
    falling = [[i / 5, i / 5, 0.0, i / 5 - 50] for i in range(12)]
    trace = drive(program(task, best=final - 0.01, curves=falling, control=1))
    assert remarks(trace)["hopeless"] == (2, 1.0)
    assert remarks(trace)["wrong"] == (4, 1.0)


@pytest.mark.parametrize("best", [100.0, -100.0])
def test_an_interrupted_training_ends_like_an_unbroken_one(task, drive, differences, best):
    def make():
        return program(task, best=best, control=0)

    assert differences(drive(make()).end, drive(make(), fresh=make).end) == []


def test_nothing_is_stopped_before_enough_whole_curves_are_known(task, drive):
    few = [[0.3] * 4, [0.4] * 4, [0.2] * 2]  # one was stopped itself
    trace = drive(program(task, best=100.0, curves=few))
    assert remarks(trace) == {}
    assert trace.program.epoch == 4


def test_what_is_recalled_is_the_best_and_the_latest():
    before = [Scored(GENOTYPE, 0.1 * (i % 7), f"job{i}") for i in range(60)]
    recalled = estimator().recall(SPACE, GENOTYPE, before, higher_is_better=True)
    assert recalled["best"] == pytest.approx(0.6)
    assert recalled["jobs"] == [f"job{i}" for i in range(10, 60)]
    assert estimator().recall(SPACE, GENOTYPE, before, higher_is_better=False)["best"] == 0.0
    assert estimator().recall(SPACE, GENOTYPE, before[:2], higher_is_better=True) is None


def test_the_control_is_the_share_that_was_asked_for():
    rng = random.Random(0)
    genotypes = [SPACE.sample(rng) for _ in range(1000)]
    chosen = [estimator(control=0.25).controls(one, seed=3) for one in genotypes]
    assert chosen == [estimator(control=0.25).controls(one, seed=3) for one in genotypes]
    # Binomial: 250 +- 14; further off than four deviations once in 15,000.
    assert abs(sum(chosen) - 250) < 56
    assert not any(estimator(control=0).controls(one, seed=3) for one in genotypes)


def test_a_decision_after_the_end_is_refused():
    with pytest.raises(ValueError, match="observe is 4; it must be less than epochs, 4"):
        estimator(observe=4)
