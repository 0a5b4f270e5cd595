"""Fixtures of the orchestrator's tests: stores on a disk and on S3, tasks, extra entries, commands.

What else tests share, such as small plans and rows, lies in ``tests/support``.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
import ray
import torch
from pyarrow import fs

from command_runs import PLAN, Capture, Run
from made_study import Made
from orchestrator import session, statistics
from orchestrator.__main__ import main
from orchestrator.driver import connect
from orchestrator.jobs import Job, Result
from orchestrator.plan import parse_plan
from orchestrator.results import ArmResult
from orchestrator.store import Store
from search_space.metric import R2, Metric
from search_space.task import Output, Split, Task
from study_world import ESTIMATOR, SAMPLER, World, made_up_result

BUCKET = "results-of-tests"

_prefixes = itertools.count()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A bucket ``s3://...`` on a server of this session, reached over HTTP on the loopback."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        system, _ = fs.FileSystem.from_uri(f"s3://{BUCKET}?allow_bucket_creation=true")
        system.create_dir(BUCKET)
        yield f"s3://{BUCKET}"
    server.stop()


@pytest.fixture(scope="session")
def cluster(s3: str) -> Iterator[None]:
    """One Ray for all tests that need one in their own process; its workers can reach S3."""
    connect(None)
    yield
    ray.shutdown()


@pytest.fixture(params=["local", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL of a store that is not there yet: in a folder, then in a bucket."""
    if request.param == "local":
        return str(tmp_path / "results")
    return f"{request.getfixturevalue('s3')}/test-{next(_prefixes)}/results"


MakeTask = Callable[..., Task]


@pytest.fixture
def small_task() -> MakeTask:
    """Factory of tasks of a few examples: ``small_task(name, seed=0, higher_is_better=True)``."""

    def make(name: str = "digits", seed: int = 0, higher_is_better: bool = True) -> Task:
        generator = torch.Generator().manual_seed(seed)

        def split(n: int) -> Split:
            targets = torch.randn(n, 1, generator=generator)
            return Split(torch.randn(n, 1, 4, 4, generator=generator), targets)

        metric = R2
        if not higher_is_better:
            metric = Metric("RMSE", False, lambda a, b: float((a - b).square().mean().sqrt()))
        output = Output(1, False, torch.nn.functional.mse_loss, metric)
        return Task.of(name, output, split(8), split(4), split(4))

    return make


AddEntry = Callable[..., None]


@pytest.fixture
def add_entry(tmp_path: Path) -> Iterator[AddEntry]:
    """Puts a file onto a shelf until the test ends: ``add_entry(package, name, source)``."""
    added: list[tuple[str, str]] = []

    def add(package: str, name: str, source: str) -> None:
        folder = tmp_path / "more" / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(source), "utf-8")
        path = importlib.import_module(package).__path__
        if str(folder) not in path:
            path.append(str(folder))
            added.append((package, str(folder)))
        importlib.invalidate_caches()

    yield add
    for package, folder in added:
        sys.modules[package].__path__.remove(folder)
        for name in [n for n in sys.modules if n.startswith(f"{package}.")]:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(folder):
                del sys.modules[name]
                delattr(sys.modules[package], name.rpartition(".")[2])


ArmResultOf = Callable[..., ArmResult]


@pytest.fixture
def arm_result() -> ArmResultOf:
    """Factory of results of arms: ``arm_result(name, [values of a search], ..., task=...)``.

    The estimate is that of the values; everything else can be given by name.
    """

    def make(name: str, *groups: Sequence[float], **given: Any) -> ArmResult:
        values: dict[str, Any] = {
            "task": "digits",
            "arm": name,
            "metric": "R2",
            "higher_is_better": True,
            "groups": tuple(tuple(group) for group in groups),
            "estimate": statistics.estimate(groups) if groups else None,
            "parameters": 77_000.0 if groups else None,
            "multiply_adds": 1.5e6 if groups else None,
            "search_seconds": None,
            "search_compute": None,
            "training_seconds": 12.0 if groups else None,
            "owed": 0,
            "failed": 0,
        }
        return ArmResult(**{**values, **given})

    return make


@pytest.fixture
def made_up_entries(add_entry: Callable[..., None]) -> None:
    """An estimator that costs nothing to ask, and a sampler that can be looked at."""
    add_entry("searchers.estimators", "made_up", ESTIMATOR)
    add_entry("searchers", "remembering", SAMPLER)


@pytest.fixture
def world(made_up_entries: None, small_task: MakeTask) -> Callable[..., World]:
    """Factory of worlds: ``world(plan_text, outcome, higher_is_better=True)``."""

    def make(
        text: str,
        outcome: Callable[[Job], Result] = made_up_result,
        higher_is_better: bool = True,
    ) -> World:
        plan = parse_plan(textwrap.dedent(text))
        tasks = {
            choice.name: small_task(choice.name, seed, higher_is_better)
            for seed, choice in enumerate(plan.task)
        }
        return World(plan, tasks, outcome)

    return make


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


@pytest.fixture
def store(store_url: str) -> Store:
    """A store that is not there yet, in a folder and in a bucket."""
    return Store(store_url)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A study of three arms with no job yet."""
    return Made(tmp_path / "results")
