"""Graphene kirigami: from where a sheet of graphene is cut to how far it stretches; 29,791 sheets.

Hanakata, Cubuk, Campbell, Park: Accelerated search and design of stretchable graphene kirigami
using machine learning, PRL 121, 255304 (2018); erratum PRL 123, 069901. A sheet has 3 x 5 cells,
each intact (1) or cut (0), with an intact one in every row; the file holds all such sheets.

**Mirror images have equal targets in the file, to every digit, all 29,791 of them.** There are
7,828 sheets that differ by more than a mirror. The published split ignores that: 98 % of its test
sheets have a mirror image in the other part; looking the answer up there gives R2 0.99. Hence two:

``published``: the test split of the numbers in print, to compare with them. Training sees mirror
    images of most test sheets, all the more with the mirrors as augmentation: R2 is flattered.
``grouped``: all mirror images of a sheet in one split, to know what is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator.tasks._files import Remote, fetch, first_existing
from orchestrator.tasks._numbers import read_numbers
from orchestrator.tasks._parameters import choose, task_name
from search_space.augmentation import Augmentation, Mirror
from search_space.task import DataError, Split, Task, regression

FILE = "15grid_shuffled.dat"
REMOTE = Remote(
    (f"https://github.com/phanakata/ML_for_kirigami_design/raw/master/mddata/{FILE}",),
    "git:bc4e427076b37ae737c3f1570b6c36a0c1efa99e",
)
SHEETS = (2**5 - 1) ** 3
_CELLS = 15
_TARGETS = {"yield_strain": 15, "toughness": 16, "yield_stress": 17}  # column of the file


@dataclass(frozen=True)
class _Drawing:
    """How a cell is drawn: ``rows`` x ``columns`` of ones, in which a cut clears ``cut`` rows.

    ``pad`` rows of zeros stand above and below the sheet. ``mirrors`` are the mirror images of a
    drawing that are drawings of a sheet themselves.
    """

    rows: int
    columns: int
    cut: slice
    pad: int
    mirrors: tuple[Augmentation, ...]


_DRAWINGS = {
    "coarse": _Drawing(1, 1, slice(0, 1), 0, (Mirror(0), Mirror(1))),
    "medium": _Drawing(3, 2, slice(1, 2), 0, (Mirror(0), Mirror(1))),
    # Three rows of ten have no middle: upside down, every cut would lie one row too high.
    "fine": _Drawing(10, 16, slice(4, 7), 1, (Mirror(1),)),
}


def load(
    root: Path,
    *,
    target: Literal["yield_strain", "toughness", "yield_stress"] = "yield_strain",
    resolution: Literal["coarse", "medium", "fine"] = "medium",
    split: Literal["published", "grouped"] = "published",
) -> Task:
    """Load from ``<root>/graphene_kirigami``, or download the authors' file to there.

    Args:
        root: folder of all data sets.
        target: yield strain (a plain number), toughness (GPa) or yield stress (GPa).
        resolution: ``coarse`` draws a cell as one number, inputs are (1, 3, 5); ``medium`` as 3 x 2
            with a cut in the middle row, (1, 9, 10); ``fine`` as 10 x 16 with a cut of three rows
            and a row of zeros above and below the sheet, (1, 32, 80). All say the same.
        split: see the top of this file. Of either, 10 % is for validation and 20 % for the test.

    Raises:
        DataError: the file is missing and cannot be downloaded, or is not what it should be.
    """
    column = choose("target", target, _TARGETS)
    drawing = choose("resolution", resolution, _DRAWINGS)
    draw_split = choose("split", split, {"published": _published, "grouped": _grouped})
    folder = root / "graphene_kirigami"
    path = first_existing((folder / FILE, folder / "alldata_15G.dat")) or fetch(
        REMOTE, folder / FILE
    )
    rows = _read(path)
    sheets = rows[:, :_CELLS].astype(np.uint8).reshape(-1, 3, 5)
    # Four decimals, as many as the copy in circulation has: either file is the same task.
    targets = torch.from_numpy(rows[:, column, None].round(4).astype(np.float32))
    examples = Split(draw(torch.from_numpy(sheets), drawing), targets)
    train, valid, test = (examples.rows(torch.from_numpy(part)) for part in draw_split(sheets))
    return Task.of(
        task_name(load, target=target, resolution=resolution, split=split),
        regression(1),
        train,
        valid,
        test,
        drawing.mirrors,
    )


def draw(sheets: Tensor, drawing: _Drawing) -> Tensor:
    """Draw cells ``[N, 3, 5]`` as images ``[N, 1, height, width]`` of zeros and ones, uint8."""
    n, high, wide = sheets.shape
    height, width = high * drawing.rows, wide * drawing.columns
    image = torch.zeros(n, 1, height + 2 * drawing.pad, width, dtype=torch.uint8)
    inside = image[:, 0, drawing.pad : drawing.pad + height]
    cells = inside.view(n, high, drawing.rows, wide, drawing.columns)
    cells.fill_(1)
    cells[:, :, drawing.cut] = sheets.view(n, high, 1, wide, 1).to(torch.uint8)
    return image


def _published(sheets: NDArray[np.uint8]) -> tuple[NDArray[np.int64], ...]:
    """Split as scikit-learn's ``train_test_split(test_size=0.2, random_state=42)`` does.

    Validation comes out of its training part, as large a tenth of all as the test is a fifth.
    """
    n = len(sheets)
    order = np.random.RandomState(42).permutation(n)
    test = -(-n // 5)
    rest = order[test:][np.random.RandomState(1).permutation(n - test)]
    return rest[n // 10 :], rest[: n // 10], order[:test]


def _grouped(sheets: NDArray[np.uint8]) -> tuple[NDArray[np.int64], ...]:
    """Split the sheets that differ by more than a mirror, then take their mirror images along."""
    weights = 1 << np.arange(_CELLS)
    mirrored = (np.flip(sheets, axes).reshape(-1, _CELLS) for axes in ((), (1,), (2,), (1, 2)))
    group = np.min([images @ weights for images in mirrored], axis=0)
    order = np.random.RandomState(42).permutation(np.unique(group))
    ends = (len(order) * 7 // 10, len(order) * 8 // 10)
    return tuple(np.flatnonzero(np.isin(group, part)) for part in np.split(order, ends))


def _read(path: Path) -> NDArray[np.float64]:
    """Read the file, ``[29791, 18]``: the cells, then yield strain, toughness and yield stress."""
    rows = read_numbers(path, _CELLS + len(_TARGETS))
    wrong = np.argwhere((rows[:, :_CELLS] != 0) & (rows[:, :_CELLS] != 1))
    if len(wrong):
        row, cell = wrong[0]
        raise DataError(
            f"{path}, row {row} (from 0), cell {cell}: {rows[row, cell]:g}; allowed: 0 (cut) or 1"
        )
    codes = rows[:, :_CELLS].astype(np.int64) @ (1 << np.arange(_CELLS))
    _, first, which = np.unique(codes, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[which] != np.arange(len(rows)))
    if len(again):
        raise DataError(
            f"{path}, row {again[0]} (from 0): the same sheet as row {first[which[again[0]]]}; "
            "every sheet must occur once"
        )
    if len(rows) != SHEETS:
        raise DataError(f"{path} holds {len(rows)} sheets, not {SHEETS}; it is cut off: replace it")
    return rows
