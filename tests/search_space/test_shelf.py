"""Shelves: one file is one entry, and unknown and broken entries are two different errors."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from search_space.baselines import BASELINES
from search_space.shelf import (
    BrokenEntryError,
    Shelf,
    UnknownEntryError,
    nearest,
    needs,
    only_subclass,
)
from search_space.spaces import SPACES

MakeShelf = Callable[..., Shelf]

GOOD = '"""A good entry: it works.\n\nMore about it.\n"""\nVALUE = 3\n'
BROKEN = '"""A broken entry."""\nimport a_library_that_nobody_has\n'

_numbers = itertools.count()


@pytest.fixture
def make_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeShelf]:
    """Factory of shelves over a new package of ``files``, name -> source."""
    packages = []

    def make(files: dict[str, str], entry: Callable[[ModuleType], object] | None = None) -> Shelf:
        package = f"a_shelf_{next(_numbers)}"
        packages.append(package)
        folder = tmp_path / package
        folder.mkdir()
        for name, source in {"__init__": "", **files}.items():
            (folder / f"{name}.py").write_text(source, "utf-8")
        importlib.invalidate_caches()
        return Shelf(package, "thing", entry) if entry else Shelf(package, "thing")

    monkeypatch.syspath_prepend(str(tmp_path))
    yield make
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]


def test_the_entries_are_the_files_by_name_without_those_that_start_with_an_underscore(
    make_shelf: MakeShelf,
) -> None:
    shelf = make_shelf({"zebra": GOOD, "ant": GOOD, "_machinery": GOOD, "__main__": GOOD})
    assert shelf.names() == ["ant", "zebra"]


def test_a_file_with_an_underscore_is_not_to_be_had_by_name(make_shelf: MakeShelf) -> None:
    shelf = make_shelf({"ant": GOOD, "_machinery": GOOD})
    with pytest.raises(UnknownEntryError):
        shelf.load("_machinery")
    with pytest.raises(UnknownEntryError):
        shelf.describe("_machinery")


def test_an_entry_is_what_its_module_is_made_into(make_shelf: MakeShelf) -> None:
    files = {"ant": GOOD}
    assert make_shelf(files).load("ant").VALUE == 3
    assert make_shelf(files, entry=lambda module: module.VALUE + 1).load("ant") == 4


def test_an_unknown_name_is_answered_with_the_nearest_ones(make_shelf: MakeShelf) -> None:
    shelf = make_shelf({"random_search": GOOD, "random_forest": GOOD, "darts": GOOD})
    with pytest.raises(UnknownEntryError) as caught:
        shelf.load("random_serch")
    message = str(caught.value)
    assert "no thing named 'random_serch'" in message
    assert message.index("did you mean 'random_search'") < message.index("(all: darts, random_")


def test_a_name_far_from_all_is_answered_with_all(make_shelf: MakeShelf) -> None:
    shelf = make_shelf({"darts": GOOD, "enas": GOOD})
    with pytest.raises(UnknownEntryError, match=r"allowed: darts, enas$"):
        shelf.check("qqqqq")
    with pytest.raises(UnknownEntryError, match=r"allowed: none$"):
        make_shelf({}).check("darts")


@pytest.mark.parametrize("name", ["", ".", "..", "os", "ant.VALUE", "ant.py", "../ant", "Ant"])
def test_a_name_that_is_no_file_is_unknown_and_imports_nothing(
    make_shelf: MakeShelf, name: str
) -> None:
    shelf = make_shelf({"ant": GOOD})
    with pytest.raises(UnknownEntryError):
        shelf.load(name)
    assert f"{shelf.package}.ant" not in sys.modules


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (BROKEN, "ModuleNotFoundError: No module named 'a_library_that_nobody_has'"),
        ("def f(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("raise LookupError('no such thing')\n", "LookupError: no such thing"),
    ],
)
def test_a_file_that_cannot_be_imported_is_broken_and_says_why(
    make_shelf: MakeShelf, source: str, cause: str
) -> None:
    shelf = make_shelf({"ant": source, "bee": GOOD})
    with pytest.raises(BrokenEntryError) as caught:
        shelf.load("ant")
    assert str(caught.value).startswith(f"the thing 'ant' cannot be used: {cause}")
    assert type(caught.value.__cause__).__name__ == cause.partition(":")[0]
    assert shelf.names() == ["ant", "bee"]
    assert shelf.load("bee").VALUE == 3


def test_unknown_and_broken_are_two_errors() -> None:
    assert not issubclass(UnknownEntryError, BrokenEntryError)
    assert not issubclass(BrokenEntryError, UnknownEntryError)


def test_a_file_that_was_mended_loads(make_shelf: MakeShelf, tmp_path: Path) -> None:
    shelf = make_shelf({"ant": BROKEN})
    with pytest.raises(BrokenEntryError):
        shelf.load("ant")
    (tmp_path / shelf.package / "ant.py").write_text(GOOD, "utf-8")
    importlib.invalidate_caches()
    assert shelf.load("ant").VALUE == 3


def test_a_file_that_cannot_be_imported_or_says_nothing_is_described_all_the_same(
    make_shelf: MakeShelf,
) -> None:
    shelf = make_shelf({"ant": BROKEN, "bee": "VALUE = 3\n", "cat": ""})
    assert [shelf.describe(name) for name in shelf.names()] == ["A broken entry.", "", ""]


def test_a_file_that_is_not_even_python_is_broken_to_whoever_asks(make_shelf: MakeShelf) -> None:
    shelf = make_shelf({"ant": "def f(:\n"})
    with pytest.raises(BrokenEntryError, match="the thing 'ant' cannot be used: SyntaxError"):
        shelf.describe("ant")


def test_the_description_is_the_first_line_read_without_importing(make_shelf: MakeShelf) -> None:
    shelf = make_shelf({"ant": GOOD, "bee": '"""Größe: 3 µm."""\n'})
    assert shelf.describe("ant") == "A good entry: it works."
    assert shelf.describe("bee") == "Größe: 3 µm."
    assert f"{shelf.package}.ant" not in sys.modules


def test_an_unknown_name_has_no_description(make_shelf: MakeShelf) -> None:
    with pytest.raises(UnknownEntryError, match="did you mean 'ant'"):
        make_shelf({"ant": GOOD}).describe("and")


def test_listing_and_checking_import_no_entry(make_shelf: MakeShelf) -> None:
    shelf = make_shelf({"ant": GOOD})
    shelf.names()
    shelf.check("ant")
    assert f"{shelf.package}.ant" not in sys.modules


CLASSES = "from collections import OrderedDict\nclass Ant(dict): pass\n"


@pytest.mark.parametrize(
    ("source", "defines"),
    [
        ("from collections import OrderedDict\n", "none"),
        ("class _Ant(dict): pass\n", "none"),
        ("class Ant(list): pass\n", "none"),
        (CLASSES + "class Bee(dict): pass\n", "Ant, Bee"),
    ],
)
def test_a_file_without_exactly_one_class_of_the_kind_is_broken(
    make_shelf: MakeShelf, source: str, defines: str
) -> None:
    shelf = make_shelf({"ant": source}, entry=lambda module: only_subclass(module, dict))
    with pytest.raises(BrokenEntryError, match=f"exactly one public dict, and defines: {defines}$"):
        shelf.load("ant")


def test_the_one_class_that_a_file_defines_itself_is_its_entry(make_shelf: MakeShelf) -> None:
    shelf = make_shelf(
        {"ant": CLASSES + "class _Half(dict): pass\n"},
        entry=lambda module: only_subclass(module, dict, set),
    )
    assert shelf.load("ant").__name__ == "Ant"


def test_a_file_must_define_one_of_the_names_that_its_shelf_needs(make_shelf: MakeShelf) -> None:
    shelf = make_shelf({"ant": "load = 1\n", "bee": "other = 1\n"}, entry=needs("load", "table"))
    assert shelf.load("ant").load == 1
    with pytest.raises(BrokenEntryError, match="it must define load or table"):
        shelf.load("bee")


def test_the_nearest_names_come_with_all_that_are_allowed() -> None:
    assert nearest("sep_conv_3", ["skip", "sep_conv_3x3"]) == (
        "did you mean 'sep_conv_3x3'? (all: sep_conv_3x3, skip)"
    )
    assert nearest(17, ["a", "b"]) == "allowed: a, b"


@pytest.mark.parametrize("shelf", [SPACES, BASELINES], ids=lambda shelf: shelf.kind)
def test_every_entry_of_the_house_loads_and_describes_itself_in_a_line(shelf: Shelf) -> None:
    assert shelf.names() != []
    for name in shelf.names():
        assert callable(shelf.load(name))
        assert 10 < len(shelf.describe(name)) <= 100
