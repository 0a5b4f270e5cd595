"""The command line: help, listings, clean errors with their exit codes, and what is shown."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pandas as pd
import pytest
import ray
from rich.console import Console

from orchestrator import session
from orchestrator.__main__ import OURS, STOPPED, USER, cli, main
from orchestrator._contender import Assignment
from orchestrator.driver import Progress, _row, load_tasks, make_study
from orchestrator.jobs import Result
from orchestrator.plan import read_plan
from orchestrator.store import Store
from orchestrator.tasks import TASKS
from search_space.baselines import BASELINES
from search_space.genotype import Genotype
from search_space.shelf import Shelf
from search_space.spaces import SPACES
from searchers import METHODS
from searchers.estimators import ESTIMATORS

pytestmark = pytest.mark.usefixtures("offline")

ROOT = Path(__file__).resolve().parents[2]

# Liu, Simonyan, Yang: DARTS, ICLR 2019; as printed in quark0/darts, genotypes.py.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)

PLAN = """\
name: made
task: digits
arms:
  floor: {network: constant}
  forest: {network: random_forest}
"""

LISTINGS: dict[str, Shelf] = {
    "methods": METHODS,
    "spaces": SPACES,
    "estimators": ESTIMATORS,
    "tasks": TASKS,
    "baselines": BASELINES,
}

Run = Callable[..., tuple[int, str, str]]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Run:
    """Runs a command in a folder of its own: ``code, out, err = run("status")``.

    Its store is ``tmp_path/results``. A command that would start Ray fails.
    """

    def connect(address: str | None) -> NoReturn:
        pytest.fail("it started a cluster")

    monkeypatch.setattr(session, "connect", connect)
    monkeypatch.setenv("NAS_STORE", str(tmp_path / "results"))
    monkeypatch.setenv("NAS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[str], str]:
    """Writes a plan and returns its path."""

    def write(text: str = PLAN, name: str = "plan.yaml") -> str:
        (tmp_path / name).write_text(text, "utf-8")
        return str(tmp_path / name)

    return write


def error(ended: tuple[int, str, str]) -> str:
    """Return the message of a command that failed by the user's fault, and only by that."""
    code, out, err = ended
    assert code == USER == 2
    assert out == ""
    assert "Traceback" not in err
    assert "internal error" not in err
    assert err.startswith("error: ")
    return err.removeprefix("error: ").removesuffix("\n")


def one_line(ended: tuple[int, str, str]) -> str:
    """Return the message, which must be a single line."""
    message = error(ended)
    assert "\n" not in message
    return message


def fill(path: str, store: Store, data: Path = Path("/nowhere")) -> list[Assignment]:
    """Put results of every job of a plan of baselines into a store, but no study."""
    plan = read_plan(path)
    study = make_study(plan, load_tasks(plan, data), store)
    handed = []
    while (assignment := study.next()) is not None:
        job = assignment.job
        value = 0.5 + 0.01 * job.seed
        result: dict[str, Any] = {
            "outcome": "done",
            "metric": "accuracy",
            "score": value,
            "test": value,
            "parameters": 0,
            "multiply_adds": 0,
            "job_seconds": 1.5,
        }
        store.add("jobs", f"{job.key}-0", [_row(job, 0, result, None, None)])
        study.tell(job.key, Result("done", value, seconds=1.5))
        handed.append(assignment)
    assert study.finished
    return handed


def record(path: str, store: Store, assignments: list[Assignment], fingerprint: str = "f") -> str:
    """Put the study of a plan into a store, as a run does; return its key."""
    plan = read_plan(path)
    study = make_study(plan, load_tasks(plan, Path("/nowhere")), store)
    about = {"fingerprint": fingerprint, "metric": "accuracy", "unit": "", "higher_is_better": True}
    row = {
        "study": study.key,
        "name": plan.name,
        "plan": plan.model_dump_json(by_alias=True),
        "tasks": json.dumps({"digits": about}),
        "started": pd.Timestamp("2024-05-17", tz="UTC"),
    }
    store.add("studies", study.key, [row])
    store.add("members", study.key, [a.member(study.key) for a in assignments])
    return study.key


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help_with_an_example_of_itself(command: str, run: Run) -> None:
    for flag in ("--help", "-h"):
        code, out, err = run(command, flag)
        assert (code, err) == (0, "")
        assert f"Example: python -m orchestrator {command}" in " ".join(out.split())


