"""The commands `results` and `status`: what they show of a store."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from command_runs import Run, fill, one_line, record
from orchestrator.__main__ import USER
from orchestrator.driver import _row
from orchestrator.store import Store

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("command", ["results", "status"])
def test_an_unknown_study_is_one_line_with_those_that_are_there(
    command: str, run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    assert "there are: none yet" in one_line(run(command, "nosuch"))
    store = Store(str(tmp_path / "results"))
    record(plan(), store, fill(plan(), store))
    message = one_line(run(command, "nosuch"))
    assert "no study 'nosuch'" in message
    assert "there are: made" in message


@pytest.mark.parametrize("name", ["made", "plan.yaml", "key"])
def test_results_are_found_by_name_by_plan_and_by_key(
    name: str, run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "results"))
    key = record(plan(), store, fill(plan(), store))
    code, out, err = run("results", key[:6] if name == "key" else name)
    assert (code, err) == (0, "")
    assert "Results on digits" in out


def test_results_for_programs_parse(run: Run, plan: Callable[[str], str], tmp_path: Path) -> None:
    store = Store(str(tmp_path / "results"))
    record(plan(), store, fill(plan(), store))
    _, text, _ = run("results", "made", "--format", "csv")
    frame = pd.read_csv(io.StringIO(text))
    _, text, _ = run("results", "made", "--format", "json")
    records = json.loads(text)
    for arms in (frame["arm"].tolist(), [row["arm"] for row in records]):
        assert arms == ["floor", "forest"]
    assert frame["mean"].tolist() == pytest.approx([0.51, 0.51])
    assert records[0]["values"] == [0.5, 0.51, 0.52]
    assert run("results", "made", "--format", "xml")[0] == USER


def test_status_counts_jobs_and_says_how_those_that_failed_ended(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "results"))
    handed = fill(plan(), store)
    key = record(plan(), store, handed)
    failed = {"outcome": "bug", "job_seconds": 1.0, "detail": "Traceback\n  ...\nOops: [red] no"}
    job = handed[-1].job
    store.folder.remove(f"jobs/{job.key}-0.parquet")
    store.add("jobs", f"{job.key}-0", [_row(job, 0, failed, None, None)])
    _, out, _ = run("status")
    (row,) = [line for line in out.splitlines() if key in line]
    assert re.findall(r"[^│\s]+", row) == ["made", key, "2024-05-17", "00:00", "6", "5", "1"]
    code, out, err = run("status", "made")
    assert (code, err) == (0, "")
    assert f"{handed[-1].arm} evaluate seed {job.seed}: bug: Oops: [red] no" in out
    assert re.search(r"floor\s*│\s*evaluate\s*│\s*done\s*│\s*3\s*│", out)


def test_status_of_a_store_that_is_not_there_is_empty_and_makes_none(
    run: Run, tmp_path: Path
) -> None:
    code, out, _ = run("status")
    assert code == 0
    assert str(tmp_path / "results") in out
    assert not (tmp_path / "results").exists()


def test_a_damaged_part_is_named_and_the_command_goes_on(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "results"))
    handed = fill(plan(), store)
    record(plan(), store, handed)
    part = f"jobs/{handed[-1].job.key}-0.parquet"
    store.folder.write(part, store.folder.read(part)[:100])
    with pytest.warns(UserWarning, match=re.escape(part)):
        code, out, _ = run("results", "made")
    assert code == 0
    assert "1 owed" in out
