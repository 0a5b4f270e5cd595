"""The command line: help, listings, errors with their exit codes, the program itself."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from command_runs import Run, fill, one_line, record
from orchestrator import session
from orchestrator.__main__ import OURS, STOPPED, USER, cli
from orchestrator.analyses import ANALYSES
from orchestrator.store import Store
from orchestrator.tasks import TASKS
from search_space.baselines import BASELINES
from search_space.shelf import Shelf
from search_space.spaces import SPACES
from searchers import METHODS
from searchers.estimators import ESTIMATORS

pytestmark = pytest.mark.usefixtures("offline")

ROOT = Path(__file__).resolve().parents[2]

LISTINGS: dict[str, Shelf] = {
    "methods": METHODS,
    "spaces": SPACES,
    "estimators": ESTIMATORS,
    "tasks": TASKS,
    "baselines": BASELINES,
    "analyses": ANALYSES,
}


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
