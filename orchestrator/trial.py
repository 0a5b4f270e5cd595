"""The one trainable that Tune sees: it runs a job's program and keeps its checkpoints."""

from __future__ import annotations

import io
import json
import math
import platform
import socket
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import ray
import torch
from ray import tune

from orchestrator._schemas import SCHEMAS
from orchestrator.checkpoints import Checkpoints
from orchestrator.jobs import Entry, Job
from orchestrator.legacies import Legacies
from orchestrator.programs import load_task, make_program, make_space
from search_space.genotype import Genotype
from search_space.task import DataError, Task
from searchers import Outcome
from searchers._base import Candidate
from searchers.estimators._base import Bequeathing

# Tables of the store that a program's reports fill.
RECORDED = ("metrics", "architecture_weights", "candidates", "genotypes")

# Lines of a failure's traceback that are kept in the store.
TAIL = 40


@lru_cache(maxsize=1)
def _loaded(name: str, params: str, root: str) -> tuple[Task, str]:
    task = load_task(Entry(name, json.loads(params)), Path(root))
    return task, task.fingerprint()


class Trial(tune.Trainable):
    """Runs one job after the other in the same process, step by step.

    Its config: ``job`` (JSON), ``data`` (root of the data sets), ``store`` (URL), ``threads`` and
    ``checkpoint_seconds``. A job whose earlier run left a checkpoint goes on from there. Errors of
    a program are results of kind "bug", "bad_input" or "out_of_memory": they end this job and
    leave the others running. Only the death of the process is an error to Tune, which then starts
    the trial again.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._failure: dict[str, Any] | None = None
        self._saved = time.monotonic()
        self._seconds = 0.0
        self._steps = 0
        self._tables: dict[str, list[dict[str, Any]]] = {name: [] for name in RECORDED}
        self._started = datetime.now(timezone.utc)
        self._job = Job.from_json(config["job"])
        self._threads = int(config["threads"])
        torch.set_num_threads(self._threads)
        self._checkpoint_seconds = float(config["checkpoint_seconds"])
        self._checkpoints = Checkpoints(config["store"])
        self._legacies = Legacies(config["store"])
        begun = time.monotonic()
        try:
            task = self._task = self._load(config["data"])
            self._metric = task.metric
            self._device = _device()
            self._program = make_program(
                self._job,
                task,
                device=self._device,
                threads=self._threads,
                legacies=self._legacies.load,
            )
            state = self._checkpoints.load(self._job.key)
            if state is not None:
                self._restore(state)
        except Exception as error:
            self._failure = _failure(error)
        self._seconds += time.monotonic() - begun

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        begun = time.monotonic()
        if self._failure is None:
            try:
                self._advance()
            except Exception as error:
                self._failure = _failure(error)
        self._seconds += time.monotonic() - begun
        if self._failure is not None:
            return self._result(done=True, **self._failure)
        if self._program.done:
            return self._final()
        if time.monotonic() - self._saved > self._checkpoint_seconds:
            self._save()
        return self._result(done=False, progress=self._program.progress, score=self._score())

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        # Tune asks for this when the trial is to be interrupted. The state goes to the folder of
        # the job, where any later run finds it; Tune's own folder only gets a sign of life.
        if self._failure is None and not self._program.done:
            self._save()
        (Path(checkpoint_dir) / "job.txt").write_text(self._job.key)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to do: :meth:`setup` has loaded the job's state."""

    def _load(self, root: str) -> Task:
        entry = self._job.task
        task, fingerprint = _loaded(entry.name, json.dumps(entry.params), root)
        if fingerprint != self._job.fingerprint:
            raise DataError(
                f"the data of {task.name} on {socket.gethostname()} is not the driver's: "
                f"{fingerprint} instead of {self._job.fingerprint}; bring the same files there"
            )
        return task

    def _advance(self) -> None:
        report = self._program.step()
        if self._program.done and isinstance(self._program, Bequeathing):
            # Before the result is known, which others wait for.
            self._legacies.save(self._job.key, self._program.legacy())
        self._steps += 1
        key = self._job.key
        self._tables["metrics"] += [{"job": key, **asdict(m)} for m in report.measurements]
        self._tables["architecture_weights"] += [{"job": key, **asdict(w)} for w in report.weights]
        if report.candidates:
            self._record(report.candidates)

    def _record(self, candidates: Sequence[Candidate]) -> None:
        """Keep candidates that the program has scored itself, and each genotype once."""
        assert self._job.space is not None
        space, table = make_space(self._job.space), self._task.table
        known = {row["key"] for row in self._tables["genotypes"]}
        for one in candidates:
            genotype = one.genotype
            text = space.text(genotype)
            row = {
                "job": self._job.key,
                "step": one.step,
                "genotype": genotype.key,
                "outcome": one.outcome,
                "score": one.score,
                "test": None if table is None else table.value(text, table.reported[0]),
            }
            self._tables["candidates"].append({**row, **one.costs})
            if genotype.key not in known:
                known.add(genotype.key)
                self._tables["genotypes"].append(genotype_row(genotype, text))

    def _save(self) -> None:
        state = {
            "program": self._program.state_dict(),
            "tables": {name: _pack(name, rows) for name, rows in self._tables.items()},
            "seconds": self._seconds,
            "steps": self._steps,
        }
        self._checkpoints.save(self._job.key, self._steps, state)
        self._saved = time.monotonic()

    def _restore(self, state: dict[str, Any]) -> None:
        self._program.load_state_dict(state["program"])
        for name, rows in state["tables"].items():
            self._tables[name] = unpack(rows).to_pylist()
        self._seconds, self._steps = state["seconds"], state["steps"]

    def _score(self) -> float | None:
        """The latest validation metric, or a sampler's best, for people who watch."""
        if scores := [s for r in self._tables["candidates"] if math.isfinite(s := r["score"])]:
            return max(scores) if self._metric.higher_is_better else min(scores)
        for row in reversed(self._tables["metrics"]):
            if (row["split"], row["name"]) == ("valid", self._metric.name):
                return row["value"]
        return None

    def _final(self) -> dict[str, Any]:
        outcome: Outcome = self._program.outcome()
        return self._result(
            done=True,
            progress=1.0,
            outcome="diverged" if outcome.diverged else "done",
            score=outcome.score,
            test=outcome.test,
            genotype=None if outcome.genotype is None else outcome.genotype.to_json(),
            parameters=outcome.parameters,
            multiply_adds=outcome.multiply_adds,
            compute=outcome.compute,
            metric=self._metric.name,
            device=str(self._device),
            **{f"{name}_rows": _pack(name, rows) for name, rows in self._tables.items() if rows},
        )

    def _result(self, *, done: bool, **values: Any) -> dict[str, Any]:
        return {
            "done": done,
            "job_seconds": self._seconds,
            "started_at": self._started.isoformat(),
            "host": socket.gethostname(),
            "threads": self._threads,
            "versions": _versions(),
            **values,
        }


