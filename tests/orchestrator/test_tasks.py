"""Contracts of every entry of the tasks shelf, on the data that is there."""

from __future__ import annotations

import hashlib
import inspect
import re
import typing
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.tasks import TASKS
from orchestrator.tasks._files import MissingDataError
from orchestrator.tasks._images import stratified
from orchestrator.tasks._parameters import task_name
from search_space.task import DataError, Split, Task

pytestmark = pytest.mark.usefixtures("offline")
Load = Callable[[str], Task]


@cache
def _load_once(name: str, root: Path) -> Task:
    return TASKS.load(name).load(root)


@pytest.fixture(params=TASKS.names())
def task(request: pytest.FixtureRequest, data_path: Path, absent: Callable[[str], None]) -> Task:
    """Every task whose data is there, or comes with a library; loaded once."""
    try:
        return _load_once(request.param, data_path)
    except MissingDataError as error:
        absent(str(error))
        raise


@pytest.fixture
def with_examples(task: Task) -> Task:
    """Every task that is not a table of results, which has no examples."""
    if task.table is not None:
        pytest.skip("a table has no examples")
    return task


def _splits(task: Task) -> dict[str, Split]:
    assert task.test is not None
    return {"train": task.train, "valid": task.valid, "test": task.test}


def _digests(split: Split) -> set[bytes]:
    return {hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in split.inputs}


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_says_what_it_is_in_one_line(name):
    assert 30 < len(TASKS.describe(name)) <= 100


@pytest.mark.parametrize("name", TASKS.names())
def test_parameters_are_keywords_with_a_type_and_a_default_of_that_type(name):
    load = TASKS.load(name).load
    hints = typing.get_type_hints(load)
    root, *parameters = inspect.signature(load).parameters.values()
    assert (root.name, hints["root"], hints["return"]) == ("root", Path, Task)
    for parameter in parameters:
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        allowed = typing.get_args(hints[parameter.name])
        if typing.get_origin(hints[parameter.name]) is typing.Literal:
            assert parameter.default in allowed
        else:
            assert isinstance(parameter.default, hints[parameter.name])


def test_a_task_is_called_as_its_entry(task):
    entry, _, parameters = task.name.partition("(")
    assert entry in TASKS.names()
    assert not parameters or parameters.endswith(")")


def test_all_splits_have_the_shape_of_the_task_and_finite_values(with_examples):
    task = with_examples
    for split in _splits(task).values():
        assert tuple(split.inputs.shape[1:]) == task.shape
        assert len(split) == len(split.inputs) == len(split.targets) > 0
        assert torch.isfinite(split.inputs).all()
        assert torch.isfinite(split.targets).all()


def test_every_class_occurs_in_every_split(with_examples):
    task = with_examples
    for split in _splits(task).values() if task.output.of_classes else ():
        assert split.targets.unique().tolist() == list(range(task.output.size))


def test_no_input_stands_in_two_splits(with_examples):
    task = with_examples
    train, valid, test = (_digests(split) for split in _splits(task).values())
    assert not train & valid
    assert not train & test
    assert not valid & test


def test_statistics_are_those_of_the_training_split_alone(with_examples):
    task = with_examples

    def moments(values: torch.Tensor) -> list[np.ndarray]:
        channels = values.numpy().swapaxes(0, 1).reshape(values.shape[1], -1).astype(np.float64)
        return [channels.mean(axis=1), channels.std(axis=1)]

    scale = [task.input_scale.mean, task.input_scale.deviation]
    np.testing.assert_allclose(scale, moments(task.train.inputs), rtol=1e-9)
    if task.train.targets.dim() == 2:
        scale = [task.target_scale.mean, task.target_scale.deviation]
        np.testing.assert_allclose(scale, moments(task.train.targets), rtol=1e-9)


def test_a_standardised_training_batch_has_mean_0_and_deviation_1(with_examples):
    task = with_examples
    inputs, _ = task.batch(task.train, torch.arange(min(len(task.train), 2000)))
    assert inputs.dtype == torch.float32
    assert abs(float(inputs.mean())) < 0.1
    assert 0.9 < float(inputs.std()) < 1.1


def test_loading_twice_gives_the_same_task(task, data_path):
    arguments = dict(
        part.split("=") for part in task.name.partition("(")[2].rstrip(")").split(", ") if part
    )
    load = TASKS.load(task.name.partition("(")[0]).load
    again = load(data_path, **{name: int(value) for name, value in arguments.items()})
    assert again.fingerprint() == task.fingerprint()


def test_search_code_gets_no_test_split(task):
    blind = task.without_test()
    assert blind.test is None
    assert blind.train is task.train


def test_symmetries_keep_the_shape_and_the_type_of_a_batch(task):
    batch = task.train.inputs[:16]
    for augmentation in task.augmentation:
        moved = augmentation(batch, torch.Generator().manual_seed(0))
        assert moved.shape == batch.shape
        assert moved.dtype == batch.dtype


def test_digits_are_never_mirrored(data_path):
    for name in ("digits", "mnist"):
        if name == "digits" or (data_path / name).is_dir():
            assert "Mirror" not in repr(_load_once(name, data_path).augmentation)


def test_digits_are_scikit_learns_60_20_20_by_class(tmp_path):
    from sklearn.datasets import load_digits

    task = TASKS.load("digits").load(tmp_path)
    sizes = [len(split) for split in _splits(task).values()]
    assert sum(sizes) == 1797
    np.testing.assert_allclose(np.array(sizes) / 1797, (0.6, 0.2, 0.2), atol=0.005)
    images = torch.cat([split.inputs for split in _splits(task).values()]).flatten(1)
    targets = torch.cat([split.targets for split in _splits(task).values()])
    ours = sorted(zip(images.tolist(), targets.tolist(), strict=True))
    data = load_digits()
    assert ours == sorted(zip(data.data.tolist(), data.target.tolist(), strict=True))
    assert list(tmp_path.iterdir()) == []


def test_a_stratified_draw_takes_its_share_of_each_class_and_leaves_the_rest():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 3 + [3])
    stays, drawn = stratified(labels, 0.1, seed=0)
    assert torch.bincount(labels[drawn], minlength=4).tolist() == [5, 3, 1, 0]
    assert sorted(stays.tolist() + drawn.tolist()) == list(range(len(labels)))
    assert all(map(torch.equal, (stays, drawn), stratified(labels, 0.1, seed=0)))
    assert not torch.equal(drawn, stratified(labels, 0.1, seed=1)[1])


def test_a_name_holds_the_parameters_that_differ_from_the_defaults():
    load = TASKS.load("graphene_kirigami").load
    assert task_name(load, resolution="medium", split="published") == "graphene_kirigami"
    name = task_name(load, target="toughness", resolution="fine", split="published")
    assert name == "graphene_kirigami(target=toughness, resolution=fine)"


def test_without_data_and_network_the_error_says_which_file_to_put_where(tmp_path):
    errors = []
    for name in TASKS.names():
        try:
            TASKS.load(name).load(tmp_path)
        except DataError as error:
            errors.append(error)
    for error in errors:
        assert isinstance(error, MissingDataError)
        assert re.search(rf"(download|make it from) http\S+ .*put it at {tmp_path}", str(error))
    assert errors
    assert list(tmp_path.iterdir()) == []
