"""Small plans, and the faults of plans, for tests of what is refused."""

from __future__ import annotations

import pytest

from orchestrator.errors import PlanError
from orchestrator.plan import Plan, parse_plan

# The smallest plan with something to search; `arms` is last, so that lines can be added to it.
SMALL = """\
name: small
task: digits
arms:
  darts: {method: darts}
  floor: {network: constant}
"""

SAMPLED = "{method: random_search, budget: {samples: 3}}"


def faults(text: str) -> dict[str, str]:
    """Return the messages of a plan's faults by path; a path that has two faults fails."""
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "a.yaml")
    found = caught.value.faults
    assert len({path for path, _ in found}) == len(found), found
    shown = str(caught.value)
    assert shown.startswith("a.yaml has ")
    assert "Traceback" not in shown
    assert len(shown.splitlines()) == 1 + len(found), "one line for each fault"
    for path, message in found:
        assert f"{path}: {message}" in shown if path else message in shown
    return dict(found)


def only_fault(text: str) -> tuple[str, str]:
    """Return path and message of a plan's single fault."""
    found = faults(text)
    assert len(found) == 1, found
    return next(iter(found.items()))


def with_arm(arm: str) -> str:
    """Return the small plan with one more arm, called ``more``."""
    return f"{SMALL}  more: {arm}\n"


def plan(*baselines: str, compare: str = "", tasks: str = "digits") -> Plan:
    """Return a plan with the arm ``darts`` and these baselines."""
    lines = [f"  {name}: {{network: constant}}" for name in baselines]
    compared = [f"compare: {compare}"] if compare else []
    head = ["name: x", f"task: {tasks}", "arms:", "  darts: {method: darts}"]
    return parse_plan("\n".join([*head, *lines, *compared]))
