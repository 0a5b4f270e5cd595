"""What the command ``analyse`` does: run an analysis over a store and print its table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic
from rich.console import Console
from rich.table import Table

from orchestrator._choices import keyword_model
from orchestrator.analyses import ANALYSES
from orchestrator.errors import UserError
from orchestrator.session import open_store
from search_space.shelf import nearest


def print_analysis(
    console: Console,
    name: str,
    store_url: str | None,
    settings: Sequence[str],
    form: str,
    svg: str | None,
) -> None:
    """Run the analysis called ``name`` and print its table; draw its figure where ``svg`` says."""
    analysis = ANALYSES.load(name)
    params = _params(analysis.table, settings)
    store = open_store(store_url)
    found = analysis.table(store, **params)
    if form == "csv":
        console.file.write(found.to_csv(index=False))
    elif form == "json":
        console.file.write(found.to_json(orient="records", indent=2) + "\n")
    elif found.empty:
        console.print(f"Nothing in {store.url} to tell {name} from.", markup=False)
    else:
        console.print(_as_table(found))
    if svg is not None:
        path = Path(svg)
        if path.parent != Path():
            os.makedirs(path.parent, exist_ok=True)
        path.write_text(analysis.figure(store, **params), "utf-8")


def _params(function: Any, settings: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` texts as keyword arguments of a function. Raises UserError."""
    given = dict(text.partition("=")[::2] for text in settings)
    model = keyword_model(function)
    for name in given:
        if name not in model.model_fields:
            known = nearest(name, model.model_fields)
            raise UserError(f"the analysis has no parameter {name!r}; {known}")
    try:
        return model.model_validate(given).model_dump()
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--set {first['loc'][0]}: {first['msg']}") from None


def _as_table(found: pd.DataFrame) -> Table:
    table = Table()
    for name in found.columns:
        numbers = pd.api.types.is_numeric_dtype(found[name])
        table.add_column(str(name), justify="right" if numbers else "left")
    for row in found.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if pd.isna(value) else f"{value:.3g}" if abs(value) >= 100 else f"{value:.3f}"
    return str(value)
