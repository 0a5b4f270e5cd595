"""Choices within a method: fields whose value is an entry of a shelf, with its parameters."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pydantic
from pydantic_core import CoreSchema, core_schema

from search_space.shelf import BrokenEntryError, Shelf, nearest
from searchers._base import StrictParams

T = TypeVar("T")

# What a plan writes for an optional choice that is not made; the same as YAML's null.
NONE = "none"


@dataclass(frozen=True)
class Choice(Generic[T]):
    """An entry of a shelf with all its parameters, the defaults too.

    As a field of StrictParams, with :class:`FromShelf`::

        relaxation: Annotated[Choice[Relaxation], FromShelf(RELAXATIONS)] = pydantic.Field(
            "softmax", validate_default=True
        )
        penalty: Annotated[Choice[Penalty] | None, FromShelf(PENALTIES)] = None
    """

    # Not compared: its copy in another process is another object. The type of params tells enough.
    shelf: Shelf = field(repr=False, compare=False)
    name: str
    params: StrictParams

    def make(self) -> T:
        """Return the entry, made with its parameters."""
        return self.shelf.load(self.name)(self.params)


@dataclass(frozen=True)
class FromShelf:
    """Makes pydantic read a Choice: a bare name, or a mapping of ``name`` and parameters.

    A field that admits None also takes ``none``. It is dumped as a mapping of ``name`` and all
    parameters, which reads back as an equal Choice. Faults in parameters stand at their own path,
    ``relaxation.temperature_end``, all of them.

    Args:
        shelf: its entries are classes with ``Params``, made with an instance of these alone.
    """

    shelf: Shelf

    def __get_pydantic_core_schema__(
        self, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> CoreSchema:
        optional = type(None) in typing.get_args(source)
        return core_schema.no_info_plain_validator_function(
            lambda value: self.read(value, optional=optional),
            serialization=core_schema.plain_serializer_function_ser_schema(_dump, info_arg=True),
        )

    def read(self, value: Any, *, optional: bool = False) -> Choice[Any] | None:
        """Return the choice that ``value`` writes.

        Raises:
            ValueError: no choice, no such entry, or an entry that can't be loaded.
            pydantic.ValidationError: wrong parameters.
        """
        if isinstance(value, Choice) and value.shelf.package == self.shelf.package:
            return value
        if optional and (value is None or value == NONE):
            return None
        if isinstance(value, str):
            value = {"name": value}
        kind = self.shelf.kind
        if not isinstance(value, Mapping) or "name" not in value:
            raise ValueError(f"a {kind} is a name, or a mapping of `name` and its parameters")
        name = value["name"]
        if name not in self.shelf.names():
            allowed = [*self.shelf.names(), *([NONE] if optional else [])]
            raise ValueError(f"no {kind} named {name!r}; {nearest(name, allowed)}")
        try:
            entry = self.shelf.load(name)
        except BrokenEntryError as error:
            raise ValueError(str(error)) from error
        params = {str(k): v for k, v in value.items() if k != "name"}
        return Choice(self.shelf, name, entry.Params.model_validate(params))


def _dump(choice: Choice[Any] | None, info: pydantic.SerializationInfo) -> dict[str, Any] | None:
    if choice is None:
        return None
    return {"name": choice.name, **choice.params.model_dump(mode=info.mode)}
