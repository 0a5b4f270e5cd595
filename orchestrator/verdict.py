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
    """The arm in question against another: ``gain`` is positive where the arm is better."""

    other: ArmResult
    gain: float
    low: float
    high: float


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
        found.append(Comparison(other, sign * gap.mean, ends[0], ends[1]))
    return found


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
        text = f"{winner.other.arm} beats {arm.arm} by {_gap(winner, arm.metric)}"
        shown = winner
    elif len(better) == len(found):
        shown = min(better, key=lambda c: c.gain)
        whom = (
            shown.other.arm
            if len(found) == 1
            else f"every other arm, the closest of them {shown.other.arm},"
        )
        text = f"{arm.arm} beats {whom} by {_gap(shown, arm.metric)}"
    else:
        open_ones = [c for c in found if c.low <= 0 <= c.high]
        shown = min(open_ones, key=lambda c: c.gain)
        names = _listed([c.other.arm for c in open_ones])
        text = f"the data cannot tell {arm.arm} from {names}: "
        text += f"a difference of {_gap(shown, arm.metric)}"
        text += f" to {shown.other.arm}" if len(open_ones) > 1 else ""
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


def _gap(c: Comparison, metric: str) -> str:
    gain, low, high = (c.gain, c.low, c.high) if c.high >= 0 else (-c.gain, -c.high, -c.low)
    if math.isinf(high):
        return f"{gain:.4f} {metric}, from a single value each"
    return f"{gain:.4f} {metric} (95 % interval {low:.4f} to {high:.4f})"


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
