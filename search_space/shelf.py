"""Shelves: packages in which one file is one entry and the file's name is its name in a plan."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any


class UnknownEntryError(LookupError):
    """No file of the shelf has the name that was asked for."""


class BrokenEntryError(RuntimeError):
    """The file is there, but it cannot be imported or does not define what the shelf needs."""


def nearest(name: object, allowed: Iterable[str]) -> str:
    """Return the part of an error message that says which of ``allowed`` could have been meant."""
    choices = sorted(allowed)
    close = difflib.get_close_matches(str(name), choices, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}? (all: {', '.join(choices)})"
    return f"allowed: {', '.join(choices) or 'none'}"


@dataclass(frozen=True)
class Shelf:
    """The entries of ``package``; nothing is imported until it is asked for by name.

    Args:
        package: dotted name of the package whose files are the entries.
        kind: what an entry is called in messages, such as "search method".
        entry: takes an imported module and returns what :meth:`load` hands out; raises
            ``LookupError`` with a reason where the module does not define it.
    """

    package: str
    kind: str
    entry: Callable[[ModuleType], Any] = lambda module: module

    def names(self) -> list[str]:
        """List the entries by file name, sorted. Files that start with ``_`` are machinery."""
        found = pkgutil.iter_modules(importlib.import_module(self.package).__path__)
        return sorted(m.name for m in found if not m.ispkg and not m.name.startswith("_"))

    def check(self, name: str) -> None:
        """Raise UnknownEntryError, with the nearest names, if there is no such entry."""
        if name not in self.names():
            raise UnknownEntryError(f"no {self.kind} named {name!r}; {nearest(name, self.names())}")

    def load(self, name: str) -> Any:
        """Import the entry called ``name``.

        Raises:
            UnknownEntryError: no such file. Looked up before importing, so that a typing error in
                a plan and an error inside a file stay two different messages.
            BrokenEntryError: the file is there and does not work; the cause is chained.
        """
        self.check(name)
        try:
            return self.entry(importlib.import_module(f"{self.package}.{name}"))
        except Exception as error:
            raise self._broken(name, error) from error

    def describe(self, name: str) -> str:
        """Return the first line of the entry's docstring, read without importing it.

        Raises:
            UnknownEntryError: no such file.
            BrokenEntryError: the file is not Python.
        """
        self.check(name)
        spec = importlib.util.find_spec(f"{self.package}.{name}")
        assert spec is not None  # check() found the file
        assert spec.origin is not None
        try:
            module = ast.parse(Path(spec.origin).read_text("utf-8"))
        except (SyntaxError, ValueError) as error:
            raise self._broken(name, error) from error
        return (ast.get_docstring(module) or "").partition("\n")[0]

    def _broken(self, name: str, error: Exception) -> BrokenEntryError:
        reason = f"{type(error).__name__}: {error}"
        return BrokenEntryError(f"the {self.kind} {name!r} cannot be used: {reason}")


def only_subclass(module: ModuleType, *bases: type) -> type:
    """Return the one public class that ``module`` itself defines under any of ``bases``."""
    found = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, bases)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]
    if len(found) != 1:
        wanted = " or ".join(base.__name__ for base in bases)
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise LookupError(f"it must define exactly one public {wanted}, and defines: {names}")
    return found[0]


def needs(*attributes: str) -> Callable[[ModuleType], ModuleType]:
    """Return a check that a module defines at least one of ``attributes``, for Shelf.entry."""

    def entry(module: ModuleType) -> ModuleType:
        if not any(hasattr(module, attribute) for attribute in attributes):
            raise LookupError(f"it must define {' or '.join(attributes)}")
        return module

    return entry
