"""Fixtures of the orchestrator's tests: stores on a disk and on S3, plans, tasks, extra entries."""

from __future__ import annotations

import importlib
import itertools
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from orchestrator.plan import Plan, parse_plan
from search_space.metric import R2, Metric
from search_space.task import Output, Split, Task

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
        fs.S3FileSystem(allow_bucket_creation=True).create_dir(BUCKET)
        yield f"s3://{BUCKET}"
    server.stop()


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


@pytest.fixture
def plan() -> Callable[[str], Plan]:
    """Reads the indented text of a plan."""
    return lambda text: parse_plan(textwrap.dedent(text))


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
