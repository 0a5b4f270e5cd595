"""Choices in a plan: entries of a shelf with their parameters, and lists of different things."""

from __future__ import annotations

import abc
import inspect
import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pydantic

from orchestrator.jobs import Entry
from orchestrator.tasks import TASKS
from search_space.shelf import BrokenEntryError, Shelf, UnknownEntryError, nearest
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from searchers import StrictParams
from searchers.estimators import ESTIMATORS, Estimator

Seed = Annotated[int, pydantic.Field(ge=0, lt=2**63)]


def _different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse what stands twice: the same work would count as two independent results."""
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        shown = twice[0].name if isinstance(twice[0], Choice) else repr(twice[0])
        raise ValueError(f"{shown} stands twice; each may stand once")
    return values


Different = pydantic.AfterValidator(_different)

# More searches than anybody waits for; a longer range is a typing error.
_MOST_SEEDS = 10_000


def _range(value: Any) -> Any:
    """Return the seeds that a text such as ``0-199`` stands for; what is no such text as it is."""
    found = re.fullmatch(r"(\d+)-(\d+)", value) if isinstance(value, str) else None
    if found is None:
        return value
    first, last = map(int, found.groups())
    if not 0 <= last - first < _MOST_SEEDS:
        raise ValueError(f"a range of seeds rises and has at most {_MOST_SEEDS:,} (given: {value})")
    return tuple(range(first, last + 1))


Seeds = Annotated[
    tuple[Seed, ...],
    pydantic.Field(min_length=1),
    Different,
    pydantic.BeforeValidator(_range),
]


def load_entry(shelf: Shelf, name: Any) -> Any:
    """Return an entry of a shelf; ValueError, with the nearest names, where it can't be had."""
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no name of a {shelf.kind}; {nearest(name, shelf.names())}")
    try:
        return shelf.load(name)
    except (UnknownEntryError, BrokenEntryError) as error:
        raise ValueError(str(error)) from error


def keyword_model(function: Any) -> type[pydantic.BaseModel]:
    """Return a model of a function's keyword parameters: names, types, defaults."""
    hints = typing.get_type_hints(function)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in ("self", "root", "store"):
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    return pydantic.create_model("Parameters", __base__=StrictParams, **fields)


def name_on(shelf: Shelf) -> pydantic.AfterValidator:
    """Return the check of a field that it names an entry of a shelf, one that works."""

    def check(name: str) -> str:
        load_entry(shelf, name)
        return name

    return pydantic.AfterValidator(check)


class Choice(StrictParams, abc.ABC):
    """An entry of a shelf: a bare name, or a mapping of ``name`` and the entry's parameters."""

    shelf: ClassVar[Shelf]

    name: str
    params: dict[str, Any] = pydantic.Field(default_factory=dict)

    @staticmethod
    @abc.abstractmethod
    def parameters(entry: Any) -> type[pydantic.BaseModel]:
        """Return the model of what an entry of the shelf can be given."""

    @classmethod
    def check(cls, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return all parameters of the entry with their defaults filled in."""
        return cls.parameters(cls.shelf.load(name)).model_validate(params).model_dump()

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _flat(cls, value: Any, handler: Any) -> Any:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or "name" not in value:
            kind = cls.shelf.kind
            raise ValueError(f"a {kind} is a name, or a mapping of `name` and its parameters")
        params = {str(k): v for k, v in value.items() if k != "name"}
        load_entry(cls.shelf, value["name"])
        return handler({"name": value["name"], "params": cls.check(value["name"], params)})

    @pydantic.model_serializer
    def _as_written(self) -> dict[str, Any]:
        return {"name": self.name, **self.params}

    def entry(self) -> Entry:
        """Return it as part of a job."""
        return Entry(self.name, pydantic.TypeAdapter(dict).dump_python(self.params, mode="json"))


class TaskChoice(Choice):
    """A data set."""

    shelf = TASKS

    @staticmethod
    def parameters(entry: Any) -> type[pydantic.BaseModel]:
        return keyword_model(entry.load)


class SpaceChoice(Choice):
    """A search space."""

    shelf = SPACES

    @staticmethod
    def parameters(entry: Any) -> type[pydantic.BaseModel]:
        return keyword_model(entry.__init__)

    @classmethod
    def check(cls, name: str, params: dict[str, Any]) -> dict[str, Any]:
        params = super().check(name, params)
        SPACES.load(name)(**params)  # its own check of what goes together
        return params

    def make(self) -> SearchSpace:
        """Return the search space."""
        return SPACES.load(self.name)(**self.params)


class EstimatorChoice(Choice):
    """A way to score candidates."""

    shelf = ESTIMATORS

    @staticmethod
    def parameters(entry: Any) -> type[pydantic.BaseModel]:
        return entry.Params

    def make(self) -> Estimator:
        """Return the estimator."""
        cls = ESTIMATORS.load(self.name)
        return cls(cls.Params(**self.params))
