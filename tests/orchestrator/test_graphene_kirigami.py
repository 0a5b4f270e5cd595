"""The kirigami task against the file's known invariants, scikit-learn and its own symmetries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from orchestrator.tasks.graphene_kirigami import _DRAWINGS, FILE, draw, load
from search_space.task import DataError, Task

pytestmark = pytest.mark.usefixtures("offline")
RESOLUTIONS = tuple(_DRAWINGS)


@pytest.fixture(scope="module")
def root(sample: Callable[[str], Path]) -> Path:
    """The folder of data sets, where it holds the kirigami file."""
    return sample("graphene_kirigami")


@pytest.fixture(scope="module")
def table(root: Path) -> NDArray[np.float64]:
    """The file as numpy reads it, independent of the task: [29791, 18]."""
    folder = root / "graphene_kirigami"
    names = (FILE, "alldata_15G.dat")
    return np.loadtxt(next(folder / name for name in names if (folder / name).exists()))


def _whole(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    splits = [split for split in (task.train, task.valid, task.test) if split is not None]
    return torch.cat([s.inputs for s in splits]), torch.cat([s.targets for s in splits])


def _codes(sheets: NDArray) -> NDArray[np.int64]:
    return sheets.reshape(-1, 15).astype(np.int64) @ (1 << np.arange(15))


def _all_sheets() -> torch.Tensor:
    """All 2^15 patterns, [32768, 3, 5]."""
    return torch.from_numpy(np.arange(2**15)[:, None] >> np.arange(15) & 1).view(-1, 3, 5)


def test_the_sheets_are_all_those_with_an_intact_cell_in_every_row(root):
    sheets, _ = _whole(load(root, resolution="coarse"))
    assert len(sheets) == 29_791 == (2**5 - 1) ** 3
    assert len(np.unique(_codes(sheets.numpy()))) == 29_791
    assert (sheets.sum(dim=3) >= 1).all()
    cuts = 15 - sheets.flatten(1).sum(dim=1)
    assert (int(cuts.min()), int(cuts.max())) == (0, 12)


@pytest.mark.parametrize(
    ("target", "lowest", "highest", "pristine"),
    [
        ("yield_strain", 0.161, 2.3053, 0.1631),
        ("toughness", 1.1652, 52.3987, 8.1933),
        ("yield_stress", 4.823, 107.9651, 81.8692),
    ],
)
def test_targets_have_the_published_range_and_value_of_the_uncut_sheet(
    root, target, lowest, highest, pristine
):
    task = load(root, target=target, resolution="coarse")
    sheets, targets = _whole(task)
    assert task.name.startswith("graphene_kirigami(")
    assert float(targets.min()) == pytest.approx(lowest, abs=5e-5)
    assert float(targets.max()) == pytest.approx(highest, abs=5e-5)
    uncut = targets[sheets.flatten(1).bool().all(dim=1)]
    assert uncut.tolist() == [[pytest.approx(pristine, abs=5e-5)]]


def test_yield_strain_has_the_published_mean_and_deviation(root):
    _, strain = _whole(load(root))
    assert float(strain.mean()) == pytest.approx(0.4051, abs=5e-5)
    assert float(strain.std()) == pytest.approx(0.1803, abs=1e-4)


def test_the_published_test_split_is_scikit_learns_row_by_row(root, table):
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(table, test_size=0.2, random_state=42)
    task = load(root, resolution="coarse")
    assert (len(rest), len(test)) == (23_832, 5_959)
    np.testing.assert_array_equal(task.test.inputs.numpy().reshape(-1, 15), test[:, :15])
    np.testing.assert_allclose(task.test.targets.numpy()[:, 0], test[:, 15], rtol=1e-6)
    assert (len(task.train), len(task.valid)) == (20_853, 2_979)
    kept = np.concatenate([_codes(s.inputs.numpy()) for s in (task.train, task.valid)])
    assert set(kept) == set(_codes(rest[:, :15]))


def test_mirror_images_have_the_same_targets_in_the_file(table):
    sheets = table[:, :15].reshape(-1, 3, 5)
    row = np.full(2**15, -1)
    row[_codes(sheets)] = np.arange(len(table))
    for axis in (1, 2):
        mirror = row[_codes(np.flip(sheets, axis))]
        assert (mirror >= 0).all()
        np.testing.assert_array_equal(table[:, 15:].round(4), table[mirror, 15:].round(4))


def test_grouped_splits_share_no_sheet_up_to_mirrors_and_the_published_do(root):
    def groups(task: Task) -> list[set[int]]:
        found = []
        for split in (task.train, task.valid, task.test):
            sheets = split.inputs[:, 0].numpy()
            axes = ((), (1,), (2,), (1, 2))
            found.append(set(np.min([_codes(np.flip(sheets, a)) for a in axes], axis=0)))
        return found

    train, valid, test = groups(load(root, resolution="coarse", split="grouped"))
    assert not train & valid
    assert not train & test
    assert not valid & test
    assert len(train) + len(valid) + len(test) == 7_828
    train, valid, test = groups(load(root, resolution="coarse"))
    assert len(test & (train | valid)) / len(test) > 0.95


def test_grouped_splits_are_about_70_10_20_percent_of_the_sheets(root):
    task = load(root, split="grouped")
    sizes = np.array([len(task.train), len(task.valid), len(task.test)])
    assert sizes.sum() == 29_791
    np.testing.assert_allclose(sizes / 29_791, (0.7, 0.1, 0.2), atol=0.01)


def test_the_mirrors_that_a_drawing_has_are_declared_as_augmentation(root):
    for resolution in RESOLUTIONS:
        for split in ("published", "grouped"):
            task = load(root, resolution=resolution, split=split)
            assert task.augmentation == _DRAWINGS[resolution].mirrors


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_declared_mirror_of_a_drawing_is_the_drawing_of_the_mirrored_sheet(resolution):
    sheets = _all_sheets()
    drawing = _DRAWINGS[resolution]
    for axis in (0, 1):
        mirrored = draw(sheets, drawing).flip(axis + 2)
        same = torch.equal(mirrored, draw(sheets.flip(axis + 1), drawing))
        assert same == (axis in [mirror.axis for mirror in drawing.mirrors])


@pytest.mark.parametrize(
    ("resolution", "shape"), [("coarse", (1, 3, 5)), ("medium", (1, 9, 10)), ("fine", (1, 32, 80))]
)
def test_every_resolution_draws_the_pattern_and_loses_nothing(resolution, shape):
    sheets = _all_sheets()
    images = draw(sheets, _DRAWINGS[resolution])
    assert tuple(images.shape) == (2**15, *shape)
    assert images.dtype == torch.uint8
    assert len(images.flatten(1).unique(dim=0)) == 2**15
    height, width = (shape[1] - shape[1] % 3) // 3, shape[2] // 5
    middle = images[:, 0, height // 2 + (shape[1] % 3) // 2 :: height, ::width][:, :3]
    assert torch.equal(middle.long(), sheets)


def test_medium_cells_are_3_by_2_and_a_cut_clears_the_middle_row():
    sheet = torch.ones(1, 3, 5, dtype=torch.uint8)
    sheet[0, 1, 2] = 0
    expected = torch.ones(9, 10, dtype=torch.uint8)
    expected[4, 4:6] = 0
    assert torch.equal(draw(sheet, _DRAWINGS["medium"])[0, 0], expected)


def test_fine_images_are_drawn_cell_by_cell_as_the_capstone_did(root):
    task = load(root, resolution="fine", target="yield_stress")
    coarse = load(root, resolution="coarse", target="yield_stress")
    for row in (0, 1, 4321):
        expected = np.ones((30, 80), np.uint8)
        for y, x in np.argwhere(coarse.test.inputs[row, 0].numpy() == 0):
            for line in range(30):
                if y * 10 + 10 / 3 < line < y * 10 + 20 / 3:
                    expected[line, x * 16 : (x + 1) * 16] = 0
        expected = np.pad(expected, [(1, 1), (0, 0)])
        np.testing.assert_array_equal(task.test.inputs[row, 0].numpy(), expected)
    assert not task.train.inputs[:, :, [0, -1]].any()
    assert task.train.inputs[:, :, [1, -2]].all()


@pytest.mark.parametrize(
    ("parameter", "value"), [("target", "strain"), ("resolution", "fin"), ("split", "random")]
)
def test_an_unknown_choice_is_refused_with_what_is_allowed(tmp_path, parameter, value):
    with pytest.raises(DataError, match=rf"{parameter} is '{value}'; .*'?\w+"):
        load(tmp_path, **{parameter: value})


def test_the_copy_with_four_decimals_and_a_file_with_more_are_the_same_task(root, table, tmp_path):
    folder = tmp_path / "graphene_kirigami"
    folder.mkdir()
    digits = np.random.default_rng(0).uniform(-4e-5, 4e-5, (len(table), 3))
    longer = np.column_stack([table[:, :15], table[:, 15:].round(4) + digits])
    np.savetxt(folder / FILE, longer, fmt="%.18e")
    for target in ("yield_strain", "toughness", "yield_stress"):
        ours = load(root, target=target).fingerprint()
        assert load(tmp_path, target=target).fingerprint() == ours


GOOD = "1 " * 15 + "0.2 8.0 80.0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# a comment\n" + GOOD + "1 0 1\n", r"line 3: 3 columns, expected 18"),
        (GOOD.replace("0.2 ", ""), r"line 1: 17 columns, expected 18"),
        (GOOD + GOOD.replace("8.0", "eight"), r"line 2, column 16: 'eight' is no number"),
        (GOOD + GOOD.replace("80.0", "nan"), r"row 1 \(from 0\), column 17: nan"),
        (GOOD + GOOD.replace("80.0", "-inf"), r"row 1 \(from 0\), column 17: -inf"),
        (GOOD + "1 2 " + GOOD[4:], r"row 1 \(from 0\), cell 1: 2; allowed: 0 \(cut\) or 1"),
        ("0.5" + GOOD[1:], r"row 0 \(from 0\), cell 0: 0.5; allowed"),
        (GOOD + "0" + GOOD[1:] + GOOD, r"row 2 \(from 0\): the same sheet as row 0"),
        (GOOD, r"holds 1 sheets, not 29791"),
        ("# nothing\n", r"holds no data"),
        ("", r"holds no data"),
        ("\x1f\x8b\x08\x00\xff\xfe", r"line 1, column 0: .* is no number"),
    ],
)
def test_a_broken_file_is_named_with_the_place_and_the_fault(tmp_path, text, message):
    path = tmp_path / "graphene_kirigami" / FILE
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)
