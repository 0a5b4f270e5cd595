"""What can go wrong, as one small tree.

UserError                 the user can mend it: exit code 2, no traceback
    PlanError             the plan has faults, all of them listed
    StoreError            the store cannot be read or written
search_space.task.DataError and search_space.genotype.GenotypeError are the user's to mend as well.
Anything else is ours: exit code 1.
"""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """Something the user can mend; the message says what was given, what is allowed, what to do."""


class PlanError(UserError):
    """A plan with faults; ``faults`` are (path, message) pairs, all that were found."""

    def __init__(self, source: str, faults: Sequence[tuple[str, str]]):
        self.faults = tuple(faults)
        lines = [f"  {path}: {message}" if path else f"  {message}" for path, message in faults]
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        super().__init__("\n".join([f"{source} has {count}:", *lines]))


class StoreError(UserError):
    """A store that cannot be read or written."""
