"""How many candidates a sampler may ask for: a number, or what another arm's search has spent."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Sequence
from typing import Literal

from orchestrator._contender import Contender
from orchestrator.jobs import Job
from orchestrator.plan import MethodArm
from search_space.genotype import Genotype, canonical_json, digest
from searchers._inline import DRAWS_WITHOUT_NEWS

# A candidate that fails fast spends hardly any of a budget of seconds, so that one after another
# would be asked for. Fewer in a row can be chance, such as two networks too large for the memory;
# what fails every candidate fails these too, and each more costs the start of a trial.
FAILURES_IN_A_ROW = 5


class SearchBudget(abc.ABC):
    """Says whether one more candidate is within the budget.

    ``given_up`` says why the search has been given up; empty as long as it has not.
    """

    given_up = ""

    @abc.abstractmethod
    def more(self, asked: Sequence[Job]) -> bool | None:
        """Whether to ask for another after ``asked``; None as long as that can't be known."""


class Samples(SearchBudget):
    """A number of candidates."""

    def __init__(self, samples: int):
        self.samples = samples

    def more(self, asked: Sequence[Job]) -> bool | None:
        return len(asked) < self.samples


class EqualCompute(SearchBudget):
    """As many candidates as it takes to spend the multiply-adds of another arm's search.

    The candidate that reaches the budget may overrun it. One that is drawn twice is trained once
    and counts once; a space that is exhausted before the budget ends the search. Counted before
    anything runs, so the number of candidates is the same on every machine.
    """

    def __init__(self, contender: Contender, arm: MethodArm, position: int):
        assert arm.estimator is not None
        self.contender, self.position = contender, position
        self.other = arm.budget.same_as if arm.budget else None
        self.space, self.estimator = arm.space.make(), arm.estimator.make()
        self.costs: dict[str, float] = {}

    def more(self, asked: Sequence[Job]) -> bool | None:
        spent = equal_share(self.contender, str(self.other), self.position, "compute")
        if spent is None:
            return None
        return not _exhausted(asked) and sum(map(self._cost, _once(asked))) < spent

    def _cost(self, job: Job) -> float:
        if job.key not in self.costs:
            assert job.genotype is not None
            genotype = Genotype.from_json(job.genotype)
            self.costs[job.key] = self.estimator.compute(self.space, genotype, self.contender.task)
        return self.costs[job.key]


class EqualSeconds(SearchBudget):
    """As many candidates as fit the time of another arm's search, by the clock.

    How many they are is decided once and kept in the store, since a clock says something else
    each time. Candidates under way count as long as the average of those that have ended. Where a
    job that was measured has failed, nothing is kept: it is owed and will say something else. A
    search whose candidates fail one after another is given up.
    """

    def __init__(self, contender: Contender, arm: MethodArm, position: int):
        self.contender, self.position = contender, position
        self.other = str(arm.budget.same_as if arm.budget else None)
        about = [contender.board.fingerprints[contender.label], contender.choice.model_dump()]
        content = [*about, arm.model_dump(mode="json"), self._others(), position]
        self.key = digest(canonical_json(content))
        self.decided = contender.board.decisions.get(self.key)

    def more(self, asked: Sequence[Job]) -> bool | None:
        jobs = _once(asked)
        known = [r for job in jobs if (r := self.contender.result(job)) is not None]
        row = list(itertools.takewhile(lambda result: result.failed, reversed(known)))
        if len(row) >= FAILURES_IN_A_ROW:
            self.given_up = f"{len(row)} candidates in a row failed"
            return False
        if self.decided is not None:
            return len(asked) < self.decided
        budget = equal_share(self.contender, self.other, self.position, "seconds")
        if budget is None:
            return None
        if not _exhausted(asked):
            if jobs and not known:
                return True if len(jobs) < self.contender.board.slots else None
            expected = sum(r.seconds for r in known) / max(1, len(known)) * len(jobs)
            if expected < budget:
                return True
        self.decided = float(len(asked))
        if not self._failed(asked):
            self.contender.board.decide(self.key, "candidates", self.decided)
        return False

    def _failed(self, asked: Sequence[Job]) -> bool:
        results = [self.contender.result(job) for job in asked]
        if any(result is not None and result.failed for result in results):
            return True
        arm = self.contender.board.plan.arms[self.other]
        assert isinstance(arm, MethodArm)
        count = len(self.contender.board.plan.seeds_of(arm))
        places = [self.position] if self.position < count else range(count)
        searches = [self.contender.searched(p, self.other) for p in places]
        return any(s is not None and s.failed for s in searches)

    def _others(self) -> object:
        return self.contender.board.plan.arms[self.other].model_dump(mode="json")


def _once(asked: Sequence[Job]) -> list[Job]:
    """Return the candidates without those that were drawn before."""
    return list({job.key: job for job in asked}.values())


def _exhausted(asked: Sequence[Job]) -> bool:
    """Whether the last draws, many in a row, were all of candidates drawn before."""
    keys = [job.key for job in asked]
    before, last = keys[:-DRAWS_WITHOUT_NEWS], keys[-DRAWS_WITHOUT_NEWS:]
    return bool(before) and set(last) <= set(before)


def search_budget(contender: Contender, arm: MethodArm, position: int) -> SearchBudget:
    """Return the budget of an arm's ``position``-th search."""
    assert arm.budget is not None
    if arm.budget.samples is not None:
        return Samples(arm.budget.samples)
    kind = EqualCompute if arm.budget.unit == "compute" else EqualSeconds
    return kind(contender, arm, position)


def equal_share(
    contender: Contender, other: str, position: int, unit: Literal["compute", "seconds"]
) -> float | None:
    """Return what the other arm's search of the same position spent; None if it goes on.

    Where that one failed or there is none at this position, the mean of those that did not fail;
    0 where all have failed, since there is nothing to be equal to.
    """
    arm = contender.board.plan.arms[other]
    assert isinstance(arm, MethodArm)
    same = contender.searched(position, other)
    if same is not None and not same.failed:
        return getattr(same, unit)
    count = len(contender.board.plan.seeds_of(arm))
    if same is None and position < count:
        return None
    all_of_them = [contender.searched(p, other) for p in range(count)]
    ended = [s for s in all_of_them if s is not None]
    if len(ended) < count:
        return None
    spent = [getattr(s, unit) for s in ended if not s.failed]
    return sum(spent) / len(spent) if spent else 0.0
