"""Digits: handwritten digits, 8 x 8, ten classes, 1,797 images; comes with scikit-learn.

The test part of UCI's "Optical recognition of handwritten digits" (Alpaydin and Kaynak, 1998). The
smallest real task: nothing to download. It has no published split, so ours is drawn by class with
fixed seeds: 60 % training, 20 % validation, 20 % test.
"""

from __future__ import annotations

from pathlib import Path

import torch

from orchestrator.tasks._images import stratified
from search_space.task import Split, Task, classes

_TEST_SEED, _VALID_SEED = 0, 1


def load(root: Path) -> Task:
    """Load from scikit-learn; ``root`` is not read. Inputs are (1, 8, 8), whole numbers 0 to 16."""
    from sklearn.datasets import load_digits  # slow to import, and needed here only

    data = load_digits()
    images = torch.from_numpy(data.images).to(torch.uint8).unsqueeze(1)
    examples = Split(images, torch.from_numpy(data.target).long())
    rest, test = stratified(examples.targets, 0.2, _TEST_SEED)
    train, valid = (rest[i] for i in stratified(examples.targets[rest], 0.25, _VALID_SEED))
    # No symmetry: a mirrored digit is none, and every image touches the top and the bottom, so
    # that a shift by one pixel cuts strokes off. It cost a small network 1 % accuracy.
    return Task.of(
        "digits", classes(10), examples.rows(train), examples.rows(valid), examples.rows(test)
    )
