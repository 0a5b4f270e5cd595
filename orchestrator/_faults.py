"""Faults of a plan in the words of its user: a path and a message each."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic

from search_space.shelf import nearest


def validation_faults(error: pydantic.ValidationError) -> list[tuple[str, str]]:
    """Return what pydantic found, without its own terms."""
    return [_fault(e) for e in _causes(error.errors())]


def reference_faults(raw: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Check names of arms on the raw plan, so that these faults show beside all others."""
    arms = raw.get("arms")
    if not isinstance(arms, dict):
        return
    arms = {str(name): arm for name, arm in arms.items()}
    names = list(arms)
    for name, arm in arms.items():
        path = f"arms.{name}.budget.same_as"
        seen, other = [name], _same_as(arm)
        while other is not None:
            if other not in names:
                yield path, f"no arm named {other!r}; {nearest(other, names)}"
            elif other in seen:
                yield path, f"arms wait for one another: {' -> '.join([*seen, other])}"
            elif isinstance(arms[other], dict) and "network" in arms[other]:
                yield path, f"{other!r} is a baseline and has no search budget to copy"
            else:
                seen.append(other)
                other = _same_as(arms[other])
                continue
            break
    compare = raw.get("compare")
    if isinstance(compare, dict):
        against = compare.get("with") or []
        listed = against if isinstance(against, list) else []
        for path, name in [
            ("compare.arm", compare.get("arm")),
            *[("compare.with", n) for n in listed],
        ]:
            if isinstance(name, str) and name not in names:
                yield path, f"no arm named {name!r}; {nearest(name, names)}"
        if compare.get("arm") in listed:
            yield "compare.with", f"{compare['arm']!r} cannot be compared with itself"


def _same_as(arm: Any) -> str | None:
    budget = arm.get("budget") if isinstance(arm, dict) else None
    other = budget.get("same_as") if isinstance(budget, dict) else None
    return other if isinstance(other, str) else None


def _causes(errors: Sequence[Any]) -> list[Any]:
    """Leave out what follows from other faults.

    That a list is too short because its items were refused; and that a default could not be found
    which hangs on fields that were refused.
    """

    def follows(error: Any) -> bool:
        loc, kind = error["loc"], error["type"]
        if kind == "default_factory_not_called":
            return True
        return kind == "too_short" and any(
            other["loc"][: len(loc)] == loc and other is not error for other in errors
        )

    return [error for error in errors if not follows(error)]


def _fault(error: Any) -> tuple[str, str]:
    kind = error["type"]
    loc = error["loc"]
    if loc[-1:] == ("[key]",):
        loc = (*loc[:-2], str(error["input"]))
    parts = [p if str(p).isprintable() else repr(p) for p in loc]
    # The tag of an arm's kind and the place of a single task are ours, not the user's.
    if len(parts) > 2 and parts[0] == "arms" and parts[2] in ("network", "method"):
        del parts[2]
    message = error["msg"].removeprefix("Value error, ")
    if parts[:1] == ["arms"] and parts[2:] == ["method"] and kind in ("missing", "extra_forbidden"):
        del parts[2]
        message = "an arm has a `method` (a search) or a `network` (a baseline), not both"
    elif kind == "extra_forbidden":
        message = "unknown key"
    elif kind == "missing":
        message = "missing"
    elif isinstance(error["input"], bool) and kind in _BOUNDS:
        message = f"must be a number, not true or false (given: {error['input']})"
    elif kind == "string_type" and (read := _read_as(error["input"])):
        message = f"YAML reads this as {read} and not as text: put it in quotes"
        message += f" (given: {error['input']})"
    elif kind != "value_error":
        message = _PLAIN.get(kind, message) + f" (given: {error['input']!r:.60})"
    return ".".join(map(str, parts)), message


def _read_as(value: Any) -> str | None:
    """Return what YAML takes a word for that is not in quotes; None for what is no word."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a date" if isinstance(value, datetime.date) else None


_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of")

_PLAIN = {
    "dict_type": "must be a mapping, `key: value`",
    "model_type": "must be a mapping, `key: value`",
    "tuple_type": "must be a list, `[a, b]`",
    "string_type": "must be text",
    "invalid_key": "unknown key",
    "string_pattern_mismatch": "must begin with a letter or a digit and go on with letters, "
    "digits, `_`, `.` or `-`",
}
