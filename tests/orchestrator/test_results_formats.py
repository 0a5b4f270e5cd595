"""Results as a table, as CSV and as JSON."""

from __future__ import annotations

import ast
import io
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from made_study import Made, evaluations
from orchestrator.results import ArmResult, arm_results, find_study, results_frame
from orchestrator.session import print_results

ArmResultOf = Callable[..., ArmResult]

# What the issue asks for, in its order.
ASKED = [
    "task",
    "arm",
    "metric",
    "mean",
    "low",
    "high",
    "values",
    "parameters",
    "multiply_adds",
    "search_seconds",
    "training_seconds",
]

MORE = ["search_multiply_adds", "owed", "failed"]


def results(arm_result: ArmResultOf) -> list[ArmResult]:
    """Return results of every kind: whole, diverged, single, without cost, none."""
    # Numbers that are lost to a bit or in the tenth decimal.
    third, tiny = 1 / 3, 1.2345678901234e-7
    return [
        arm_result(
            "darts",
            [third, 2 / 3, 0.1 + 0.2],
            [third, tiny, 0.5],
            search_seconds=1234.5678901234567,
            search_compute=1.2345678901234567e15,
        ),
        arm_result("diverged", [0.5, math.nan], failed=1),
        arm_result("single", [0.1], multiply_adds=None, parameters=None),
        arm_result("nothing", owed=3),
    ]


def test_a_row_has_the_columns_of_the_issue_and_a_few_more(arm_result: ArmResultOf) -> None:
    frame = results_frame(results(arm_result))
    assert [name for name in frame.columns if name not in MORE] == ASKED
    assert set(frame.columns) == {*ASKED, *MORE}
    row = frame.iloc[0]
    assert (row["task"], row["arm"], row["metric"]) == ("digits", "darts", "R2")
    whole = results(arm_result)[0]
    assert whole.estimate is not None
    assert row["mean"] == whole.estimate.mean
    assert (row["low"], row["high"]) == whole.estimate.interval()
    assert row["values"] == whole.values
    assert (row["parameters"], row["multiply_adds"]) == (77_000.0, 1.5e6)
    assert row["search_seconds"] == 1234.5678901234567
    assert row["search_multiply_adds"] == 1.2345678901234567e15
    assert row["training_seconds"] == 12.0
    assert frame["owed"].tolist() == [0, 0, 0, 3]
    assert frame["failed"].tolist() == [0, 1, 0, 0]


def printed(made: Made, form: str) -> str:
    """Return what the command `results` prints of a study."""
    out = io.StringIO()
    print_results(Console(file=out, width=60), made.store, find_study(made.store, "made"), form)
    return out.getvalue()


def filled(made: Made) -> pd.DataFrame:
    """Fill the study with uneven numbers; return its results."""
    rng = np.random.default_rng(1)
    for position in (0, 1):
        made.job("darts", "search", f"s{position}", position, seconds=rng.random() * 100)
        values = [float(v) for v in rng.random(3)]
        evaluations(made, "darts", values, position, seconds=float(rng.random()) * 1e-3)
    evaluations(made, "random", [1 / 3, math.nan, 0.1 + 0.2])
    return results_frame(arm_results(made.store, find_study(made.store, "made")))


def same(a: Any, b: Any) -> bool:
    """Whether two cells hold the same, to the last bit; None and NaN are both no number."""
    if isinstance(a, Iterable) and not isinstance(a, str):
        return len(a) == len(b) and all(map(same, a, b))
    if a is None or a != a:
        return b is None or b != b
    return bool(a == b)


def test_json_reads_back_equal_to_the_last_bit(made: Made) -> None:
    frame = filled(made)
    records = json.loads(printed(made, "json"))
    assert [list(record) for record in records] == [list(frame.columns)] * len(frame)
    for record, row in zip(records, frame.to_dict("records"), strict=True):
        for name, value in row.items():
            assert same(value, record[name]), (name, value, record[name])


def test_csv_reads_back_equal_to_the_last_bit(made: Made) -> None:
    frame = filled(made)
    read = pd.read_csv(io.StringIO(printed(made, "csv")))
    assert list(read.columns) == list(frame.columns)
    for name in frame.columns:
        if name != "values":
            assert all(map(same, frame[name], read[name])), name
    for written, values in zip(read["values"], frame["values"], strict=True):
        literal = ast.literal_eval(written.replace("nan", "None"))
        assert same(values, literal)


def test_infinite_ends_of_an_interval_do_not_spoil_json(made: Made) -> None:
    evaluations(made, "forest", [0.5])
    records = json.loads(printed(made, "json"), parse_constant=pytest.fail)
    (forest,) = [record for record in records if record["arm"] == "forest"]
    assert (forest["mean"], forest["low"], forest["high"]) == (0.5, None, None)


def test_what_is_for_programs_holds_nothing_for_people(made: Made) -> None:
    filled(made)
    assert printed(made, "csv").splitlines()[0].split(",")[:3] == ["task", "arm", "metric"]
    assert len(printed(made, "csv").splitlines()) == 4
    assert "cannot tell" not in printed(made, "json")
    assert "darts" in printed(made, "table")
