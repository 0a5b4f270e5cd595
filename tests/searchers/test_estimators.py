"""Estimators: contracts over every way to score a candidate."""

from __future__ import annotations

import math
import random

import pytest
import torch

from search_space.genotype import Genotype
from search_space.spaces import SPACES
from searchers import Program
from searchers.estimators import ESTIMATORS, Estimator

CPU = torch.device("cpu")


def smoke(name: str, **params: object) -> Estimator:
    cls = ESTIMATORS.load(name)
    return cls(cls.Params(**{**cls.smoke, **params}))


@pytest.fixture(scope="module")
def genotype() -> Genotype:
    return SPACES.load("darts")(nodes=2).sample(random.Random(4))


@pytest.mark.parametrize("name", ESTIMATORS.names())
class TestEveryEstimator:
    def test_scores_a_candidate_with_a_finite_number(self, make_task, drive, genotype, name):
        space, task = SPACES.load("darts")(nodes=2), make_task((1, 4, 4)).without_test()
        program = smoke(name).program(space, genotype, task, seed=0, device=CPU)
        assert isinstance(program, Program)
        outcome = drive(program, seconds=math.inf).outcome
        assert math.isfinite(outcome.score)
        assert outcome.test is None

    def test_refuses_a_parameter_that_it_does_not_know_by_name(self, name):
        with pytest.raises(ValueError, match="epoch_count"):
            smoke(name, epoch_count=3)

    def test_announces_its_compute_without_a_draw_and_without_reading_the_data(
        self, make_task, genotype, name
    ):
        space, task = SPACES.load("darts")(nodes=2), make_task((1, 4, 4)).without_test()
        before = torch.get_rng_state()
        inputs = task.train.inputs.clone()
        compute = smoke(name).compute(space, genotype, task)
        assert compute >= 0
        assert math.isfinite(compute)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(task.train.inputs, inputs)
        task.train.inputs.fill_(math.nan)
        assert smoke(name).compute(space, genotype, task) == compute


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"epochs": 0}, "epochs"),
        ({"channels": 3}, "channels"),
        ({"layers": 0}, "layers"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"warmup": 1.0}, "warmup"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"clip": 0.0}, "clip"),
        ({"learning_rate": math.nan}, "learning_rate"),
    ],
)
def test_training_refuses_parameters_out_of_range(params, field):
    with pytest.raises(ValueError, match=field):
        smoke("training", **params)


def test_training_costs_less_with_fewer_channels_layers_and_epochs(make_task, genotype):
    space, task = SPACES.load("darts")(nodes=2), make_task((1, 4, 4)).without_test()
    full = {"epochs": 4, "channels": 8, "layers": 4}
    most = smoke("training", **full).compute(space, genotype, task)
    for name, less in (("epochs", 2), ("channels", 4), ("layers", 3)):
        assert smoke("training", **{**full, name: less}).compute(space, genotype, task) < most
    half = smoke("training", **{**full, "epochs": 2}).compute(space, genotype, task)
    assert half == most / 2
