"""Decisions as a dialogue: a space asks for one option after the other and makes its genotype.

A conditional space asks what its earlier answers call for. Written as a generator that yields the
number of options and is sent the choice, the questions and what becomes of the answers stand in
one place.
"""

from __future__ import annotations

import abc
from collections.abc import Generator, Sequence
from typing import TypeVar

from search_space.genotype import Genotype, GenotypeError
from search_space.space import SearchSpace

_Result = TypeVar("_Result")
Questions = Generator[int, int, _Result]


class AskingSpace(SearchSpace):
    """A search space that is defined by what it asks."""

    @abc.abstractmethod
    def questions(self) -> Questions[Genotype]:
        """Ask for every decision, and return the genotype that they make."""

    def options(self, decisions: Sequence[int]) -> int:
        questions = self.questions()
        try:
            count = next(questions)
            for decision in decisions:
                count = questions.send(decision)
        except StopIteration:
            return 0
        return count

    def decode(self, decisions: Sequence[int]) -> Genotype:
        questions = self.questions()
        count, rest = next(questions), list(decisions)
        while rest:
            if not 0 <= rest[0] < count:
                place = len(decisions) - len(rest)
                raise ValueError(f"decision {place} is {rest[0]}; there are {count} options")
            try:
                count = questions.send(rest.pop(0))
            except StopIteration as end:
                if rest:
                    raise ValueError(f"{len(rest)} decisions too many") from None
                return end.value
        raise ValueError(f"{len(decisions)} decisions; the sequence goes on")


def option(value: object, allowed: Sequence[object], what: str) -> int:
    """Return the number of the option ``value``. Raises GenotypeError, which names ``what``."""
    for number, choice in enumerate(allowed):
        if type(choice) is type(value) and choice == value:
            return number
    raise GenotypeError(f"{what} is {value!r}; allowed: {', '.join(map(repr, allowed))}")
