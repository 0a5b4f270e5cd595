"""The verdict: one honest sentence about an arm and those it is held against.

All comparisons of a study on one task hold together at 95 %: each interval is at the level
``1 - 0.05 / comparisons`` (Bonferroni). The statistics are in ``statistics.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.plan import MethodArm, Plan
from orchestrator.results import ArmResult
from orchestrator.statistics import LEVEL, SEARCHES_TO_GENERALISE, difference


@dataclass(frozen=True)
class Comparison:
    """The arm in question against another: ``gain`` is positive where the arm is better.

    ``low`` and ``high`` are the ends of its interval at ``level``, at which all comparisons of the
    arm hold together at 95 %.
    """

    other: ArmResult
    gain: float
    low: float
    high: float
    level: float


def compared_arm(plan: Plan) -> str:
    """Return the arm that the verdict is about: the plan's choice, else its first that searches."""
    if plan.compare is not None:
        return plan.compare.arm
    searching = [name for name, arm in plan.arms.items() if isinstance(arm, MethodArm)]
    return (searching or list(plan.arms))[0]


def comparisons(plan: Plan, results: Sequence[ArmResult], task: str) -> list[Comparison]:
    """Compare the arm in question with the others on a task, as far as both have results."""
    arm, others = _sides(plan, results, task)
    others = [other for other in others if _has_mean(other)]
    if not _has_mean(arm):
        return []
    level = 1 - (1 - LEVEL) / max(1, len(others))
    sign = 1.0 if arm.higher_is_better else -1.0
    found = []
    for other in others:
        assert arm.estimate is not None
        assert other.estimate is not None
        gap = difference(arm.estimate, other.estimate)
        ends = sorted(sign * end for end in gap.interval(level))
        found.append(Comparison(other, sign * gap.mean, ends[0], ends[1], level))
    return found


def percent(level: float) -> str:
    """Return a level of confidence as people write it: 95 %, 97.5 %, 98.33 %."""
    return f"{100 * level:.4g} %"


def verdict(plan: Plan, results: Sequence[ArmResult], task: str) -> str:
    """Return the sentence that answers the plan's question on one task."""
    arm, others = _sides(plan, results, task)
    found = comparisons(plan, results, task)
    caveats = _caveats(arm, others)
    if not _has_mean(arm):
        return f"On {task}, {arm.arm} has no result to compare: {_why_not(arm)}."
    if not found:
        return f"On {task}, {arm.arm} has nothing to be compared with.{caveats}"
    better = [c for c in found if c.low > 0]
    worse = [c for c in found if c.high < 0]
    if worse:
        winner = min(worse, key=lambda c: c.gain)
        text = f"{winner.other.arm} beats {arm.arm} by {_lead(winner, arm.metric, len(found))}"
        shown = winner
    elif len(better) == len(found):
        shown = min(better, key=lambda c: c.gain)
        whom = (
            shown.other.arm
            if len(found) == 1
            else f"every other arm, the closest of them {shown.other.arm},"
        )
        text = f"{arm.arm} beats {whom} by {_lead(shown, arm.metric, len(found))}"
    else:
        open_ones = [c for c in found if c.low <= 0 <= c.high]
        shown = min(open_ones, key=lambda c: c.gain)
        names = _listed([c.other.arm for c in open_ones])
        text = f"the data cannot tell {arm.arm} from {names}: "
        text += _open_gap(arm, shown, len(found))
        if better:
            text += f"; it beats {_listed([c.other.arm for c in better])}"
    return f"On {task}, {text}; {_cost(arm, shown.other)}.{_scope(arm, shown.other)}{caveats}"


def _sides(
    plan: Plan, results: Sequence[ArmResult], task: str
) -> tuple[ArmResult, list[ArmResult]]:
    """Return the arm in question and those it is to be held against, with results or without."""
    here = {r.arm: r for r in results if r.task == task}
    arm = here[compared_arm(plan)]
    chosen = plan.compare.against if plan.compare is not None else None
    return arm, [here[name] for name in (chosen or here) if name != arm.arm]


