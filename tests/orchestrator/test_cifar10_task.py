"""CIFAR-10: numbers in print, and every way a file can be bad or hostile."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.tasks import cifar10
from search_space.augmentation import Mirror, Shift
from search_space.task import DataError

pytestmark = pytest.mark.usefixtures("offline")


def test_cifar10_has_the_published_first_labels_and_pixels(sample):
    task = cifar10.load(sample("cifar10"), test=400)
    assert task.shape == (3, 32, 32)
    assert task.test.targets[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert task.test.inputs[0, :, 0, 0].tolist() == [158, 112, 49]
    known = torch.tensor([59, 62, 63], dtype=torch.uint8)
    seen = torch.cat([task.train.inputs, task.valid.inputs])[:, :, 0, 0]
    assert (seen == known).all(dim=1).any()
    assert task.augmentation == (Mirror(1), Shift(4))


def _write_npz(root: Path, **changes: np.ndarray | None) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray | None] = {
        "train_images": rng.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8),
        "train_labels": np.arange(30) % 10,
        "test_images": rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8),
        "test_labels": np.arange(10),
    }
    (root / "cifar10").mkdir()
    path = root / "cifar10" / "cifar10_subset.npz"
    kept = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez_compressed(path, **kept)
    return path


def test_a_cifar10_sample_keeps_every_pixel_in_its_place(tmp_path):
    with np.load(_write_npz(tmp_path)) as file:
        images, labels = file["test_images"], file["test_labels"]
    task = cifar10.load(tmp_path)
    assert task.name == "cifar10(train=30, test=10)"
    np.testing.assert_array_equal(task.test.inputs.permute(0, 2, 3, 1).numpy(), images)
    np.testing.assert_array_equal(task.test.targets.numpy(), labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "test_labels"),
        ({"train_labels": np.arange(29) % 10}, "train: 30 images and 29 labels"),
        ({"train_labels": np.full(30, 10)}, "train, item 0: label 10; allowed: 0 to 9"),
        ({"test_labels": np.full(10, -1)}, "test, item 0: label -1; allowed: 0 to 9"),
        ({"test_labels": np.full(10, np.nan)}, "test: labels are float64"),
        ({"train_images": np.zeros((30, 3, 32, 32), np.uint8)}, r"\(30, 3, 32, 32\), not uint8"),
        ({"test_images": np.full((10, 32, 32, 3), np.nan)}, "test: images are float64"),
        ({"test_labels": np.array([{}] * 10, dtype=object)}, "cannot be read"),
    ],
)
def test_a_broken_cifar10_sample_is_named_with_the_fault(tmp_path, changes, message):
    path = _write_npz(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        cifar10.load(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_cut_off_cifar10_sample_is_named(tmp_path, keep):
    path = _write_npz(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(DataError, match="cannot be read") as caught:
        cifar10.load(tmp_path)
    assert str(path) in str(caught.value)


class _Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("folder", [".", "cifar10"])
def test_a_cifar10_batch_with_another_checksum_is_never_unpickled(tmp_path, folder):
    batches = tmp_path / folder / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    trap = tmp_path / "sprung"
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]:
        (batches / name).write_bytes(pickle.dumps(_Trap(trap)))
    with pytest.raises(DataError, match="data_batch_1 differs from the published file"):
        cifar10.load(tmp_path)
    assert not trap.exists()
    pickle.load(io.BytesIO((batches / "data_batch_1").read_bytes()))
    assert trap.exists()  # the trap works


def test_a_missing_cifar10_batch_is_named(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="data_batch_1 is missing"):
        cifar10.load(tmp_path)
