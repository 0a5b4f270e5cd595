"""MNIST and Fashion-MNIST: numbers in print, samples, and every way a file can be bad."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.tasks import fashion_mnist, mnist
from orchestrator.tasks._files import MissingDataError
from search_space.augmentation import Mirror, Shift
from search_space.task import DataError

pytestmark = pytest.mark.usefixtures("offline")
IDX = {
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}


def _idx(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def _write_idx(folder: Path, n: int = 40, packed: bool = False) -> Path:
    """Write a small data set in MNIST's format; the label of an image is its first pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, dimensions in IDX.items():
        labels = np.arange(n) % 10
        images = rng.integers(0, 256, (n, 28, 28))
        images[:, 0, 0] = labels
        data = _idx(images if dimensions == 3 else labels)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    return folder


def test_mnist_has_the_published_labels_mean_and_sizes(sample):
    root = sample("mnist")
    task = mnist.load(root)
    assert task.name == "mnist"
    assert (len(task.train) + len(task.valid), len(task.test)) == (60_000, 10_000)
    assert len(task.valid) == pytest.approx(6_000, abs=5)
    total = sum(int(split.inputs.sum()) for split in (task.train, task.valid))
    assert total / (60_000 * 784) == pytest.approx(33.318, abs=5e-4)
    assert task.test.targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert task.augmentation == (Shift(2),)


def test_the_first_n_images_are_those_of_the_files_in_order(sample):
    task = mnist.load(sample("mnist"), train=20, test=3)
    assert task.name == "mnist(train=20, test=3)"
    assert task.test.targets.tolist() == [7, 2, 1]
    labels = torch.cat([task.train.targets, task.valid.targets]).tolist()
    assert sorted(labels) == sorted([5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9])


def test_a_sample_of_fashion_mnist_is_the_task_of_its_first_3000_images(sample):
    task = fashion_mnist.load(sample("fashion_mnist"))
    if len(task.train) + len(task.valid) == 60_000:
        pytest.skip("the complete training files are there")
    assert task.name == "fashion_mnist(train=3000)"
    assert (len(task.train) + len(task.valid), len(task.test)) == (3_000, 10_000)
    assert task.test.targets[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert torch.bincount(task.test.targets).tolist() == [1_000] * 10
    asked = fashion_mnist.load(sample("fashion_mnist"), train=3000)
    assert asked.fingerprint() == task.fingerprint()
    assert task.augmentation == (Mirror(1), Shift(2))


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_found_in_either_folder_packed_or_not_and_nothing_is_written(
    tmp_path, folder, packed
):
    _write_idx(tmp_path / folder, packed=packed)
    paths = [tmp_path, *tmp_path.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in paths}
    task = mnist.load(tmp_path)
    assert task.name == "mnist(train=40, test=40)"
    assert torch.equal(task.train.inputs[:, 0, 0, 0].long(), task.train.targets)
    assert (len(task.train), len(task.valid), len(task.test)) == (30, 10, 40)
    assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before


def test_every_image_keeps_its_label_however_many_are_used(tmp_path):
    _write_idx(tmp_path / "mnist")
    task = mnist.load(tmp_path, train=33, test=7)
    for split in (task.train, task.valid, task.test):
        assert torch.equal(split.inputs[:, 0, 0, 0].long(), split.targets)
    assert task.test.targets.tolist() == list(range(7))


def _damage(folder: Path, how: str) -> str:
    """Damage a file of the data set and return its name."""
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    if how == "cut off":
        images.write_bytes(images.read_bytes()[:-1])
    elif how == "too long":
        images.write_bytes(images.read_bytes() + b"\0")
    elif how == "empty":
        images.write_bytes(b"")
    elif how == "magic":
        images.write_bytes(b"\0\0\x0d\x03" + images.read_bytes()[4:])
    elif how == "labels for images":
        images.write_bytes(labels.read_bytes())
    elif how == "header only":
        images.write_bytes(images.read_bytes()[:6])
    elif how == "counts":
        labels.write_bytes(_idx(np.zeros(39)))
    elif how == "size":
        images.write_bytes(_idx(np.zeros((40, 27, 28))))
    elif how == "label":
        labels.write_bytes(_idx(np.arange(40)))
    else:
        data = gzip.compress(images.read_bytes())
        images.unlink()
        images = folder / f"{images.name}.gz"
        half = {"gz cut": data[: len(data) // 2], "gz noise": data[:50] + b"\xff" * 99 + data[149:]}
        images.write_bytes({**half, "no gz": b"<html>404</html>"}[how])
    return labels.name if how in ("counts", "label") else images.name


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut off", "31359 bytes.*40 x 28 x 28 = 31360"),
        ("too long", "31361 bytes.*40 x 28 x 28 = 31360"),
        ("empty", "starts with 0x, not with 0x00000803"),
        ("magic", "starts with 0x00000d03, not with 0x00000803"),
        ("labels for images", "starts with 0x00000801, not with 0x00000803"),
        ("header only", "its header announces"),
        ("counts", "40 images and .* 39 labels"),
        ("size", r"images of \[27, 28\], not \[28, 28\]"),
        ("label", "item 10: label 10; allowed: 0 to 9"),
        ("gz cut", "cannot be read"),
        ("gz noise", "cannot be read"),
        ("no gz", "cannot be read"),
    ],
)
def test_a_broken_idx_file_is_named_with_the_fault(tmp_path, how, message):
    name = _damage(_write_idx(tmp_path / "mnist"), how)
    with pytest.raises(DataError, match=message) as caught:
        mnist.load(tmp_path)
    assert str(tmp_path / "mnist" / name) in str(caught.value)
    assert not isinstance(caught.value, MissingDataError)


@pytest.mark.parametrize("name", IDX)
def test_a_missing_file_is_asked_for_where_its_companion_lies(tmp_path, name):
    (_write_idx(tmp_path / "mnist") / name).unlink()
    with pytest.raises(MissingDataError, match=f"{name}.gz is missing") as caught:
        mnist.load(tmp_path)
    assert str(tmp_path / "mnist") in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [{"train": 0}, {"train": -1}, {"test": 0}, {"train": 41}, {"test": 10**9}]
)
def test_a_count_that_the_files_do_not_hold_is_refused(tmp_path, arguments):
    _write_idx(tmp_path / "mnist")
    ((parameter, count),) = arguments.items()
    with pytest.raises(DataError, match=f"{parameter} is {count}; the files hold 40: use 1 to 40"):
        mnist.load(tmp_path, **arguments)


def test_too_few_images_for_a_validation_split_are_refused(tmp_path):
    _write_idx(tmp_path / "mnist")
    with pytest.raises(DataError, match="train=10 is too few"):
        mnist.load(tmp_path, train=10)
