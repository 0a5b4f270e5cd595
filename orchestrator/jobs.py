"""Jobs: units of scheduled work, named for ever by their content."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from search_space.genotype import Genotype, canonical_json, digest

# Part of every key. Raise it when the same job would give other numbers than before.
FORMAT = 3

# Outcomes after which a job is never run again. All others are failures, by kind.
FINISHED = ("done", "diverged")

# Fields that came later than stores. They are left out where they are not given, so that the jobs
# that stores know keep their keys.
_LATER = ("budget", "limits", "recalled")

Kind = Literal["search", "candidate", "evaluate"]


@dataclass(frozen=True)
class Entry:
    """An entry of a shelf with its parameters, all of them, defaults too."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One unit of work, as plain data.

    Args:
        kind: "search" runs a method, "candidate" scores a genotype, "evaluate" trains a genotype or
            a baseline and scores the test split. Where the task is a table, nothing is trained.
        task: the data set; ``fingerprint`` is the digest of its data.
        seed: of all chance in the job.
        space: where a genotype is searched in or comes from.
        method: what runs (search).
        estimator: what scores (candidate; search, where a sampler scores its candidates itself).
        genotype: canonical JSON of the architecture (candidate, evaluate).
        network: name of a baseline (evaluate).
        training: how a network is trained and how large it is built (evaluate).
        budget: of a sampler that scores its candidates itself (search): one of ``samples``,
            ``compute`` and ``seconds``, with its number.
        limits: of such a sampler's candidates: ``at_most`` by name, and the size of the
            ``evaluated`` network.
        recalled: what the estimator takes from candidates that were scored before (candidate).

    What a job runs on is not part of it: the same work on another machine is the same work.
    """

    kind: Kind
    task: Entry
    fingerprint: str
    seed: int
    space: Entry | None = None
    method: Entry | None = None
    estimator: Entry | None = None
    genotype: str | None = None
    network: str | None = None
    training: dict[str, Any] | None = None
    budget: dict[str, float] | None = None
    limits: dict[str, Any] | None = None
    recalled: dict[str, Any] | None = None

    @cached_property
    def key(self) -> str:
        """Digest of the content. The same work has the same key in every plan."""
        return digest(self.to_json())

    def to_json(self) -> str:
        """Return the canonical JSON form."""
        content = asdict(self)
        for name in _LATER:
            if content[name] is None:
                del content[name]
        return canonical_json({"format": FORMAT, **content})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what :meth:`to_json` wrote."""
        record = json.loads(text)
        record.pop("format")
        for name in ("task", "space", "method", "estimator"):
            if record[name] is not None:
                record[name] = Entry(**record[name])
        return cls(**record)


@dataclass(frozen=True)
class Result:
    """What the rest of a study needs to know of a job that has ended, well or not.

    ``parameters`` and ``multiply_adds`` are the network's; 0 where nobody counted them.
    """

    outcome: str
    score: float = math.nan
    genotype: Genotype | None = None
    compute: float = 0.0
    seconds: float = 0.0
    parameters: int = 0
    multiply_adds: int = 0

    @property
    def costs(self) -> dict[str, float]:
        """What is known of the network's costs, as a sampler is told them."""
        counted = {"parameters": self.parameters, "multiply_adds": self.multiply_adds}
        return {name: float(count) for name, count in counted.items() if count > 0}

    @property
    def failed(self) -> bool:
        """Whether it gave no result at all; to diverge is a result."""
        return self.outcome not in FINISHED
