"""CIFAR-10: photographs, 32 x 32 in three colours, ten classes; 50,000 and 10,000 for the test.

Krizhevsky: Learning multiple layers of features from tiny images, 2009.
A tenth of the training images, drawn by class with a fixed seed, is the validation split.

The original batches are pickles, and reading a pickle runs whatever is in it. They are read by
torchvision only, which compares each file's md5 with the published one first; a file that differs
is refused unread.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import uuid
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.tasks._files import Remote, digest, fetch, first_existing
from orchestrator.tasks._images import ten_classes
from search_space.augmentation import Mirror, Shift
from search_space.task import DataError, Split, Task

_BATCHES = "cifar-10-batches-py"
_SAMPLE = "cifar10/cifar10_subset.npz"


def load(root: Path, *, train: int | None = None, test: int | None = None) -> Task:
    """Load ``cifar-10-batches-py`` from ``<root>`` or ``<root>/cifar10``, or download it to <root>.

    A sample, ``<root>/cifar10/cifar10_subset.npz`` with the first images of both parts, is used
    where the complete set is not there; it is the same task as with ``train`` and ``test`` given.

    Args:
        root: folder of all data sets.
        train: use only the first so many training images, the validation split among them.
        test: use only the first so many test images.

    Raises:
        DataError: files that are missing, cannot be downloaded, are damaged or do not fit.
    """
    folder = next((f for f in (root, root / "cifar10") if os.path.isdir(f / _BATCHES)), None)
    if folder is None and first_existing([root / _SAMPLE]):
        parts = _read_sample(root / _SAMPLE)
    else:
        parts = _read_batches(folder or _download(root))
    return ten_classes(load, parts, (train, test), (50_000, 10_000), (Mirror(1), Shift(4)))


def _read_sample(path: Path) -> tuple[Split, Split]:
    names = [f"{part}_{what}" for part in ("train", "test") for what in ("images", "labels")]
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in names}
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read ({error}); it must be an npz file with {', '.join(names)}; "
            "remove it to have the complete set downloaded, or replace it"
        ) from error
    train, test = (
        _part(f"{path}, {part}", arrays[f"{part}_images"], arrays[f"{part}_labels"])
        for part in ("train", "test")
    )
    return train, test


def _read_batches(folder: Path) -> tuple[Split, Split]:
    from torchvision.datasets import CIFAR10  # slow to import, and needed for the complete set only
    from torchvision.datasets.utils import check_integrity

    try:
        for name, md5 in [*CIFAR10.train_list, *CIFAR10.test_list]:
            path = folder / _BATCHES / name
            if not check_integrity(path, md5):
                fault = "differs from the published file" if path.is_file() else "is missing"
                raise DataError(
                    f"{path} {fault}; remove the folder {_BATCHES} to have it downloaded, or put "
                    f"there what {CIFAR10.url} contains"
                )
        parts = [CIFAR10(folder, train=train) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise DataError(f"{folder / _BATCHES} cannot be read ({error}); remove it") from error
    train, test = (_part(str(folder), part.data, np.asarray(part.targets)) for part in parts)
    return train, test


def _part(where: str, images: NDArray[np.uint8], labels: NDArray[np.integer]) -> Split:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
        raise DataError(f"{where}: images are {images.dtype} {images.shape}, not uint8 (N,32,32,3)")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{where}: labels are {labels.dtype} {labels.shape}, not integers (N,)")
    if len(images) != len(labels):
        raise DataError(f"{where}: {len(images)} images and {len(labels)} labels")
    outside = np.flatnonzero((labels < 0) | (labels > 9))
    if len(outside):
        row = outside[0]
        raise DataError(f"{where}, item {row}: label {labels[row]}; allowed: 0 to 9")
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return Split(inputs, torch.from_numpy(labels.astype(np.int64)))


def _download(root: Path) -> Path:
    from torchvision.datasets import CIFAR10

    archive = root / CIFAR10.filename
    remote = Remote((CIFAR10.url,), f"md5:{CIFAR10.tgz_md5}")
    if not first_existing([archive]):
        fetch(remote, archive)
    # Unpacked aside and renamed, so that a folder of this name is always complete.
    part = root / f".{_BATCHES}.{uuid.uuid4().hex}.part"
    try:
        if digest(archive, "md5") != remote.digest:
            raise DataError(f"{archive} differs from the published file; remove or replace it")
        with tarfile.open(archive) as tar:
            tar.extractall(part)
        if not (root / _BATCHES).is_dir():  # another process may have been faster
            os.replace(part / _BATCHES, root / _BATCHES)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); unpack it by hand") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root
