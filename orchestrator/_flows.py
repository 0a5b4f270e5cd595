"""Flows: how a contender's jobs follow from one another.

A flow is a generator. It yields jobs as they become ready, and None while it has to wait for
results. Whoever pulls it skips the jobs whose results are known already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from orchestrator._budgets import equal_share, search_budget
from orchestrator._contender import Assignment, Contender, Searched
from orchestrator._recollection import Recollection
from orchestrator.jobs import Job
from orchestrator.plan import MethodArm
from search_space.genotype import Genotype
from searchers import METHODS, Sampler
from searchers._pricing import LimitError

Flow = Iterator[Assignment | None]


def flows(contender: Contender) -> list[Flow]:
    """Return the flows of one arm on one task; they run side by side."""
    arm = contender.arm
    if not isinstance(arm, MethodArm):
        return [_baseline(contender)]
    search = _one_shot if arm.budget is None else _inline if arm.inline else _sampled
    searches = [search(contender, arm, p, seed) for p, seed in enumerate(contender.seeds)]
    return [*searches, _evaluations(contender)]


def _baseline(contender: Contender) -> Flow:
    for seed in contender.evaluate.seeds:
        yield contender.assign(contender.baseline_job(seed))


def _one_shot(contender: Contender, arm: MethodArm, position: int, seed: int) -> Flow:
    yield from _one_job(contender, contender.search_job(seed), position)


def _one_job(contender: Contender, job: Job, position: int) -> Flow:
    yield contender.assign(job, position)
    while (result := contender.result(job)) is None:
        yield None
    searched = Searched(
        result.genotype, result.score, result.compute, result.seconds, result.failed
    )
    contender.record(position, searched)


def _inline(contender: Contender, arm: MethodArm, position: int, seed: int) -> Flow:
    """One job asks, scores and tells: its estimator takes well under a second a candidate."""
    assert arm.budget is not None
    budget: dict[str, float] = {"samples": float(arm.budget.samples or 0)}
    if arm.budget.same_as is not None:
        unit = arm.budget.unit
        while (share := equal_share(contender, arm.budget.same_as, position, unit)) is None:
            yield None
        if share <= 0:
            contender.record(position, Searched(None, math.nan, 0.0, 0.0, failed=True))
            return
        budget = {unit: share}
    yield from _one_job(contender, contender.inline_job(seed, budget), position)


def _sampled(contender: Contender, arm: MethodArm, position: int, seed: int) -> Flow:
    sampler: Sampler = METHODS.load(arm.method)(arm.space.make(), arm.params, seed=seed)
    admission = contender.admission(sampler)
    budget = search_budget(contender, arm, position)
    recollection = Recollection(contender, arm, position)
    asked: list[tuple[Genotype, Job]] = []
    told = 0
    given_up = ""
    while (more := budget.more([job for _, job in asked])) is not False:
        if more is None:
            yield None
            continue
        # Scores are told in the order of the questions, as far as they are known.
        while told < len(asked) and (result := contender.result(asked[told][1])) is not None:
            genotype = asked[told][0]
            if math.isfinite(result.score):
                costs = contender.costs(sampler, genotype, result.costs)
                sampler.tell(genotype, contender.sign * result.score, costs)
            else:
                sampler.tell(genotype, -math.inf, result.costs)
            told += 1
        if not recollection.ready(len(asked), told):
            yield None
            continue
        try:
            proposed = admission.ask()
        except LimitError as error:
            given_up = str(error)
            break
        if proposed is None:
            break
        recalled = recollection.recall(proposed, asked[:told], len(asked))
        asked.append((proposed, contender.candidate_job(proposed, seed, recalled)))
        yield contender.assign(asked[-1][1], position)
    while any(contender.result(job) is None for _, job in asked):
        yield None
    searched = _best(contender, asked)
    given_up = given_up or budget.given_up
    if given_up:  # the best of what happened to work first is no search of the agreed size
        searched = replace(searched, genotype=None, score=math.nan, failed=True, given_up=given_up)
    contender.record(position, searched)


def _best(contender: Contender, asked: list[tuple[Genotype, Job]]) -> Searched:
    # By key: a candidate that was asked for twice was paid for once.
    results = {job.key: (genotype, contender.board.results[job.key]) for genotype, job in asked}
    scored = [(g, r.score) for g, r in results.values() if math.isfinite(r.score)]
    best = max(scored, key=lambda pair: contender.sign * pair[1], default=None)
    genotype, score = best if best is not None else (None, math.nan)
    compute = sum(r.compute for _, r in results.values())
    seconds = sum(r.seconds for _, r in results.values())
    return Searched(genotype, score, compute, seconds, failed=best is None)


def _evaluations(contender: Contender) -> Flow:
    waiting = list(range(len(contender.seeds)))
    if contender.evaluate.pick == "best":
        while any(contender.searched(p) is None for p in waiting):
            yield None
        found = {p: s for p in waiting if (s := contender.searched(p)) and s.genotype}
        waiting = sorted(found, key=lambda p: (-contender.sign * found[p].score, p))[:1]
    while waiting:
        ended = [p for p in waiting if contender.searched(p) is not None]
        if not ended:
            yield None
        for position in ended:
            waiting.remove(position)
            searched = contender.searched(position)
            assert searched is not None
            for seed in contender.evaluation_seeds if searched.genotype else ():
                assert searched.genotype is not None
                job = contender.evaluation_job(searched.genotype, seed)
                yield contender.assign(job, position)
