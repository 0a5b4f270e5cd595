"""Flows: how a contender's jobs follow from one another.

A flow is a generator. It yields jobs as they become ready, and None while it has to wait for
results. Whoever pulls it skips the jobs whose results are known already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from orchestrator._budgets import search_budget
from orchestrator._contender import Assignment, Contender, Searched
from orchestrator.jobs import Job
from orchestrator.plan import MethodArm
from search_space.genotype import Genotype
from searchers import METHODS, Sampler

Flow = Iterator[Assignment | None]


def flows(contender: Contender) -> list[Flow]:
    """Return the flows of one arm on one task; they run side by side."""
    arm = contender.arm
    if not isinstance(arm, MethodArm):
        return [_baseline(contender)]
    search = _one_shot if arm.budget is None else _sampled
    searches = [search(contender, arm, p, seed) for p, seed in enumerate(contender.seeds)]
    return [*searches, _evaluations(contender)]


def _baseline(contender: Contender) -> Flow:
    for seed in contender.evaluate.seeds:
        yield contender.assign(contender.baseline_job(seed))


def _one_shot(contender: Contender, arm: MethodArm, position: int, seed: int) -> Flow:
    job = contender.search_job(seed)
    yield contender.assign(job, position)
    while (result := contender.result(job)) is None:
        yield None
    searched = Searched(
        result.genotype, result.score, result.compute, result.seconds, result.failed
    )
    contender.record(position, searched)


def _sampled(contender: Contender, arm: MethodArm, position: int, seed: int) -> Flow:
    sampler: Sampler = METHODS.load(arm.method)(arm.space.make(), arm.params, seed=seed)
    budget = search_budget(contender, arm, position)
    asked: list[tuple[Genotype, Job]] = []
    told = 0
    while (more := budget.more([job for _, job in asked])) is not False:
        if more is None:
            yield None
            continue
        # Scores are told in the order of the questions, as far as they are known.
        while told < len(asked) and (result := contender.result(asked[told][1])) is not None:
            score = contender.sign * result.score
            score = score if math.isfinite(score) else -math.inf
            sampler.tell(asked[told][0], score, result.costs)
            told += 1
        genotype = sampler.ask()
        if genotype is None:
            break
        asked.append((genotype, contender.candidate_job(genotype, seed)))
        yield contender.assign(asked[-1][1], position)
    while any(contender.result(job) is None for _, job in asked):
        yield None
    searched = _best(contender, asked)
    if budget.given_up:  # the best of what happened to work first is no search of the agreed size
        searched = replace(
            searched, genotype=None, score=math.nan, failed=True, given_up=budget.given_up
        )
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
        for position in [p for p in waiting if contender.searched(p) is not None]:
            waiting.remove(position)
            searched = contender.searched(position)
            assert searched is not None
            for seed in contender.evaluate.seeds if searched.genotype else ():
                assert searched.genotype is not None
                job = contender.evaluation_job(searched.genotype, seed)
                yield contender.assign(job, position)
        if waiting:
            yield None
