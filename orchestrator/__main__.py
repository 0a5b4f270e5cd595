"""The command line. Every command is: parse, a call into the library, print."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from orchestrator.errors import UserError
from search_space.genotype import GenotypeError
from search_space.shelf import Shelf, UnknownEntryError
from search_space.task import DataError

USER, OURS, STOPPED = 2, 1, 130

EXAMPLES = """\b
Examples:
  python -m orchestrator run plans/demo.yaml
  python -m orchestrator run plans/graphene.yaml --data ~/data --dry-run
  python -m orchestrator results graphene --format csv
  python -m orchestrator methods

\b
Exit codes: 0 done; 1 a fault of the program or a job that failed; 2 a fault in what was given;
3 the plan's budget is spent; 130 stopped by a signal. --debug shows the whole trace of an error.
"""


def console(stderr: bool = False) -> Console:
    """Return a console; off a terminal it does not break lines, so that a pipe gets whole ones."""
    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=200)


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Neural architecture search on your own data, on a Ray cluster, ending in a verdict."""


def _store_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--store",
        metavar="URL",
        help="A folder or s3://bucket/prefix (default: the plan's, else NAS_STORE, else results).",
    )(function)


@cli.command()
@click.argument("plan", type=click.Path())
@click.option(
    "--data",
    type=click.Path(file_okay=False),
    envvar="NAS_DATA",
    help="Root of the data sets (default: NAS_DATA, else a cache folder).",
)
@_store_option
@click.option("--address", metavar="ADDRESS", help="Of a Ray cluster (auto: the one on this host).")
@click.option("--dry-run", is_flag=True, help="Show the jobs and an estimate of their time, only.")
def run(plan: str, data: str | None, store: str | None, address: str | None, dry_run: bool) -> None:
    """Run the study of a PLAN, or what is still owed of it, to its verdict.

    \b
    Example: python -m orchestrator run plans/demo.yaml --store results
    """
    from orchestrator.session import run_plan

    root = Path(data).expanduser().resolve() if data else _cache_folder()
    sys.exit(run_plan(console(), plan, root, store, address, dry_run=dry_run))


@cli.command()
@click.argument("study")
@_store_option
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
def results(study: str, store: str | None, form: str) -> None:
    """Print one row an arm of a STUDY: its name, the beginning of its key, or a plan file.

    \b
    Example: python -m orchestrator results demo --format json
    """
    from orchestrator.session import open_study, print_results

    opened, record = open_study(study, store)
    print_results(console(), opened, record, form)


@cli.command()
@click.argument("study", required=False)
@_store_option
def status(study: str | None, store: str | None) -> None:
    """Show the studies of a store, or the jobs of one STUDY by arm, and what failed.

    \b
    Example: python -m orchestrator status demo
    """
    from orchestrator.session import open_study, print_status, print_studies

    if study is None:
        print_studies(console(), store)
    else:
        print_status(console(), *open_study(study, store))


@cli.command()
@click.argument("genotype")
@_store_option
@click.option("--svg", type=click.Path(dir_okay=False), help="Where to draw its cells.")
def show(genotype: str, store: str | None, svg: str | None) -> None:
    """Print and draw a GENOTYPE: a key from the store, JSON, or the text of a published log.

    \b
    Example: python -m orchestrator show "Genotype(normal=[...], ...)" --svg cells.svg
    """
    from orchestrator.session import show_genotype

    show_genotype(console(), genotype, store, svg)


@cli.command()
@click.argument("analysis")
@_store_option
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter of it.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--svg", type=click.Path(dir_okay=False), help="Where to draw its figure.")
def analyse(
    analysis: str, store: str | None, settings: tuple[str, ...], form: str, svg: str | None
) -> None:
    """Put a question to a store: the ANALYSIS is one of those that `analyses` lists.

    \b
    Example: python -m orchestrator analyse agreement --set against=training --svg agreement.svg
    """
    from orchestrator._analyse import print_analysis

    print_analysis(console(), analysis, store, settings, form, svg)


def _listing(name: str, shelf: Callable[[], Shelf], what: str) -> None:
    @cli.command(name, help=f"{what}\n\n\b\nExample: python -m orchestrator {name}")
    def command() -> None:
        entries = shelf()
        table = Table(show_header=False, box=None, pad_edge=False)
        for entry in entries.names():
            table.add_row(entry, entries.describe(entry))
        console().print(table, markup=False)


def _methods() -> Shelf:
    from searchers import METHODS

    return METHODS


def _spaces() -> Shelf:
    from search_space.spaces import SPACES

    return SPACES


def _estimators() -> Shelf:
    from searchers.estimators import ESTIMATORS

    return ESTIMATORS


def _tasks() -> Shelf:
    from orchestrator.tasks import TASKS

    return TASKS


def _baselines() -> Shelf:
    from search_space.baselines import BASELINES

    return BASELINES


def _analyses() -> Shelf:
    from orchestrator.analyses import ANALYSES

    return ANALYSES


_listing("methods", _methods, "List the search methods: how to look.")
_listing("spaces", _spaces, "List the search spaces: what can be built.")
_listing("estimators", _estimators, "List the estimators: how to score a candidate.")
_listing("tasks", _tasks, "List the tasks: data sets.")
_listing("baselines", _baselines, "List the baselines: what a search is held against.")
_listing("analyses", _analyses, "List the analyses: questions to a store.")


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "nas-orchestrator"


def main(arguments: list[str]) -> int:
    """Run a command; return the exit code. Errors are one clean line unless --debug is given."""
    debug = "--debug" in arguments
    try:
        cli.main([a for a in arguments if a != "--debug"], "orchestrator", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return USER
    except (click.Abort, KeyboardInterrupt):
        console(stderr=True).print("stopped", style="red")
        return STOPPED
    except SystemExit as end:
        return int(end.code or 0)
    except Exception as error:
        if debug:
            traceback.print_exc()
        mine = isinstance(error, UserError | DataError | GenotypeError | UnknownEntryError)
        text = str(error) if mine else f"internal error: {type(error).__name__}: {error}"
        hint = "" if mine else "\n(--debug shows the trace)"
        console(stderr=True).print(
            f"error: {text}{hint}", style="red", markup=False, soft_wrap=True
        )
        return USER if mine else OURS
    return 0


if __name__ == "__main__":
    # A damaged part is a line to the user, without the place in our code that found it.
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    sys.exit(main(sys.argv[1:]))