def test_the_help_of_the_program_names_every_command_and_the_exit_codes(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert all(re.search(rf"^  {command} ", out, re.MULTILINE) for command in cli.commands)
    assert "Examples:" in out
    assert "Exit codes" in out
    assert "--debug" in out


@pytest.mark.parametrize("command", [None, *sorted(cli.commands)])
def test_examples_in_the_help_are_commands_that_exist(command: str | None, run: Run) -> None:
    _, out, _ = run(*([command] if command else []), "--help")
    examples = re.findall(r"python -m orchestrator (.+)", out)
    assert examples
    for example in examples:
        name, *arguments = shlex.split(example)
        cli.commands[name].make_context(name, arguments).close()


@pytest.mark.parametrize("command", LISTINGS)
def test_a_listing_has_a_line_for_every_entry_of_its_shelf(command: str, run: Run) -> None:
    shelf = LISTINGS[command]
    code, out, err = run(command)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == len(shelf.names())
    for line, name in zip(lines, shelf.names(), strict=True):
        assert line.strip().split(maxsplit=1) == [name, shelf.describe(name)]


def test_a_command_that_does_not_exist_is_the_users_fault(run: Run) -> None:
    code, out, err = run("methodz")
    assert (code, out) == (USER, "")
    assert "No such command 'methodz'" in err
    assert "Traceback" not in err


def test_an_option_that_does_not_exist_is_the_users_fault(run: Run) -> None:
    code, _, err = run("status", "--stor", "x")
    assert code == USER
    assert "--store" in err


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


def test_the_published_cells_are_printed_in_every_form_and_drawn(run: Run, tmp_path: Path) -> None:
    svg = tmp_path / "cells" / "v2.svg"
    code, out, err = run("show", DARTS_V2, "--svg", str(svg))
    assert (code, err) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert list(shown) == ["key", "space", "json", "text", "drawn"]
    genotype = Genotype.from_json(shown["json"])
    assert shown["key"] == genotype.key
    assert shown["space"] == genotype.space == "darts"
    space = SPACES.load("darts")()
    assert space.parse(shown["text"]) == space.parse(DARTS_V2) == genotype
    assert shown["drawn"] == str(svg)
    drawn = ET.parse(svg).getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    texts = " ".join(drawn.itertext())
    for word in ("sep_conv_3x3", "dil_conv_3x3", "skip_connect", "max_pool_3x3", "Reduction"):
        assert word in texts


def test_a_genotype_in_a_log_line_or_in_json_is_the_same_genotype(run: Run, tmp_path: Path) -> None:
    _, first, _ = run("show", f"2024-05-17 12:00:00 INFO genotype = {DARTS_V2}")
    keyed = dict(line.split(maxsplit=1) for line in first.splitlines())
    assert (tmp_path / f"{keyed['key']}.svg").is_file()
    _, second, _ = run("show", keyed["json"])
    assert second == first


def test_a_genotype_is_shown_by_the_beginning_of_its_key(run: Run, tmp_path: Path) -> None:
    genotype = SPACES.load("darts")().parse(DARTS_V2)
    row = {"key": genotype.key, "space": "darts", "genotype": genotype.to_json(), "text": ""}
    Store(str(tmp_path / "results")).add("genotypes", "a", [row])
    code, out, _ = run("show", genotype.key[:5])
    assert code == 0
    assert genotype.to_json() in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DARTS_V2.replace("dil_conv_3x3", "dil_conv_3x4"), ["dil_conv_3x4", "'dil_conv_3x3'"]),
        (DARTS_V2.replace("('skip_connect', 0)", "('skip_connect', 9)"), ["9"]),
        (DARTS_V2[:-10], ["ends within"]),
        ("Genotype(normal=[])", ["fields"]),
        ('{"space": "darts", "structure": {}}', ["cells"]),
        ("hello world", ["Genotype(", "JSON"]),
        ("", ["Genotype(", "JSON"]),
        ("__import__('os').getcwd()", ["JSON"]),
    ],
)
def test_a_genotype_that_cannot_be_read_is_one_line(text: str, said: list[str], run: Run) -> None:
    message = one_line(run("show", text))
    assert all(part in message for part in said)


