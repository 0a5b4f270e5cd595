"""The PLAsTiCC task: files and parameters that are wrong, and what is said of them."""

from __future__ import annotations

import gzip
import shutil

import pandas as pd
import pytest

from light_curves import Tables, light_curves, write
from orchestrator.tasks.plasticc import load
from search_space.task import DataError

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module")
def made() -> Tables:
    """Light curves and metadata of 7 objects of each class, 3 of class 53, and more metadata."""
    return light_curves()


def line(table: pd.DataFrame, row: int, **values: object) -> pd.DataFrame:
    changed = table.astype(dict.fromkeys(values, object))
    for column, value in values.items():
        changed.loc[row, column] = value
    return changed


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (4, {"flux": "nan"}, r"line 6, flux: nan; allowed: a finite number"),
        (0, {"flux": ""}, r"line 2, flux: nan"),
        (4, {"flux": "bright"}, r"cannot be read .*bright"),
        (7, {"flux_err": 0}, r"line 9, flux_err: 0; allowed: a finite number above 0"),
        (7, {"passband": 6}, r"line 9, passband: 6; allowed: 0 to 5"),
        (9, {"mjd": 60_675.5}, r"line 11, mjd: 60675.5; allowed: from 59580 to 60675"),
        (9, {"object_id": 1.5}, r"line 11, object_id: 1.5; allowed: a whole number"),
        (9, {"object_id": 3}, r"lacks 1 of the 95 objects of .*training_set.csv, .* object 3;"),
    ],
)
def test_a_wrong_observation_is_named_with_file_line_and_column(
    made, tmp_path, row, values, message
):
    write(tmp_path, (line(made[0], row, **values), made[1]))
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert str(tmp_path / "plasticc" / "training_set") in str(caught.value)


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (3, {"target": 99}, r"line 5: target 99 is in the challenge's test set only; use"),
        (3, {"target": 7}, r"line 5, target: 7; allowed: 6, 15, 16, 42, .*95"),
        (3, {"ddf": 2}, r"line 5, ddf: 2; allowed: 0 or 1"),
        (3, {"mwebv": "nan"}, r"line 5, mwebv: nan; allowed: a finite number"),
        (
            12,
            {"distmod": "nan"},
            r"line 14, distmod: nan; allowed: above 0 where hostgal_photoz is",
        ),
    ],
)
def test_wrong_metadata_are_named_with_file_line_and_column(made, tmp_path, row, values, message):
    path = tmp_path / "plasticc" / "training_set_metadata.csv"
    write(tmp_path, (made[0], line(made[1], row, **values)))
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)


def test_objects_that_stand_twice_or_belong_to_other_light_curves_are_refused(made, tmp_path):
    curves, metadata = made
    twice = pd.concat([metadata, metadata.iloc[[3]]])
    with pytest.raises(DataError, match=rf"line {len(twice) + 1}: object \d+ stands here again"):
        load(write(tmp_path, (curves, twice)))
    others = metadata.assign(object_id=metadata["object_id"] + 50_000)
    with pytest.raises(DataError, match=r"metadata.csv knows no object of .*training_set.csv"):
        load(write(tmp_path, (curves, others)))


@pytest.mark.parametrize("column", ["object_id", "mjd", "passband", "flux", "flux_err"])
def test_a_missing_column_of_the_light_curves_is_named(made, tmp_path, column):
    write(tmp_path, (made[0].drop(columns=column), made[1]))
    with pytest.raises(DataError, match=rf"training_set.csv has no column '{column}'; its first"):
        load(tmp_path)


@pytest.mark.parametrize("column", ["object_id", "target", "ddf", "hostgal_photoz", "distmod"])
def test_a_missing_column_of_the_metadata_is_named(made, tmp_path, column):
    write(tmp_path, (made[0], made[1].drop(columns=column)))
    with pytest.raises(DataError, match=rf"metadata.csv has no column '{column}'; its first"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column 'object_id'"),
        (b"object_id,mjd,passband,flux,flux_err\n", "holds no data"),
        (b"object_id,mjd,passband,flux,flux_err\n1,2,3\n", "cannot be read .*olumns"),
        (b"\x1f\x8b\x08\x00\xff\xfe", "has no column"),
    ],
)
def test_a_file_that_is_no_such_table_is_named(made, tmp_path, content, message):
    path = write(tmp_path, made) / "plasticc" / "training_set.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)


def test_a_packed_file_that_is_cut_off_is_named(made, tmp_path):
    folder = write(tmp_path, made) / "plasticc"
    data = gzip.compress((folder / "training_set.csv").read_bytes())
    (folder / "training_set.csv").unlink()
    path = folder / "training_set.csv.gz"
    for size in (5, len(data) // 2):
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match="cannot be read") as caught:
            load(tmp_path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metric": "auc"}, "metric is 'auc'"),
        ({"bins": 1}, "bins is 1; use 2 to 1095"),
        ({"bins": 1096}, "bins is 1096"),
        ({"objects": 0}, "objects is 0; the files hold 94: use 1 to 94"),
        ({"objects": 95}, "objects is 95"),
    ],
)
def test_parameters_out_of_range_are_refused_with_what_is_allowed(made, tmp_path, given, message):
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, made), **given)


def test_missing_files_are_named_with_where_they_are_from_and_where_they_belong(made, tmp_path):
    write(tmp_path, made)
    (tmp_path / "plasticc" / "training_set_metadata.csv").unlink()
    path = tmp_path / "plasticc" / "plasticc_train_metadata.csv.gz"
    with pytest.raises(DataError, match=r"download https://zenodo.org/records/2539456/") as caught:
        load(tmp_path)
    assert f"put it at {path}" in str(caught.value)
    shutil.rmtree(tmp_path / "plasticc")
    with pytest.raises(DataError, match=r"train_lightcurves\.csv\.gz by hand"):
        load(tmp_path)
