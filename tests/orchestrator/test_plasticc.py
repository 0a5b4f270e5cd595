"""The PLAsTiCC task against raw rows binned one by one, and its splits, metrics and errors."""

from __future__ import annotations

import csv
import gzip
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from light_curves import Tables, light_curves, write
from orchestrator.tasks.plasticc import CLASSES, IMPORTANCE, load
from search_space.baselines import BASELINES
from search_space.metric import ACCURACY
from search_space.task import Split, Task

pytestmark = pytest.mark.usefixtures("offline")

SAMPLE = "training_set_every12th.csv.gz"


@pytest.fixture(scope="module")
def root(sample: Callable[[str], Path], absent: Callable[[str], None]) -> Path:
    """The folder of data sets, where it holds the sample of every 12th object."""
    found = sample("plasticc")
    if not (found / "plasticc" / SAMPLE).is_file():
        absent(f"there is no {SAMPLE} in {found / 'plasticc'}")
    return found


@pytest.fixture(scope="module")
def real(root: Path) -> Task:
    return load(root)


@pytest.fixture(scope="module")
def made() -> Tables:
    """Light curves and metadata of 7 objects of each class, 3 of class 53, and more metadata."""
    return light_curves()


def splits(task: Task) -> list[Split]:
    assert task.test is not None
    return [task.train, task.valid, task.test]


