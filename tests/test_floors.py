"""The floors of the house: which package may import which, lazily or not (design, section 1)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FORBIDDEN = {
    "search_space": {"searchers", "orchestrator", "cluster", "ray", "pydantic"},
    "searchers": {"orchestrator", "cluster", "ray", "yaml", "pyarrow", "boto3", "botocore"},
    "orchestrator": {"cluster"},
    "cluster": {"search_space", "searchers", "orchestrator"},
}


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the top-level name of each import anywhere in ``source``.

    ``package`` is the dotted package the file lies in, for relative imports. Imports by name
    through ``importlib.import_module`` or ``__import__`` count where the name is a literal.
    """
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            names = [".".join([*above, node.module or ""])]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and node.args and _imports_by_name(node.func):
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                names = [argument.value]
        for name in names:
            yield node.lineno, name.partition(".")[0]


def _imports_by_name(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


@pytest.mark.parametrize("floor", FORBIDDEN)
def test_a_floor_imports_nothing_from_above_it(floor: str) -> None:
    found = []
    for path in sorted((ROOT / floor).rglob("*.py")):
        package = ".".join(path.relative_to(ROOT).parent.parts)
        for line, name in imports(path.read_text("utf-8"), package):
            if name in FORBIDDEN[floor]:
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert found == []


@pytest.mark.parametrize("floor", ["search_space", "searchers", "orchestrator"])
def test_the_floors_that_are_checked_have_files(floor: str) -> None:
    assert list((ROOT / floor).rglob("*.py")) != []


@pytest.mark.parametrize(
    "source",
    [
        "import ray",
        "import torch, ray.tune as tune",
        "from ray.tune import Tuner",
        "def f():\n    if True:\n        import ray",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ray import tune",
        "try:\n    import ray\nexcept ImportError:\n    ray = None",
        "import importlib\nimportlib.import_module('ray.tune')",
        "__import__('ray')",
    ],
)
def test_an_import_is_found_wherever_it_hides(source: str) -> None:
    assert "ray" in [name for _, name in imports(source, "search_space")]


def test_a_relative_import_counts_for_the_package_that_it_reaches() -> None:
    assert list(imports("from . import task", "search_space.spaces")) == [(1, "search_space")]
    assert list(imports("from ..task import Task", "search_space.spaces")) == [(1, "search_space")]


def test_a_name_in_a_text_or_comment_is_no_import() -> None:
    assert list(imports("# import ray\n'import ray'\nprint('ray')", "search_space")) == []