def genotype_row(genotype: Genotype, text: str) -> dict[str, Any]:
    """Return a row of the store's table ``genotypes``."""
    return {
        "key": genotype.key,
        "space": genotype.space,
        "genotype": genotype.to_json(),
        "text": text,
    }


def _pack(table: str, rows: list[dict[str, Any]]) -> bytes:
    """Return rows as a compressed Arrow stream: small on the wire, plain bytes in a checkpoint."""
    sink = io.BytesIO()
    content = pa.Table.from_pylist(rows, schema=SCHEMAS[table])
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, content.schema, options=options) as writer:
        writer.write_table(content)
    return sink.getvalue()


def unpack(content: bytes) -> pa.Table:
    """Read what :func:`_pack` wrote."""
    return pa.ipc.open_stream(content).read_all()


def _failure(error: Exception) -> dict[str, Any]:
    kind = "bug"
    if isinstance(error, DataError):
        kind = "bad_input"
    elif isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        kind = "out_of_memory"
    tail = "".join(traceback.format_exception(error)).splitlines()[-TAIL:]
    return {"outcome": kind, "detail": "\n".join(tail)}


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu")


def _versions() -> str:
    packages = {"torch": torch.__version__, "ray": ray.__version__}
    return json.dumps({"python": platform.python_version(), **packages})
