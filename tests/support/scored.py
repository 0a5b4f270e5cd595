"""A store of scored genotypes that is written row by row, for tests of analyses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from orchestrator.driver import _row
from orchestrator.jobs import Entry, Job
from orchestrator.plan import EstimatorChoice, Evaluate
from orchestrator.store import Store
from search_space.genotype import Genotype

SPACE = Entry("nasbench201")


class ScoredStore:
    """Candidates and evaluations of genotypes that are numbered."""

    def __init__(self, folder: Path, higher_is_better: bool = True):
        self.store = Store(str(folder))
        about = {"metric": "made", "unit": "", "higher_is_better": higher_is_better}
        study = {"study": "s", "name": "s", "plan": "{}", "tasks": json.dumps({"digits": about})}
        started = datetime(2024, 5, 17, tzinfo=timezone.utc)
        self.store.add("studies", "s", [{**study, "started": started}])

    def candidate(
        self, number: int, score: float, estimator: Any = "training", seed: int = 0, **rest: Any
    ) -> str:
        """Add a candidate; return the key of its job. ``rest`` is more of its result."""
        entry = EstimatorChoice.model_validate(estimator).entry()
        return self._add("candidate", number, seed, {"score": score, **rest}, estimator=entry)

    def search(
        self,
        scores: Mapping[int, float],
        estimator: Any,
        measured: Mapping[int, Mapping[str, float]],
    ) -> None:
        """Add a search that scored its candidates itself, asking for the first of them twice."""
        content = {"method": Entry("random_search"), "budget": {"samples": float(len(scores) + 1)}}
        entry = EstimatorChoice.model_validate(estimator).entry()
        job = Job("search", Entry("digits"), "f", 0, space=SPACE, estimator=entry, **content)
        result = {"outcome": "done", "metric": "made", "job_seconds": 2.0}
        self.store.add("jobs", f"{job.key}-0", [_row(job, 0, result, None, None)])
        rows = []
        for step, (number, score) in enumerate([*scores.items(), *[*scores.items()][:1]], start=1):
            about = {"job": job.key, "step": step, "outcome": "done", "score": score}
            rows.append({**about, "genotype": _genotype(number).key})
            if step <= len(scores):
                self.measure(job.key, "train", step, **measured[number])
        self.store.add("candidates", f"{job.key}-0", rows)

    def evaluation(self, number: int, test: float, seed: int = 0, **training: Any) -> None:
        """Add an evaluation; ``training`` is what its recipe has that is not the default."""
        recipe = Evaluate(**training).model_dump(mode="json", exclude={"seeds", "pick"})
        self._add("evaluate", number, seed, {"score": 0.0, "test": test}, training=recipe)

    def measure(self, job: str, split: str, epoch: int = 0, **values: float) -> None:
        """Add measurements of a job."""
        about = {"job": job, "step": epoch, "epoch": epoch, "split": split}
        rows = [{**about, "name": name, "value": value} for name, value in values.items()]
        self.store.add("metrics", f"{job}-{split}-{epoch}", rows)

    def _add(
        self, kind: Any, number: int, seed: int, result: dict[str, Any], **content: Any
    ) -> str:
        genotype = _genotype(number)
        content = {"space": SPACE, "genotype": genotype.to_json(), **content}
        job = Job(kind, Entry("digits"), "f", seed, **content)
        result = {"outcome": "done", "metric": "made", "job_seconds": 2.0, **result}
        self.store.add("jobs", f"{job.key}-0", [_row(job, 0, result, genotype, None)])
        return job.key


def _genotype(number: int) -> Genotype:
    return Genotype.of("nasbench201", {"number": number})
