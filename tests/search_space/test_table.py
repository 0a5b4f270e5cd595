"""Tables of results: what they say and what they keep from searches."""

from __future__ import annotations

import numpy as np
import pytest

from search_space.table import Table, TableError
from search_space.task import Task, classes

TABLE = Table(
    {"a": 0, "b": 1},
    {"valid": np.array([1.0, 2.0]), "test": np.array([4.0, 3.0])},
    ("test",),
)


def test_values_are_those_of_the_row_and_column() -> None:
    assert [TABLE.value(row, column) for row in "ab" for column in ("valid", "test")] == [
        1.0,
        4.0,
        2.0,
        3.0,
    ]


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(TableError, match="no row for 'c'; it has 2 rows such as 'a'"):
        TABLE.value("c", "valid")
    with pytest.raises(TableError, match=r"no column 'vali'.*did you mean 'valid'"):
        TABLE.value("a", "vali")


def test_the_best_leaves_out_what_was_not_measured() -> None:
    table = Table(TABLE.rows, {"test": np.array([np.nan, 3.0])}, ("test",))
    assert table.best(higher_is_better=True) == table.best(higher_is_better=False) == 3.0


def test_a_task_without_its_test_split_has_a_table_without_what_it_reports() -> None:
    task = Task.tabulated("made", (3, 8, 8), classes(2), TABLE)
    assert task.table is TABLE
    blind = task.without_test().table
    assert blind is not None
    assert list(blind.columns) == ["valid"]
    assert blind.report("a") == {}


def test_a_tabulated_task_has_no_examples_and_the_shape_it_was_given() -> None:
    task = Task.tabulated("made", (3, 8, 8), classes(2), TABLE)
    assert len(task.train) == len(task.valid) == 0
    assert (task.channels, task.spatial) == (3, (8, 8))
    assert task.fingerprint() != Task.tabulated("made", (3, 8, 9), classes(2), TABLE).fingerprint()
