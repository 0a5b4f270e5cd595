"""The command `run`: what it refuses, what a dry run shows, and what is done already."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
import ray
from rich.console import Console

from command_runs import PLAN, Run, error, fill, one_line, record
from orchestrator import session
from orchestrator.__main__ import USER
from orchestrator.driver import Progress, _row, load_tasks, make_study
from orchestrator.jobs import Result
from orchestrator.plan import read_plan
from orchestrator.store import Store
from search_space.spaces import SPACES

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("command", [["run"], ["results"]])
def test_a_plan_that_is_missing_is_one_line(command: list[str], run: Run, tmp_path: Path) -> None:
    message = one_line(run(*command, "missing.yaml"))
    assert "missing.yaml" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["it is empty"]),
        ("- a\n- b\n", ["not a list"]),
        ("name: [\n", ["line 2", "not YAML"]),
        (PLAN + "evalute: {}\n", ["evalute: unknown key"]),
        (PLAN.replace("constant", "constnt"), ["arms.floor.network", "did you mean 'constant'?"]),
        (PLAN + "  d: {method: dart}\n", ["arms.d.method", "did you mean 'darts'?"]),
        (PLAN + "  d: {method: darts, estimator: training}\n", ["arms.d", "`estimator`"]),
        (PLAN + "  d: {method: random_search}\n", ["arms.d", "budget"]),
        (PLAN + "evaluate: {epochs: many}\n", ["evaluate.epochs", "given: 'many'"]),
        (PLAN + "  d: {method: random_search, budget: {same_as: d}}\n", ["d -> d"]),
        (PLAN + "name: again\n", ["line 6", "stands twice"]),
        ("name: !!python/object/apply:os.getcwd []\n", ["line 1", "tag"]),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_bad_plan_is_a_clean_list_with_paths(
    text: str, said: list[str], more: list[str], run: Run, plan: Callable[[str], str]
) -> None:
    path = plan(text)
    message = error(run("run", path, *more))
    first, *faults = message.splitlines()
    assert first == f"{path} has 1 fault:"
    assert len(faults) == 1
    assert all(part in faults[0] for part in said)


def test_several_faults_are_several_lines(run: Run, plan: Callable[[str], str]) -> None:
    path = plan(PLAN + "  d: {method: dart}\nevalute: {}\nevaluate: {epochs: 0}\n")
    first, *faults = error(run("run", path)).splitlines()
    assert first == f"{path} has 3 faults:"
    assert len(faults) == 3


def test_a_plan_that_is_a_folder_or_no_text_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    assert "directory" in one_line(run("run", str(tmp_path)))
    assert "not a text file" in one_line(run("run", str(tmp_path / "binary")))


KIRIGAMI = "name: k\ntask: graphene_kirigami\narms: {floor: {network: constant}}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x01 this is no table\n", "is no number"),
        (b"", "no data"),
        (b"1 0 1\n", "3 columns"),
        (b"1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 nan 1.0 1.0\n", "nan"),
        (b"1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 0.5 1.0 1.0\n", "1 sheets"),
        (None, "directory"),
    ],
    ids=["garbage", "empty", "columns", "NaN", "cut off", "folder"],
)
def test_a_data_file_that_cannot_be_used_is_one_line_that_names_it(
    content: bytes | None, said: str, run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "data" / "graphene_kirigami" / "15grid_shuffled.dat"
    path.parent.mkdir(parents=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    message = one_line(run("run", plan(KIRIGAMI), "--data", str(tmp_path / "data")))
    assert str(path) in message
    assert said in message


def test_data_that_is_nowhere_is_one_line_that_says_where_to_put_it(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    message = one_line(run("run", plan(KIRIGAMI)))
    assert str(tmp_path / "data" / "graphene_kirigami") in message


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_data_root_that_is_a_file_is_the_users_fault(
    more: list[str], run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    code, _, err = run("run", plan(), "--data", str(tmp_path / "file"), *more)
    assert code == USER
    assert "file" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("store", ["{}/file/results", "/proc/results", "ftp://host/x", "s3://"])
def test_a_store_that_cannot_be_written_is_one_line_before_anything_starts(
    store: str,
    run: Run,
    plan: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*_: object) -> NoReturn:
        pytest.fail("it loaded the data first")

    monkeypatch.setattr(session, "load_tasks", load)
    (tmp_path / "file").write_text("", "utf-8")
    url = store.format(tmp_path)
    message = one_line(run("run", plan(), "--store", url))
    assert url in message
    assert "store" in message


def test_a_dry_run_shows_the_jobs_and_writes_and_starts_nothing(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    path = plan(
        "name: dry\ntask: digits\n"
        "arms:\n"
        "  darts: {method: darts, params: {epochs: 1, channels: 2, layers: 1},\n"
        "          space: {name: darts, nodes: 1}, seeds: [0, 1]}\n"
        "  floor: {network: constant}\n"
        "evaluate: {epochs: 1, channels: 2, layers: 1, seeds: [0, 1, 2]}\n"
    )
    code, out, err = run("run", path, "--dry-run")
    assert (code, err) == (0, "")
    rows = [re.findall(r"[^│\s]+", line)[:4] for line in out.splitlines() if "digits" in line]
    assert rows == [
        ["digits", "darts", "search", "2"],
        ["digits", "darts", "evaluate", "6"],
        ["digits", "floor", "evaluate", "3"],
    ]
    assert not (tmp_path / "results").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plan.yaml"]
    assert not ray.is_initialized()


def test_a_dry_run_decides_nothing_for_later_runs(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    # Every measurement that the number of candidates hangs on is there, but not the decision.
    path = plan(
        "name: dry\ntask: digits\n"
        "arms:\n"
        "  darts: {method: darts, params: {epochs: 1, channels: 2, layers: 1},\n"
        "          space: {name: darts, nodes: 1}}\n"
        "  random: {method: random_search, space: {name: darts, nodes: 1},\n"
        "           estimator: {name: training, epochs: 1, channels: 2, layers: 1},\n"
        "           budget: {same_as: darts, unit: seconds}}\n"
        "evaluate: {epochs: 1, channels: 2, layers: 1, seeds: [0]}\n"
    )
    store = Store(str(tmp_path / "results"))
    parsed = read_plan(path)
    study = make_study(parsed, load_tasks(parsed, Path("/nowhere")), store)
    while (assignment := study.next()) is not None:
        job = assignment.job
        found = SPACES.load("darts")(nodes=1).sample(random.Random(0))
        found = found if job.kind == "search" else None
        ended = {"outcome": "done", "score": 0.5, "test": 0.5, "compute": 0.0, "job_seconds": 3.0}
        store.add("jobs", f"{job.key}-0", [_row(job, 0, ended, None, found)])
        if found is not None:
            row = {"key": found.key, "space": "darts", "genotype": found.to_json(), "text": ""}
            store.add("genotypes", job.key, [row])
        study.tell(job.key, Result("done", 0.5, found, seconds=3.0))
    assert len(store.table("decisions")) == 1
    store.folder.remove("decisions")
    before = sorted(str(p) for p in (tmp_path / "results").rglob("*"))
    code, out, _ = run("run", path, "--dry-run")
    assert code == 0
    assert f"{len(store.jobs())} of its jobs are in the store" in out
    assert sorted(str(p) for p in (tmp_path / "results").rglob("*")) == before


def test_a_dry_run_says_what_the_store_has_already(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "results"))
    assert len(fill(plan(), store)) == 6
    before = sorted(str(p) for p in (tmp_path / "results").rglob("*"))
    code, out, _ = run("run", plan(), "--dry-run")
    assert code == 0
    assert f"6 of its jobs are in the store {store.url} already" in out
    assert sorted(str(p) for p in (tmp_path / "results").rglob("*")) == before


def test_a_plan_whose_jobs_are_all_done_does_nothing_and_shows_its_results(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "results"))
    record(plan(), store, fill(plan(), store))
    code, out, err = run("run", plan())
    assert (code, err) == (0, "")
    assert f"Nothing to do: all 6 jobs are in {store.url}." in out
    assert "Results on digits: test accuracy" in out
    assert "0.5100" in out
    assert "cannot tell floor from forest" in out


def test_a_plan_whose_jobs_another_plan_has_done_shows_its_own_results(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "results"))
    record(plan(), store, fill(plan(), store))
    other = plan(PLAN.replace("made", "other") + "compare: {arm: forest}\n", "other.yaml")
    code, out, err = run("run", other)
    assert (code, err) == (0, "")
    assert "Nothing to do" in out
    assert "cannot tell forest from floor" in out
    assert run("results", "other")[0] == 0


def test_a_run_ends_with_a_sentence_for_each_search_that_was_given_up(
    plan: Callable[[str], str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "results"))
    key = record(plan(), store, fill(plan(), store))
    ended = SimpleNamespace(
        progress=Progress(),
        study=SimpleNamespace(key=key, given_up=["search 0 [red] was given up"]),
    )
    console = Console(file=io.StringIO())
    session._close(console, store, ended, plan())  # type: ignore[arg-type]
    assert "search 0 [red] was given up\n" in console.file.getvalue()  # type: ignore[attr-defined]
