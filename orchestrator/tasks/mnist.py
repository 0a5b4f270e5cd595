"""MNIST: handwritten digits, 28 x 28 grey levels, ten classes; 60,000 and 10,000 for the test.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998.
A tenth of the training images, drawn by class with a fixed seed, is the validation split.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.tasks._idx import load_idx
from search_space.augmentation import Shift
from search_space.task import Task


def load(root: Path, *, train: int | None = None, test: int | None = None) -> Task:
    """Load from ``<root>/mnist`` or ``<root>/MNIST/raw``, or download to the latter.

    Args:
        root: folder of all data sets.
        train: use only the first so many training images, the validation split among them.
        test: use only the first so many test images.

    Raises:
        DataError: files that are missing, cannot be downloaded, are damaged or do not fit.
    """
    # The digits keep 4 pixels from the border. A mirrored 2 or 7 is no digit: no Mirror.
    return load_idx(load, root, "MNIST", (train, test), (Shift(2),))
