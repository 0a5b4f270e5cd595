"""Images with classes: the first n of each part, and a validation part out of the training part."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from orchestrator.tasks._parameters import task_name
from search_space.augmentation import Augmentation
from search_space.task import DataError, Split, Task, classes

VALIDATION = 0.1  # of the training images
SEED = 1  # of the draw of the validation images; another one makes results incomparable

_log = logging.getLogger(__name__)


def stratified(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw ``share`` of each class from ``labels`` ``[N]`` at random.

    Returns:
        The indices that stay and the indices drawn, both in rising order. The number drawn of each
        class is rounded; a class of one example stays, one of two or more gives at least one.
    """
    # RandomState: numpy promises that its stream never changes, so neither does the split.
    rng = np.random.RandomState(seed)
    drawn = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        order = torch.from_numpy(rng.permutation(len(members)))
        count = max(round(share * len(members)), 1) if len(members) > 1 else 0
        drawn[members[order[:count]]] = True
    return (~drawn).nonzero().flatten(), drawn.nonzero().flatten()


def ten_classes(
    load: Callable[..., Task],
    parts: tuple[Split, Split],
    asked: tuple[int | None, int | None],
    complete: tuple[int, int],
    augmentation: tuple[Augmentation, ...],
) -> Task:
    """Make the task of an image set that comes in a training and a test part.

    Args:
        load: the entry's loader, which has the parameters ``train`` and ``test``.
        parts: training and test part as they lie in the files.
        asked: how many images of each part to use, from the first; None for all.
        complete: how many each part has when it is complete. A smaller part, such as a sample of
            the first 3,000, is the same task as the complete one with ``train=3000``, and is named
            so: a result on a sample cannot pass for one on the whole set.
        augmentation: symmetries of the data.
    """
    used = [_first(*each) for each in zip(("train", "test"), parts, asked, strict=True)]
    counts = [None if len(u) == n else len(u) for u, n in zip(used, complete, strict=True)]
    name = task_name(load, train=counts[0], test=counts[1])
    if any(a is None and n is not None for a, n in zip(asked, counts, strict=True)):
        _log.warning("%s: the files hold only a part of the data set", name)
    rest, drawn = stratified(used[0].targets, VALIDATION, SEED)
    if len(drawn) == 0:
        raise DataError(f"train={len(used[0])} is too few: no class has two images; use more")
    return Task.of(
        name, classes(10), used[0].rows(rest), used[0].rows(drawn), used[1], augmentation
    )


def _first(parameter: str, part: Split, count: int | None) -> Split:
    if count is None:
        return part
    if not 1 <= count <= len(part):
        raise DataError(f"{parameter} is {count}; the files hold {len(part)}: use 1 to {len(part)}")
    return Split(part.inputs[:count], part.targets[:count])
