"""Regret curves and their pictures."""

from __future__ import annotations

import io
import json
import math
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from orchestrator import display
from orchestrator.chart import log_chart, sparkline
from orchestrator.plan import parse_plan
from orchestrator.regret import Curve, curves
from orchestrator.results import arm_results, find_study
from orchestrator.store import Store
from table_plans import PLAN

LABEL = "nasbench201"


def made(folder: Path, higher_is_better: bool = True, best: float | None = 9.0) -> Store:
    """Return a store with a study that has no job yet."""
    store = Store(str(folder))
    about = {"fingerprint": "f", "metric": "m", "unit": "%", "higher_is_better": higher_is_better}
    about |= {} if best is None else {"best": best}
    row = {
        "study": "study0",
        "name": "looked_up",
        "plan": parse_plan(PLAN).model_dump_json(by_alias=True),
        "tasks": json.dumps({LABEL: about}),
        "started": datetime(2024, 5, 17, tzinfo=timezone.utc),
    }
    store.add("studies", "study0", [row])
    return store


def search(store: Store, arm: str, position: int, rows: list[tuple[float, float]]) -> None:
    """Add a search: for each candidate its score, and what the table reports of it."""
    job = f"{arm}{position}"
    member = {"study": "study0", "task": LABEL, "arm": arm, "role": "search", "job": job}
    store.add("members", job, [{**member, "position": position, "seed": position}])
    store.add(
        "candidates",
        job,
        [
            {"job": job, "step": step, "genotype": f"g{step}", "score": score, "test": test}
            for step, (score, test) in enumerate(rows, 1)
        ],
    )


def curves_of(store: Store) -> dict[str, Curve]:
    return {c.arm: c for c in curves(store, find_study(store, "looked_up"), LABEL)}


def test_what_counts_is_the_report_of_the_candidate_with_the_best_score_so_far(tmp_path):
    store = made(tmp_path)
    search(store, "random", 0, [(1, 5), (3, 4), (2, 8), (3, 7), (4, 6)])
    search(store, "random", 1, [(math.nan, 1), (2, 3), (1, 9), (1, 2), (1, 2)])
    curve = curves_of(store)["random"]
    np.testing.assert_equal(curve.reported, [[5, 4, 4, 4, 6], [math.nan, 3, 3, 3, 3]])
    assert curve.final.tolist() == [6, 3]
    assert curve.regret[1:].tolist() == [9 - 3.5, 9 - 3.5, 9 - 3.5, 9 - 4.5]
    assert curve.deviation == pytest.approx(math.sqrt(4.5))


def test_where_lower_is_better_the_lowest_score_counts(tmp_path):
    store = made(tmp_path, higher_is_better=False, best=1.0)
    search(store, "random", 0, [(3, 5), (2, 7), (4, 2)])
    curve = curves_of(store)["random"]
    assert curve.reported.tolist() == [[5, 7, 7]]
    assert curve.regret.tolist() == [4, 6, 6]


def test_a_search_that_ended_early_keeps_what_it_had(tmp_path):
    store = made(tmp_path)
    search(store, "grid", 0, [(1, 5), (2, 6)])
    search(store, "grid", 1, [(1, 5), (2, 6), (3, 9), (1, 1)])
    assert curves_of(store)["grid"].reported.tolist() == [[5, 6, 6, 6], [5, 6, 9, 9]]


def test_a_task_that_is_no_table_has_no_regret(tmp_path):
    store = made(tmp_path, best=None)
    search(store, "random", 0, [(1, 5)])
    assert curves_of(store) == {}


def test_searches_that_find_the_same_network_all_count(tmp_path):
    """200 searches of a table that end at five networks are 200 results, not five."""
    store = made(tmp_path)
    job = {"key": "e", "attempt": 0, "kind": "evaluate", "outcome": "done", "test": 7.0, "seed": 0}
    store.add("jobs", "e-0", [{**job, "parameters": 5, "multiply_adds": 5, "seconds": 0.1}])
    member = {"study": "study0", "task": LABEL, "arm": "random", "role": "evaluate", "job": "e"}
    store.add("members", "study0", [{**member, "position": p, "seed": 0} for p in range(4)])
    [result, *_] = arm_results(store, find_study(store, "looked_up"))
    assert result.groups == ((7.0,),) * 4


def test_the_table_names_every_arm_the_best_first_with_its_figures():
    better = Curve("better", np.array([[5.0, 8.0], [5.0, 8.5]]), 9.0)
    worse = Curve("worse", np.array([[1.0, 2.0]]), 9.0)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(display.regret_table([worse, better], "made"))
    text = console.export_text()
    assert text.index("better") < text.index("worse")
    row = next(line for line in text.splitlines() if "better" in line)
    assert all(figure in row for figure in ("2", "8.250", "0.354", "0.750"))


def test_a_sparkline_goes_from_full_to_empty_as_a_regret_falls_by_decades():
    line = sparkline([1.0, 0.1, 0.01], 0.01, 1.0, width=3)
    assert line == "█▅▁"
    assert sparkline([math.nan, 1.0], 0.01, 1.0, width=2) == " █"
    assert len(sparkline([1.0, 1.0], 1.0, 1.0)) == 20


def test_a_chart_holds_a_line_and_a_name_for_every_curve_and_nothing_but_its_picture():
    names = {f"arm <{i}> & co": [2.0, 0.5, math.nan, 0.0, 0.25] for i in range(9)}
    svg = log_chart("Regret", "candidates", "mean regret", names)
    root = ElementTree.fromstring(svg)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert set(names) <= set(texts)
    lines = [node.attrib for node in root.iter() if node.tag.endswith("polyline")]
    drawn = [one for one in lines if one["points"].count(",") == 3]  # what is above 0 and finite
    assert len(drawn) == 9
    assert len({(one["stroke"], one.get("stroke-dasharray")) for one in drawn}) == 9
    for one in lines:
        for point in one["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_on_the_logarithmic_scale_equal_factors_are_equal_heights():
    svg = log_chart("t", "a", "b", {"one": [1.0, 0.1, 0.01]})
    lines = [n.attrib["points"] for n in ElementTree.fromstring(svg).iter() if "points" in n.attrib]
    [points] = [line for line in lines if line.count(",") == 3]
    first, second, third = (float(point.split(",")[1]) for point in points.split())
    assert second - first == pytest.approx(third - second, abs=0.2)


def test_a_chart_of_nothing_is_a_picture_too():
    ElementTree.fromstring(log_chart("t", "a", "b", {}))
    ElementTree.fromstring(log_chart("t", "a", "b", {"zero": [0.0, 0.0]}))