def test_an_unknown_key_of_a_genotype_is_one_line(run: Run, tmp_path: Path) -> None:
    message = one_line(run("show", "0123abcd"))
    assert "'0123abcd'" in message
    assert str(tmp_path / "results") in message, "it must say in which store it was looked up"


def test_a_drawing_that_cannot_be_written_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    code, _, err = run("show", DARTS_V2, "--svg", str(tmp_path / "file" / "cells.svg"))
    assert code == USER
    assert len(err.splitlines()) == 1
    assert "cells.svg" in err


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
    for arms in (frame["arm"].tolist(), [record["arm"] for record in records]):
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


def test_brackets_in_a_path_are_shown_as_they_are(
    run: Run, plan: Callable[[str], str], tmp_path: Path
) -> None:
    folder = tmp_path / "[red]my[/x] results"
    store = Store(str(folder))
    record(plan(), store, fill(plan(), store))
    for command in (["status"], ["run", plan()], ["run", plan(), "--dry-run"]):
        code, out, err = run(*command, "--store", str(folder))
        assert (code, err) == (0, "")
        assert str(folder) in out


def test_an_error_is_not_broken_into_lines_off_a_terminal(run: Run, tmp_path: Path) -> None:
    name = "a very long name " * 12 + ".yaml"
    assert name in one_line(run("run", str(tmp_path / name)))


def test_an_error_of_the_program_is_one_line_with_the_way_to_its_trace(
    run: Run, plan: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("division by [zero]")

    monkeypatch.setattr(session, "run_plan", broken)
    code, out, err = run("run", plan())
    assert (code, out) == (OURS, "")
    assert OURS == 1
    assert err.splitlines() == [
        "error: internal error: ZeroDivisionError: division by [zero]",
        "(--debug shows the trace)",
    ]


def test_an_interrupt_is_no_error(
    run: Run, plan: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "run_plan", interrupted)
    code, out, err = run("run", plan())
    assert (code, out, err.strip()) == (STOPPED, "", "stopped")
    assert STOPPED == 130


def program(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NAS_STORE": str(cwd / "results")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_program_ends_with_the_exit_code_and_a_clean_line(tmp_path: Path) -> None:
    ended = program("run", "missing.yaml", cwd=tmp_path)
    assert ended.returncode == USER
    assert ended.stdout == ""
    assert ended.stderr == ("error: cannot read the plan missing.yaml: No such file or directory\n")


def test_a_damaged_part_is_one_line_to_the_user(tmp_path: Path) -> None:
    Store(str(tmp_path / "results")).folder.write("jobs/a.parquet", b"no")
    ended = program("status", cwd=tmp_path)
    assert ended.returncode == 0
    (line,) = ended.stderr.splitlines()
    assert line.startswith("warning: left out a damaged part of the store: ")
    assert str(tmp_path / "results" / "jobs" / "a.parquet") in line


@pytest.mark.parametrize("place", ["first", "last"])
def test_debug_shows_the_trace_and_ends_with_the_same_exit_code(place: str, tmp_path: Path) -> None:
    arguments = ["run", "missing.yaml"]
    arguments.insert(0 if place == "first" else 2, "--debug")
    ended = program(*arguments, cwd=tmp_path)
    assert "Traceback (most recent call last)" in ended.stderr
    assert "read_plan" in ended.stderr
    assert ended.stderr.count("cannot read the plan missing.yaml") >= 1
    assert ended.returncode == USER
