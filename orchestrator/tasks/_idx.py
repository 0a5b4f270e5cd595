"""MNIST's idx files: find or download them, read them, and make a task of them."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from orchestrator.tasks._files import Remote, fetch, first_existing
from orchestrator.tasks._images import ten_classes
from search_space.augmentation import Augmentation
from search_space.task import DataError, Split, Task

# A pair of files each; a sample has names of its own and is taken where the complete set is not.
_TRAIN = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("train-images-first3000-idx3-ubyte", "train-labels-first3000-idx1-ubyte"),
)
_TEST = (("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),)


def load_idx(
    load: Callable[..., Task],
    root: Path,
    original: str,
    asked: tuple[int | None, int | None],
    augmentation: tuple[Augmentation, ...],
) -> Task:
    """Make a task of ten classes of 28 x 28 images, of shape (1, 28, 28), bytes 0 to 255.

    Args:
        load: the entry's loader.
        root: folder of all data sets. The files lie in a folder called as the entry, or in
            ``<original>/raw``, packed by gzip or not; missing ones are downloaded to the latter.
        original: torchvision's class of the data set, which knows the addresses and checksums.
        asked: number of training and test images, None for all.
        augmentation: symmetries of the data.

    Raises:
        DataError: files that are missing, cannot be downloaded, are damaged or do not fit.
    """
    entry = load.__module__.rpartition(".")[2]
    folders = (root / entry, root / original / "raw")
    train, test = (_part(_find(pairs, folders, original)) for pairs in (_TRAIN, _TEST))
    return ten_classes(load, (train, test), asked, (60_000, 10_000), augmentation)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read a file of unsigned bytes in the idx format, plain or packed by gzip.

    Returns:
        A uint8 tensor of as many ``dimensions`` as asked for.

    Raises:
        DataError: it cannot be read, is cut off, or is not such a file.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); {_again(path)}") from error
    head = 4 + 4 * dimensions
    magic = bytes((0, 0, 8, dimensions))
    if data[:4] != magic:
        raise DataError(
            f"{path} starts with 0x{data[:4].hex()}, not with 0x{magic.hex()} as an idx file of "
            f"bytes in {dimensions} dimensions does; {_again(path)}"
        )
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, head, 4)]
    if len(data) != head + math.prod(shape):
        raise DataError(
            f"{path} holds {len(data) - head} bytes; its header announces "
            f"{' x '.join(map(str, shape))} = {math.prod(shape)}; {_again(path)}"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=head).reshape(shape).copy())


def _again(path: Path) -> str:
    return f"remove {path.name} to have it downloaded, or replace it"


def _find(
    pairs: tuple[tuple[str, str], ...], folders: tuple[Path, Path], original: str
) -> tuple[Path, Path]:
    def there(folder: Path, name: str) -> Path | None:
        return first_existing((folder / name, folder / f"{name}.gz"))

    for images, labels in pairs:
        for folder in folders:
            found = there(folder, images), there(folder, labels)
            if found[0] and found[1]:
                return found[0], found[1]
    complete = pairs[0]
    begun = (folder for folder in folders if any(there(folder, name) for name in complete))
    folder = next(begun, folders[1])
    first, second = (
        there(folder, name) or fetch(_remote(original, f"{name}.gz"), folder / f"{name}.gz")
        for name in complete
    )
    return first, second


def _remote(original: str, file: str) -> Remote:
    import torchvision.datasets  # slow to import, and needed for a download only

    source = getattr(torchvision.datasets, original)
    sums = dict(source.resources)
    return Remote(tuple(mirror + file for mirror in source.mirrors), f"md5:{sums[file]}")


def _part(files: tuple[Path, Path]) -> Split:
    images, labels = read_idx(files[0], 3), read_idx(files[1], 1)
    if len(images) != len(labels):
        raise DataError(
            f"{files[0]} holds {len(images)} images and {files[1]} {len(labels)} labels; "
            "replace the one that does not belong there"
        )
    if tuple(images.shape[1:]) != (28, 28):
        raise DataError(f"{files[0]} holds images of {list(images.shape[1:])}, not [28, 28]")
    if len(labels) and int(labels.max()) > 9:
        row = int((labels > 9).nonzero()[0])
        raise DataError(f"{files[1]}, item {row}: label {int(labels[row])}; allowed: 0 to 9")
    return Split(images.unsqueeze(1), labels.long())
