"""The shelves of this floor: what every entry says about itself, and its smallest parameters."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from search_space.shelf import Shelf
from searchers import METHODS, StrictParams
from searchers.estimators import ESTIMATORS
from searchers.penalties import PENALTIES
from searchers.relaxations import RELAXATIONS
from searchers.selections import SELECTIONS
from searchers.stopping import STOPPING

SHELVES = (METHODS, ESTIMATORS, PENALTIES, RELAXATIONS, SELECTIONS, STOPPING)
ENTRIES = [(shelf, name) for shelf in SHELVES for name in shelf.names()]

# "et al. 2019", "ICLR 2019", "arXiv 1806.09055", or the word of a method that everybody knows.
SOURCE = re.compile(r"\b(19|20)\d\d\b|\barXiv\b|\b[Ss]tandard\b")


@pytest.mark.parametrize("shelf", SHELVES, ids=lambda shelf: shelf.kind)
def test_every_shelf_has_entries(shelf: Shelf) -> None:
    assert shelf.names() != []


def smoke(cls: Any) -> dict[str, Any]:
    """Parameters that make an entry cheap; what does no training is cheap with its defaults."""
    return getattr(cls, "smoke", {})


@pytest.mark.parametrize(("shelf", "name"), ENTRIES, ids=lambda part: getattr(part, "kind", part))
class TestEveryEntry:
    def test_says_in_one_line_what_it_is(self, shelf: Shelf, name: str) -> None:
        line = shelf.describe(name)
        assert 0 < len(line) < 100
        assert line.endswith(".")

    def test_cites_its_source_or_says_that_it_is_standard(self, shelf: Shelf, name: str) -> None:
        module = inspect.getmodule(shelf.load(name))
        assert module is not None
        assert SOURCE.search(module.__doc__ or "")

    def test_its_class_and_its_parameters_say_what_they_are(self, shelf: Shelf, name: str) -> None:
        cls = shelf.load(name)
        for documented in (cls, cls.Params):
            assert (vars(documented).get("__doc__") or "").strip()

    def test_its_smoke_parameters_and_its_defaults_are_valid(self, shelf: Shelf, name: str) -> None:
        cls = shelf.load(name)
        cls.Params()
        params = cls.Params(**smoke(cls))
        assert {key: getattr(params, key) for key in smoke(cls)} == smoke(cls)

    def test_its_parameters_are_frozen_and_refuse_unknown_names(
        self, shelf: Shelf, name: str
    ) -> None:
        cls = shelf.load(name)
        assert issubclass(cls.Params, StrictParams)
        with pytest.raises(ValueError, match=r"learning_rat\n.*[Ee]xtra"):
            cls.Params(**smoke(cls), learning_rat=1)
        params = cls.Params(**smoke(cls))
        for field in cls.Params.model_fields:
            with pytest.raises(ValueError, match="frozen"):
                setattr(params, field, getattr(params, field))

    def test_its_parameters_survive_the_trip_through_a_job(self, shelf: Shelf, name: str) -> None:
        cls = shelf.load(name)
        params = cls.Params(**smoke(cls))
        assert cls.Params(**params.model_dump(mode="json")) == params
