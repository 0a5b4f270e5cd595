"""PLAsTiCC: light curves of the sky's variable objects in six passbands, 14 classes; 7,848 objects.

The PLAsTiCC team: The Photometric LSST Astronomical Time-series Classification Challenge, data set,
arXiv 1810.00001; the challenge's training part, doi 10.5281/zenodo.2539456. Three simulated years
of the survey LSST, in which an object is observed now and then, in one band at a time.

An object is drawn on a common grid of time: equal bins of the survey's 1,095 days. Its channels:

==========  ========================================================================================
0 to 5      brightness in the bands u, g, r, i, z, y: ``asinh(flux / s)`` of the bin's mean flux,
            weighted by inverse variance; ``s`` is the median of the object's ``|flux|``. 0 where
            nothing was observed.
6 to 11     1 where the band was observed in the bin, else 0.
12          ``ln s``: how bright the object is.
13 to 18    with ``host``, what the survey knows of the place: deep field or not, the photometric
            redshift of the host galaxy, its error, the distance modulus, the dust of our galaxy
            (E(B-V)), and 1 for an object of our own galaxy, which has no host: redshift, error
            and distance are 0 there.
==========  ========================================================================================

Channels from 12 on are constant over time. Never an input: the spectroscopic redshift, which is
known for few objects of the sky, and positions and numbers of objects, which follow the simulation.

The splits are 70, 10 and 20 % of each class. **The challenge's own test set is another one**:
fainter and farther objects, and a class 99 that training lacks. Scores on this task are not to be
held against its leaderboard.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator.tasks._files import Remote, fetch, first_existing
from orchestrator.tasks._images import stratified
from orchestrator.tasks._numbers import Columns, check_column, read_columns
from orchestrator.tasks._parameters import choose, task_name
from search_space.augmentation import First, Forget, Shift
from search_space.log_loss import weighted_log_loss
from search_space.metric import ACCURACY
from search_space.task import DataError, Output, Split, Task, classes, weighted_classes

CLASSES = (6, 15, 16, 42, 52, 53, 62, 64, 65, 67, 88, 90, 92, 95)
OBJECTS = 7_848
# Tidal disruptions and kilonovae are rare and count twice in the challenge.
IMPORTANCE = tuple(2.0 if number in (15, 64) else 1.0 for number in CLASSES)

BANDS = 6
START, DAYS = 59_580.0, 1_095.0  # modified Julian date of the survey's first day, and its length
_TEST_SEED, _VALID_SEED = 0, 1  # other ones make results incomparable

# In training: days that a light curve is moved by at most, and the share of observations left out.
_MOVED, _FORGOTTEN = 34.0, 0.1

_ZENODO = "https://zenodo.org/records/2539456/files/"
CURVES = Remote(
    (f"{_ZENODO}plasticc_train_lightcurves.csv.gz",), "md5:1aa1605908b5a6398bd46bf9120b6400"
)
METADATA = Remote(
    (f"{_ZENODO}plasticc_train_metadata.csv.gz",), "md5:8c6b00fd503d6cf3d9a42bfb53046e0f"
)
# As Kaggle, Zenodo and our sample call them; a sample is taken where the complete set is not.
_CURVES = ("training_set", "plasticc_train_lightcurves", "training_set_every12th")
_METADATA = ("training_set_metadata", "plasticc_train_metadata")

_log = logging.getLogger(__name__)


def load(
    root: Path,
    *,
    bins: int = 128,
    host: bool = True,
    metric: Literal["weighted_log_loss", "accuracy"] = "weighted_log_loss",
    objects: int | None = None,
) -> Task:
    """Load from ``<root>/plasticc``, or download Zenodo's files to there.

    Kaggle's ``training_set.csv`` and ``training_set_metadata.csv`` do as well, packed by gzip or
    not. A sample, ``training_set_every12th.csv``, is used where the complete light curves are not
    there; it is the same task as ``objects=654``.

    Args:
        root: folder of all data sets.
        bins: of the grid of time, 2 to 1,095; 128 are of 8.6 days each.
        host: whether inputs have channels 13 to 18 (see the top of this file).
        metric: what results are compared by; the other one is recorded too. Networks are trained
            on the loss that fits: for ``weighted_log_loss``, in which a rare class counts as much
            as a frequent one, a cross entropy weighted so that it is the metric; for ``accuracy``
            the plain one.
        objects: use only so many, at equal distances in the order of their numbers.

    Raises:
        DataError: files that are missing, cannot be downloaded, or are not what they should be.
    """
    choose("metric", metric, {"weighted_log_loss": None, "accuracy": None})
    if not 2 <= bins <= DAYS:
        raise DataError(f"bins is {bins}; use 2 to {DAYS:.0f}")
    folder = root / "plasticc"
    curves_path = _find(folder, _CURVES, CURVES)
    metadata_path = _find(folder, _METADATA, METADATA)
    curves = _read_curves(curves_path)
    numbers = np.unique(curves["object_id"])
    metadata = _read_metadata(metadata_path, curves_path, numbers)
    chosen = _chosen(objects, len(numbers))
    series, unit = _series(curves, numbers, bins)
    constants = np.stack([np.log(unit), *(_host(metadata) if host else ())], axis=1)
    constants = np.repeat(constants[chosen, :, None], bins, axis=2)
    examples = Split(
        torch.from_numpy(np.concatenate([series[chosen], constants], axis=1).astype(np.float32)),
        torch.from_numpy(np.searchsorted(CLASSES, metadata["target"][chosen])),
    )
    used = None if len(chosen) == OBJECTS else len(chosen)
    name = task_name(load, bins=bins, host=host, metric=metric, objects=used)
    if objects is None and used is not None:
        _log.warning("%s: the files hold only a part of the data set", name)
    rest, test = stratified(examples.targets, 0.2, _TEST_SEED)
    train, valid = (rest[part] for part in stratified(examples.targets[rest], 0.125, _VALID_SEED))
    moved = round(_MOVED / DAYS * bins)
    return Task.of(
        name,
        _output(metric, examples.targets[train]),
        examples.rows(train),
        examples.rows(valid),
        examples.rows(test),
        # No Mirror: a supernova rises fast and fades slowly. Bands are never exchanged.
        (First(2 * BANDS, Shift(moved)), First(2 * BANDS, Forget(_FORGOTTEN))),
    )


def _output(metric: str, targets: Tensor) -> Output:
    if metric == "weighted_log_loss":
        return weighted_classes(IMPORTANCE, targets)
    plain = classes(len(CLASSES))
    return Output(plain.size, plain.dense, plain.loss, ACCURACY, (weighted_log_loss(IMPORTANCE),))


def _chosen(objects: int | None, count: int) -> NDArray[np.int64]:
    if objects is None:
        return np.arange(count)
    if not 1 <= objects <= count:
        raise DataError(f"objects is {objects}; the files hold {count}: use 1 to {count}")
    return np.arange(objects) * count // objects


def _find(folder: Path, names: tuple[str, ...], remote: Remote) -> Path:
    paths = [folder / f"{name}.csv{packed}" for name in names for packed in ("", ".gz")]
    return first_existing(paths) or fetch(remote, folder / remote.addresses[0].rpartition("/")[2])


def _read_curves(path: Path) -> Columns:
    """Read the observations, one row each, in the order of objects, time and band."""
    rows = read_columns(
        path, dict.fromkeys(("object_id", "mjd", "passband", "flux", "flux_err"), ())
    )
    check_column(path, rows, "object_id", rows["object_id"] % 1 == 0, "a whole number")
    inside = (rows["mjd"] >= START) & (rows["mjd"] < START + DAYS)
    check_column(path, rows, "mjd", inside, f"from {START:.0f} to {START + DAYS:.0f}")
    check_column(path, rows, "passband", np.isin(rows["passband"], range(BANDS)), "0 to 5")
    check_column(path, rows, "flux", np.isfinite(rows["flux"]), "a finite number")
    error = rows["flux_err"]
    check_column(
        path, rows, "flux_err", np.isfinite(error) & (error > 0), "a finite number above 0"
    )
    # The order of a sum changes its last digit: sorted, a file in any order is the same task.
    order = np.lexsort((rows["flux"], rows["passband"], rows["mjd"], rows["object_id"]))
    return {column: values[order] for column, values in rows.items()}


def _read_metadata(path: Path, curves: Path, numbers: NDArray[np.float64]) -> Columns:
    """Read what is known of the objects ``numbers``, in their order; ``curves`` is for messages."""
    rows = read_columns(
        path,
        {
            "object_id": (),
            "target": (),
            "ddf": ("ddf_bool",),  # on Zenodo
            "hostgal_photoz": (),
            "hostgal_photoz_err": (),
            "distmod": (),
            "mwebv": (),
        },
    )
    found, first = np.unique(rows["object_id"], return_index=True)
    again = np.setdiff1d(np.arange(len(rows["object_id"])), first)
    if len(again):
        number = rows["object_id"][again[0]]
        raise DataError(f"{path}, line {again[0] + 2}: object {number:.0f} stands here again")
    missing = numbers[~np.isin(numbers, found)]
    if len(missing) == len(numbers):
        raise DataError(f"{path} knows no object of {curves}; replace the one that is wrong")
    if len(missing):
        raise DataError(
            f"{path} lacks {len(missing)} of the {len(numbers)} objects of {curves}, the first is "
            f"object {missing[0]:.0f}; use the metadata that belong to the light curves"
        )
    if (rows["target"] == 99).any():
        line = np.flatnonzero(rows["target"] == 99)[0] + 2
        raise DataError(
            f"{path}, line {line}: target 99 is in the challenge's test set only; "
            "use the training set's files"
        )
    check_column(
        path, rows, "target", np.isin(rows["target"], CLASSES), ", ".join(map(str, CLASSES))
    )
    check_column(path, rows, "ddf", np.isin(rows["ddf"], (0, 1)), "0 or 1")
    for column in ("hostgal_photoz", "hostgal_photoz_err", "mwebv"):
        check_column(path, rows, column, np.isfinite(rows[column]), "a finite number")
    # Kaggle says nan and Zenodo -9 where there is no host; a host has a distance.
    known = (rows["hostgal_photoz"] <= 0) | (rows["distmod"] > 0)
    check_column(path, rows, "distmod", known, "above 0 where hostgal_photoz is")
    mine = first[np.searchsorted(found, numbers)]
    return {column: values[mine] for column, values in rows.items()}


def _series(
    curves: Columns, numbers: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return values and masks ``[objects, 12, bins]``, and each object's median ``|flux|``."""
    shape = (len(numbers), BANDS, bins)
    number = np.searchsorted(numbers, curves["object_id"])
    band = curves["passband"].astype(np.int64)
    time = ((curves["mjd"] - START) / DAYS * bins).astype(np.int64)
    cell = np.ravel_multi_index((number, band, time), shape)
    weight = curves["flux_err"] ** -2.0
    total = np.bincount(cell, weight, np.prod(shape)).reshape(shape)
    flux = np.bincount(cell, weight * curves["flux"], np.prod(shape)).reshape(shape)
    observed = total > 0
    mean = np.divide(flux, total, out=np.zeros(shape), where=observed)
    size = pd.Series(np.abs(curves["flux"])).groupby(number).median().to_numpy()
    unit = np.where(size > 0, size, 1.0)
    value = np.arcsinh(mean / unit[:, None, None])
    return np.concatenate([value, observed], axis=1, dtype=np.float32, casting="same_kind"), unit


def _host(metadata: Columns) -> list[NDArray[np.float64]]:
    """Return channels 13 to 18 of the objects, one number each."""
    ours = metadata["hostgal_photoz"] <= 0
    columns = ("hostgal_photoz", "hostgal_photoz_err", "distmod")
    away = [np.where(ours, 0.0, metadata[column]) for column in columns]
    return [metadata["ddf"], *away, metadata["mwebv"], ours.astype(np.float64)]
