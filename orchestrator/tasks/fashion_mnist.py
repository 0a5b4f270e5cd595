"""Fashion-MNIST: photographs of clothing, 28 x 28 grey levels, ten classes; 60,000 and 10,000.

Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv 1708.07747.
A tenth of the training images, drawn by class with a fixed seed, is the validation split.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.tasks._idx import load_idx
from search_space.augmentation import Mirror, Shift
from search_space.task import Task


def load(root: Path, *, train: int | None = None, test: int | None = None) -> Task:
    """Load from ``<root>/fashion_mnist`` or ``<root>/FashionMNIST/raw``, or download to the latter.

    A sample, ``train-images-first3000-idx3-ubyte`` and its labels, is used where the complete
    training files are not there; it is the same task as ``train=3000``.

    Args:
        root: folder of all data sets.
        train: use only the first so many training images, the validation split among them.
        test: use only the first so many test images.

    Raises:
        DataError: files that are missing, cannot be downloaded, are damaged or do not fit.
    """
    return load_idx(load, root, "FashionMNIST", (train, test), (Mirror(1), Shift(2)))