def _caveats(arm: ArmResult, others: Sequence[ArmResult]) -> str:
    absent = [f"{r.arm} ({_why_not(r)})" for r in others if not _has_mean(r)]
    partial = [r for r in (arm, *others) if _has_mean(r) and (r.owed or r.failed)]
    counted = [f"{r.arm} ({r.owed} jobs owed, {r.failed} failed)" for r in partial]
    text = f" Not compared: {_listed(absent)}." if absent else ""
    return text + (f" Preliminary: not all is there of {_listed(counted)}." if counted else "")


def _has_mean(result: ArmResult) -> bool:
    return result.estimate is not None and math.isfinite(result.estimate.mean)


def _why_not(arm: ArmResult) -> str:
    if any(math.isnan(v) for v in arm.values):
        return f"{sum(math.isnan(v) for v in arm.values)} of {len(arm.values)} trainings diverged"
    if arm.failed:
        return f"{arm.failed} of its jobs failed"
    return "its jobs are not done" if arm.owed or not arm.values else "nothing was found"


def _lead(c: Comparison, metric: str, count: int) -> str:
    """Say by how much the winner of a comparison is ahead."""
    gain, low, high = (c.gain, c.low, c.high) if c.high >= 0 else (-c.gain, -c.high, -c.low)
    return f"{gain:.4f} {metric} ({_level(c, count, f'{low:.4f} to {high:.4f}')})"


def _open_gap(arm: ArmResult, c: Comparison, count: int) -> str:
    """Say in words which mean is the lower one, and by how much, where neither arm wins."""
    # As measured, whichever direction is the better one.
    ends = (c.low, c.high) if arm.higher_is_better else (-c.high, -c.low)
    gap = c.gain if arm.higher_is_better else -c.gain
    text = f"{arm.arm} is {'lower' if gap < 0 else 'higher'} than {c.other.arm} by "
    text += f"{abs(gap):.4f} {arm.metric}"
    text += "" if arm.higher_is_better else ", where lower is better"
    if math.isinf(c.high):
        return f"{text}, with no interval: {_unrepeated(arm, c.other)}"
    interval = f"from {abs(ends[0]):.4f} lower to {abs(ends[1]):.4f} higher"
    return f"{text} ({_level(c, count, interval)})"


def _level(c: Comparison, count: int, interval: str) -> str:
    text = f"{percent(c.level)} interval {interval}"
    if count == 1:
        return text
    every = "both" if count == 2 else f"all {count}"
    return f"{text}, so that {every} comparisons hold together at {percent(LEVEL)}"


def _unrepeated(*arms: ArmResult) -> str:
    """Say which arms have nothing that was repeated, so that nobody knows how far it spreads."""
    alone = [r for r in arms if r.estimate is not None and r.estimate.freedom <= 0]
    values = ["a single value" + (" of each search" if len(r.groups) > 1 else "") for r in alone]
    return _listed([f"{r.arm} has {value}" for r, value in zip(alone, values, strict=True)])


def _cost(arm: ArmResult, other: ArmResult) -> str:
    parts = []
    for one in (arm, other):
        search = f"{one.search_seconds:.0f} s of search" if one.search_seconds else "no search"
        parts.append(f"{one.arm} took {search} and {one.training_seconds or 0:.0f} s a training")
    return ", ".join(parts)


def _scope(arm: ArmResult, other: ArmResult) -> str:
    few = [
        r.arm for r in (arm, other) if r.search_seconds and len(r.groups) < SEARCHES_TO_GENERALISE
    ]
    if not few:
        return ""
    return (
        f" The interval speaks of the networks that {_listed(few)} found, retrained; "
        f"for new searches give at least {SEARCHES_TO_GENERALISE} seeds."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
