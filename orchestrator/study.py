"""A study: the graph of a plan's jobs, unrolled as results come in. It knows nothing of Ray."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator._contender import Assignment, Board, Contender
from orchestrator._flows import Flow, flows
from orchestrator.jobs import Job, Result
from orchestrator.plan import MethodArm, Plan
from search_space.genotype import canonical_json, digest

# Keys of a plan that change no result.
_HOW_TO_RUN = ("store", "resources", "budget", "checkpoint_seconds")

# What others wait for comes before what they wait for next.
_ORDER = {"search": 0, "candidate": 1, "evaluate": 2}


class Study:
    """Hands out the jobs of a plan that are ready and still owed.

    Every contender is unrolled by flows that look only at results by job key. So a run that was
    interrupted unrolls to the same place from what the store holds, and a job that two arms or
    two plans share is run once.
    """

    def __init__(self, board: Board):
        self.board = board
        # Expected seconds of a job by (task, arm, kind), where somebody has estimated them.
        self.expected: Mapping[tuple[str, str, str], float] = {}
        self.key = study_key(board.plan, board.fingerprints)
        self.contenders = [
            Contender(board, choice, name, arm)
            for choice in board.plan.task
            for name, arm in board.plan.arms.items()
        ]
        self.assigned: list[Assignment] = []
        self.running: dict[str, Assignment] = {}
        self._ready: dict[int, Assignment] = {}
        every = [flow for contender in self.contenders for flow in flows(contender)]
        self._flows: dict[int, Flow] = dict(enumerate(every))

    @property
    def finished(self) -> bool:
        """Whether every job has ended, as far as :meth:`next` has found out."""
        return not (self._flows or self._ready or self.running)

    @property
    def given_up(self) -> list[str]:
        """A sentence for each search that was given up."""
        return [
            f"On {task}, search {position} of {arm} was given up: {searched.given_up}. It counts "
            "as failed, and nothing of it is evaluated."
            for (task, arm, position), searched in self.board.searched.items()
            if searched.given_up
        ]

    def next(self) -> Assignment | None:
        """Hand out the next job that is ready and owed; None if there is none at the moment."""
        self._unroll()
        if not self._ready:
            return None
        number = min(self._ready, key=self._rank)
        assignment = self._ready.pop(number)
        self.running[assignment.job.key] = assignment
        return assignment

    def tell(self, key: str, result: Result) -> None:
        """Take in how a job ended."""
        self.board.results[key] = result
        self.running.pop(key, None)

    def _rank(self, number: int) -> tuple[bool, float, int, int]:
        """Searches first, then long jobs: a long one that starts last leaves slots idle."""
        one = self._ready[number]
        kind = one.job.kind
        seconds = self.expected.get((one.task, one.arm, kind), 0.0)
        return kind != "search", -seconds, _ORDER[kind], number

    def _unroll(self) -> None:
        progress = True
        while progress:  # what one flow finds out can be what another waits for
            before = len(self.assigned), len(self._flows), len(self.board.searched)
            for number in [n for n in self._flows if n not in self._ready]:
                self._pull(number)
            progress = before != (len(self.assigned), len(self._flows), len(self.board.searched))

    def _pull(self, number: int) -> None:
        """Advance a flow until it has an owed job ready, must wait, or ends."""
        for assignment in self._flows[number]:
            if assignment is None:
                return
            self.assigned.append(assignment)
            key = assignment.job.key
            taken = key in self.running or any(key == a.job.key for a in self._ready.values())
            if key not in self.board.results and not taken:
                self._ready[number] = assignment
                return
        del self._flows[number]


def study_key(plan: Plan, fingerprints: Mapping[str, str]) -> str:
    """Return the digest of a plan and its data: what names the study in the store.

    Where results are kept, what trials run on and how long a run may take are not part of it.
    """
    arms = {name: {"resources"} for name in plan.arms}
    content = plan.model_dump(
        mode="json", exclude={**dict.fromkeys(_HOW_TO_RUN, True), "arms": arms}
    )
    return digest(canonical_json([content, dict(fingerprints)]))


@dataclass(frozen=True)
class Forecast:
    """How many jobs of a kind an arm has, and a typical one.

    ``total`` is None where the number hangs on what another arm spends.
    """

    task: str
    arm: str
    kind: str
    total: int | None
    example: Job


def forecast(study: Study) -> list[Forecast]:
    """List what each contender will run, with a typical job."""
    rows = []
    evaluate = study.board.plan.evaluate
    for one in study.contenders:
        if not isinstance(one.arm, MethodArm):
            example = one.baseline_job(evaluate.seeds[0])
            rows.append(Forecast(one.label, one.name, "evaluate", len(evaluate.seeds), example))
            continue
        typical = one.arm.space.make().sample(random.Random(0))
        if one.arm.budget is not None and one.arm.inline:
            samples = one.arm.budget.samples
            example = one.inline_job(one.seeds[0], {"samples": float(samples or 1)})
            total = None if samples is None else len(one.seeds)
            rows.append(Forecast(one.label, one.name, "search", total, example))
        elif one.arm.budget is not None:
            each = one.arm.budget.samples
            total = None if each is None else each * len(one.seeds)
            example = one.candidate_job(typical, one.seeds[0])
            rows.append(Forecast(one.label, one.name, "candidate", total, example))
        else:
            example = one.search_job(one.seeds[0])
            rows.append(Forecast(one.label, one.name, "search", len(one.seeds), example))
        picked = len(one.seeds) if evaluate.pick == "each" else 1
        example = one.evaluation_job(typical, one.evaluation_seeds[0])
        count = picked * len(one.evaluation_seeds)
        rows.append(Forecast(one.label, one.name, "evaluate", count, example))
    return rows
