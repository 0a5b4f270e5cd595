"""The text form of ENAS: architectures as rows of numbers in brackets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from search_space.genotype import GenotypeError

_ROW = re.compile(r"\[([\d\s]+)\]")
_BARE = re.compile(r"[\d\s]*\d[\d\s]*")


def print_arcs(rows: Iterable[Sequence[int]]) -> str:
    """Write each row as numpy prints it: ``[0 2 0 0]``, one a line."""
    return "\n".join(f"[{' '.join(map(str, row))}]" for row in rows)


def parse_arcs(text: str, lengths: Sequence[int]) -> list[int] | None:
    """Read rows of numbers of the given lengths, one after the other in one list.

    Within brackets as in the logs, where other text may stand around them; or as bare numbers, as
    in the scripts.

    Returns:
        None where ``text`` is of another form.

    Raises:
        GenotypeError: rows of other lengths.
    """
    if text.lstrip().startswith("{"):
        return None
    rows = [[int(n) for n in row.split()] for row in _ROW.findall(text)]
    found = [len(row) for row in rows]
    if not rows and _BARE.fullmatch(text):
        rows = [[int(n) for n in text.split()]]
        found = list(lengths) if len(rows[0]) == sum(lengths) else [len(rows[0])]
    if not rows:
        return None
    if found != list(lengths):
        raise GenotypeError(f"rows of {found} numbers; here it must be {list(lengths)}")
    return [number for row in rows for number in row]