def everything(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    parts = splits(task)
    return torch.cat([s.inputs for s in parts]), torch.cat([s.targets for s in parts])


def slowly(rows: list[dict[str, str]], about: dict[str, str], bins: int) -> np.ndarray:
    """Draw one object from the rows of the files, one by one: ``[19, bins]``."""
    unit = statistics.median(abs(float(row["flux"])) for row in rows)
    sums: dict[tuple[int, int], list[float]] = {}
    for row in rows:
        place = int(row["passband"]), math.floor((float(row["mjd"]) - 59580) / (1095 / bins))
        weight = 1 / float(row["flux_err"]) ** 2
        total = sums.setdefault(place, [0.0, 0.0])
        total[0] += weight * float(row["flux"])
        total[1] += weight
    grid = np.zeros((19, bins))
    for (band, time), (flux, weight) in sums.items():
        grid[band, time] = math.asinh(flux / weight / unit)
        grid[6 + band, time] = 1
    grid[12] = math.log(unit)
    ours = float(about["hostgal_photoz"]) == 0
    assert (about["distmod"] == "nan") == ours
    grid[13] = float(about["ddf"])
    grid[14] = float(about["hostgal_photoz"])
    grid[15] = float(about["hostgal_photoz_err"])
    grid[16] = 0 if ours else float(about["distmod"])
    grid[17] = float(about["mwebv"])
    grid[18] = ours
    return grid


@pytest.mark.parametrize("bins", [128, 50])
def test_objects_are_drawn_as_a_slow_loop_over_the_raw_rows_draws_them(root, bins):
    folder = root / "plasticc"
    with gzip.open(folder / SAMPLE, "rt") as file:
        rows = list(csv.DictReader(file))
    with (folder / "training_set_metadata.csv").open() as file:
        metadata = {row["object_id"]: row for row in csv.DictReader(file)}
    inputs, targets = everything(load(root, bins=bins))
    assert inputs.shape[1:] == (19, bins)
    for row in (0, len(rows) // 3, len(rows) // 2, -1):
        number = rows[row]["object_id"]
        mine = [row for row in rows if row["object_id"] == number]
        expected = slowly(mine, metadata[number], bins)
        distance = np.abs(inputs.numpy() - expected).max(axis=(1, 2))
        assert distance.min() < 1e-5
        assert np.sort(distance)[1] > 1e-2  # no other object looks like it
        assert CLASSES[targets[distance.argmin()]] == int(metadata[number]["target"])


def test_the_sample_is_every_12th_object_and_its_name_says_so(root, real):
    metadata = pd.read_csv(root / "plasticc" / "training_set_metadata.csv")
    numbers = np.sort(metadata["object_id"])
    assert len(numbers) == 7_848
    every = numbers[np.arange(654) * 7_848 // 654]
    curves = pd.read_csv(root / "plasticc" / SAMPLE, usecols=["object_id"])
    np.testing.assert_array_equal(np.unique(curves["object_id"]), every)
    assert real.name == "plasticc(objects=654)"
    counts = metadata[metadata["object_id"].isin(every)]["target"].value_counts()
    found = torch.bincount(everything(real)[1])
    assert found.tolist() == [counts[number] for number in CLASSES]


def test_real_values_masks_and_constants_are_what_they_say(real):
    inputs, targets = everything(real)
    value, mask, constant = inputs[:, :6], inputs[:, 6:12], inputs[:, 12:]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert not value[mask == 0].any()
    assert torch.equal(constant, constant[:, :, :1].expand_as(constant))
    # 66 to 352 points a light curve; some share a bin.
    assert 30 < mask.sum(dim=(1, 2)).min() < mask.sum(dim=(1, 2)).max() <= 352
    galactic = torch.tensor([CLASSES.index(number) for number in (6, 16, 53, 65, 92)])
    assert torch.equal(inputs[:, 18, 0] == 1, torch.isin(targets, galactic))
    assert not inputs[inputs[:, 18, 0] == 1, 14:17].any()
    assert inputs[inputs[:, 18, 0] == 0][:, 16].min() > 30


def test_splits_are_70_10_20_percent_of_each_class(real, made, tmp_path):
    counts = [torch.bincount(s.targets, minlength=14).numpy() for s in splits(real)]
    for count, share in zip(counts, (0.7, 0.1, 0.2), strict=True):
        assert np.abs(count - share * sum(counts)).max() <= 1.2
        assert (count > 0).all()
    made_counts = [
        torch.bincount(s.targets, minlength=14).tolist()
        for s in splits(load(write(tmp_path, made)))
    ]
    assert [count[CLASSES.index(53)] for count in made_counts] == [1, 1, 1]
    assert np.array(made_counts).min() >= 1


def test_a_class_of_one_object_is_in_training(made, tmp_path):
    curves, metadata = made
    only = metadata[metadata["target"] == 53]["object_id"].iloc[1:]
    task = load(write(tmp_path, (curves[~curves["object_id"].isin(only)], metadata)))
    found = [int((s.targets == CLASSES.index(53)).sum()) for s in splits(task)]
    assert found == [1, 0, 0]


def test_files_in_another_order_are_the_same_task(made, tmp_path):
    mixed = tuple(table.sample(frac=1, random_state=3) for table in made)
    first, second = (load(write(tmp_path / n, t)) for n, t in (("a", made), ("b", mixed)))
    assert first.fingerprint() == second.fingerprint()


def test_leaks_are_no_inputs(made, tmp_path):
    curves, metadata = made
    rng = np.random.default_rng(1)
    leaks = ["hostgal_specz", "ra", "decl", "gal_l", "gal_b"]
    other = metadata.assign(**{column: rng.uniform(0, 5, len(metadata)) for column in leaks})
    # Numbers decide the order before the shuffle, so they change but keep their order.
    other = other.assign(object_id=3 * other["object_id"] + 7)
    renumbered = curves.assign(object_id=3 * curves["object_id"] + 7)
    first = load(write(tmp_path / "a", made))
    second = load(write(tmp_path / "b", (renumbered, other)))
    assert first.fingerprint() == second.fingerprint()
    without = other.drop(columns=leaks)
    third = load(write(tmp_path / "c", (renumbered, without)))
    assert first.fingerprint() == third.fingerprint()


def test_what_the_survey_knows_of_the_host_can_be_left_out(made, tmp_path):
    write(tmp_path, made)
    full, bare = load(tmp_path), load(tmp_path, host=False)
    assert (full.shape, bare.shape) == ((19, 128), (13, 128))
    assert bare.name == "plasticc(host=False, objects=94)"
    for mine, theirs in zip(splits(bare), splits(full), strict=True):
        assert torch.equal(mine.inputs, theirs.inputs[:, :13])


def test_zenodos_names_and_packed_files_are_the_same_task(made, tmp_path):
    curves, metadata = made
    zenodo = (
        curves.rename(columns={"detected": "detected_bool"}),
        metadata.rename(columns={"ddf": "ddf_bool"}).fillna({"distmod": -9.0}),
    )
    ours = load(write(tmp_path / "a", made)).fingerprint()
    folder = tmp_path / "b" / "plasticc"
    folder.mkdir(parents=True)
    names = ("plasticc_train_lightcurves.csv.gz", "plasticc_train_metadata.csv.gz")
    for name, table in zip(names, zenodo, strict=True):
        table.to_csv(folder / name, index=False)
    assert load(tmp_path / "b").fingerprint() == ours


def test_the_complete_light_curves_are_taken_where_a_sample_lies_beside_them(made, tmp_path):
    ours = load(write(tmp_path, made)).fingerprint()
    folder = tmp_path / "plasticc"
    half = made[0][made[0]["object_id"] < made[0]["object_id"].median()]
    half.to_csv(folder / SAMPLE, index=False)
    assert load(tmp_path).fingerprint() == ours
    (folder / "training_set.csv").unlink()
    assert load(tmp_path).fingerprint() != ours


def test_a_number_of_objects_takes_them_at_equal_distances(made, tmp_path):
    curves, metadata = made
    numbers = np.unique(curves["object_id"])
    half = curves[curves["object_id"].isin(numbers[::2])]
    asked = load(write(tmp_path / "a", made), objects=47)
    sample = load(write(tmp_path / "b", (half, metadata)))
    assert asked.name == sample.name == "plasticc(objects=47)"
    assert asked.fingerprint() == sample.fingerprint()


def test_an_object_without_any_flux_has_the_unit_1(made, tmp_path):
    curves, metadata = made
    dark = curves["object_id"] == curves["object_id"].iloc[0]
    inputs, _ = everything(
        load(write(tmp_path, (curves.assign(flux=curves["flux"] * ~dark), metadata)))
    )
    found = inputs[~inputs[:, :6].flatten(1).any(dim=1)]
    assert len(found) == 1
    assert not found[:, 12].any()


def test_the_metric_of_guessing_evenly_is_ln_14_and_of_the_shares_about_3_22(real):
    assert real.metric.name == "weighted log loss"
    assert not real.metric.higher_is_better
    shares = torch.bincount(real.train.targets) / len(real.train)
    for split in splits(real):
        n = len(split)
        even = real.score(torch.zeros(n, 14), split.targets)
        assert even == pytest.approx(math.log(14), rel=1e-14)
        prior = real.score(shares.log().expand(n, 14), split.targets)
        assert prior == pytest.approx(3.224, abs=0.05)  # 3.224 by five folds


def test_the_constant_baseline_finds_the_constant_of_the_smallest_metric(real):
    constant = BASELINES.load("constant")(real, seed=0)
    constant.fit_round()
    found = real.score(constant.predict(real.test.inputs), real.test.targets)
    weights = np.array(IMPORTANCE) / sum(IMPORTANCE)
    assert found == pytest.approx(-(weights * np.log(weights)).sum(), rel=1e-6)


def test_the_training_loss_is_the_metric_of_the_training_split(real):
    outputs = torch.randn(len(real.train), 14, generator=torch.Generator().manual_seed(0))
    loss = float(real.loss(outputs, real.train.targets))
    assert loss == pytest.approx(real.score(outputs, real.train.targets), rel=1e-5)


def test_either_metric_can_be_the_one_that_counts_and_the_other_is_recorded(made, tmp_path):
    write(tmp_path, made)
    log_loss, accuracy = load(tmp_path), load(tmp_path, metric="accuracy")
    assert accuracy.name == "plasticc(metric=accuracy, objects=94)"
    assert accuracy.metric is ACCURACY
    outputs = torch.randn(len(log_loss.test), 14, generator=torch.Generator().manual_seed(0))
    first, second = (t.measure(outputs, log_loss.test.targets) for t in (log_loss, accuracy))
    assert first == second
    assert [list(found)[-1] for found in (first, second)] == ["weighted log loss", "accuracy"]
    plain = torch.nn.functional.cross_entropy(outputs, log_loss.test.targets)
    assert torch.equal(accuracy.loss(outputs, log_loss.test.targets), plain)


def test_augmentation_moves_and_forgets_observations_and_keeps_what_is_constant(made, tmp_path):
    task = load(write(tmp_path, made))
    before = task.train.inputs
    moved = before
    for augment in task.augmentation:
        moved = augment(moved, torch.Generator().manual_seed(0))
    assert torch.equal(moved[:, 12:], before[:, 12:])
    value, mask = moved[:, :6], moved[:, 6:12]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert not value[mask == 0].any()
    assert 0.8 < float(mask.sum() / before[:, 6:12].sum()) < 0.95
    for old, new in zip(before, moved, strict=True):
        starts = range(-4, 5)  # 34 days are 4 bins
        kept = new[6:12].bool()
        fits = [s for s in starts if torch.equal(old[:6].roll(s, 1)[kept], new[:6][kept])]
        assert len(fits) == 1
