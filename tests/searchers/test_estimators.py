"""Estimators: contracts over every way to score a candidate."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from search_space.genotype import Genotype
from search_space.spaces import SPACES
from search_space.table import Table
from search_space.task import DataError, Task, classes
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
        if ESTIMATORS.load(name).looks_up:
            column = smoke(name).params.column
            table = Table({space.text(genotype): 0}, {column: np.array([0.25])})
            task = Task.tabulated("made", task.shape, task.output, table)
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


@pytest.fixture
def tabulated() -> Task:
    texts = ("|none~0|", "|skip_connect~0|")
    columns = {"valid": np.array([0.25, np.nan]), "test": np.array([0.5, 0.75])}
    table = Table({text: row for row, text in enumerate(texts)}, columns, ("test",))
    return Task.tabulated("made", (3, 8, 8), classes(3), table)


SMALL = SPACES.load("nasbench201")(nodes=2, operations=("none", "skip_connect", "nor_conv_1x1"))


def look_up(text: str, task: Task, column: str = "valid") -> float:
    estimator = smoke("table", column=column)
    genotype = SMALL.parse(text)
    return estimator.program(SMALL, genotype, task, seed=0, device=CPU).outcome().score


def test_a_table_scores_an_architecture_by_its_published_text(tabulated):
    assert look_up("|none~0|", tabulated.without_test()) == 0.25
    assert math.isnan(look_up("|skip_connect~0|", tabulated.without_test()))


def test_a_table_does_not_let_searches_see_what_it_reports(tabulated):
    assert look_up("|none~0|", tabulated, column="test") == 0.5
    with pytest.raises(DataError, match=r"no column 'test' that can be searched on.*valid"):
        look_up("|none~0|", tabulated.without_test(), column="test")


def test_an_architecture_that_the_table_does_not_hold_is_an_error_that_shows_one_it_does(tabulated):
    with pytest.raises(DataError, match=r"no row for '\|nor_conv_1x1~0\|'.*2 rows.*none~0"):
        look_up("|nor_conv_1x1~0|", tabulated.without_test())


def test_a_task_with_examples_has_no_table_to_look_scores_up_in(make_task):
    with pytest.raises(DataError, match="no table of results"):
        look_up("|none~0|", make_task((1, 4, 4)))
