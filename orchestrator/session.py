"""What the commands do: read a plan, run it, and show what the store holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import ray
from rich.console import Console
from rich.table import Table

from orchestrator import display
from orchestrator._combinations import check_combinations
from orchestrator._ledger import Ledger
from orchestrator.chart import log_chart
from orchestrator.driver import Driver, connect, load_tasks, make_study
from orchestrator.errors import StoreError, UserError
from orchestrator.estimates import estimate
from orchestrator.jobs import FINISHED, Job
from orchestrator.plan import Plan, read_plan
from orchestrator.programs import make_space
from orchestrator.regret import curves
from orchestrator.results import (
    StudyRecord,
    arm_results,
    find_study,
    results_frame,
    results_json,
    studies,
)
from orchestrator.store import Store
from orchestrator.study import forecast
from orchestrator.verdict import verdict
from search_space.drawing import render_svg
from search_space.genotype import Genotype, GenotypeError
from search_space.spaces import SPACES

DONE, FAILED, SPENT, STOPPED = 0, 1, 3, 130


def open_store(given: str | None, plan: Plan | None = None) -> Store:
    """Open the store that was given, else the plan's, else NAS_STORE, else ``results``."""
    by_plan = plan.store if plan else None
    return Store(given or by_plan or os.environ.get("NAS_STORE") or "results")


def run_plan(
    console: Console,
    path: str,
    data: Path,
    store_url: str | None,
    address: str | None,
    *,
    dry_run: bool,
) -> int:
    """Run what is owed of a plan and show its verdict; return the exit code."""
    plan = read_plan(path)
    store = open_store(store_url, plan)
    if not dry_run:
        store.check_writable()  # before data is downloaded and loaded in vain
    tasks = load_tasks(plan, data)
    check_combinations(plan, tasks, path)
    study = make_study(plan, tasks, store, keep=not dry_run)
    if dry_run:
        estimates = estimate(plan, forecast(study), tasks)
        console.print(display.estimates_table(estimates, _slots_here(plan)))
        study.next()  # unrolls as far as results are known
        known = {a.job.key for a in study.assigned} & study.board.results.keys()
        if known:
            _say(console, f"{len(known)} of its jobs are in the store {store.url} already.")
        return DONE
    if study.next() is None and study.finished:
        ledger = Ledger(store, study)
        ledger.open()
        ledger.update()
        _say(console, f"Nothing to do: all {len(study.assigned)} jobs are in {store.url}.")
        _finish(console, store, find_study(store, study.key))
        return DONE
    console.print("Timing a few steps of every kind of job ...")
    estimates = estimate(plan, forecast(study), tasks)
    connect(address)
    try:
        driver = Driver(plan, tasks, store, data)
        driver.study.expected = {
            (e.forecast.task, e.forecast.arm, e.forecast.kind): e.each for e in estimates
        }
        console.print(display.estimates_table(estimates, driver.slots))
        known = {a.job.key for a in study.assigned} & driver.before
        if known:
            _say(console, f"{len(known)} of its jobs are in {store.url} and are not run again.")
        with display.Monitor(console, driver, estimates).watching():
            driver.run()
    finally:
        ray.shutdown()
    return _close(console, store, driver, path)


def _close(console: Console, store: Store, driver: Driver, path: str) -> int:
    progress = driver.progress
    for assignment, kind, detail in progress.failures:
        title = f"{assignment.arm} {assignment.job.kind} seed {assignment.job.seed}"
        console.print(f"failed ({kind}): {title}", style="red", markup=False)
        console.print("\n".join(detail.splitlines()[-3:]), markup=False, highlight=False)
    for sentence in driver.study.given_up:
        _say(console, sentence)
    _finish(console, store, find_study(store, driver.study.key))
    if progress.stopping:
        _say(
            console,
            f"{progress.stopping}; {len(progress.ended)} jobs ended in this run, the others are "
            f"saved or owed. Go on with: python -m orchestrator run {path}",
        )
        return STOPPED if "SIG" in progress.stopping else SPENT
    if progress.failures:
        _say(
            console,
            f"{len(progress.failures)} jobs failed and are owed. After mending the cause: "
            f"python -m orchestrator run {path}",
        )
        return FAILED
    return DONE


def _finish(console: Console, store: Store, record: StudyRecord) -> None:
    print_results(console, store, record, "table")
    for path in draw_study(store, record):
        _say(console, f"drawn: {path}")


def _slots_here(plan: Plan) -> int:
    return max(1, (os.cpu_count() or 1) // plan.resources.cpu)


def open_study(name: str, store_url: str | None) -> tuple[Store, StudyRecord]:
    """Find a study by its name, the beginning of its key, or its plan's file."""
    if Path(name).is_file():
        plan = read_plan(name)
        store = open_store(store_url, plan)
        return store, find_study(store, plan.name)
    store = open_store(store_url)
    return store, find_study(store, name)


def print_results(console: Console, store: Store, record: StudyRecord, form: str) -> None:
    """Print one row an arm, and as a table the verdict too."""
    found = arm_results(store, record)
    if form == "csv":
        console.file.write(results_frame(found).to_csv(index=False))
    elif form == "json":
        console.file.write(results_json(found) + "\n")
    else:
        for task in record.tasks:
            console.print(display.results_table(record.plan, found, task))
            if shown := curves(store, record, task):
                console.print(display.regret_table(shown, task))
            sentence = verdict(record.plan, found, task)
            wrap = not console.is_terminal  # a file or a pipe gets the sentence as one line
            console.print(sentence, markup=False, highlight=False, soft_wrap=wrap)


def print_studies(console: Console, store_url: str | None) -> None:
    """Print the studies of a store, the latest last."""
    store = open_store(store_url)
    _say(console, f"Studies in {store.url}:")
    table = Table()
    for name in ("study", "key", "started", "jobs", "done", "failed"):
        table.add_column(name)
    outcomes = store.jobs().set_index("key")["outcome"]
    members = store.table("members")
    for record in studies(store):
        own = members[members["study"] == record.key]["job"].drop_duplicates()
        ends = own.map(outcomes)
        done = int(ends.isin(FINISHED).sum())
        failed = int(ends.notna().sum()) - done
        started = f"{record.started:%Y-%m-%d %H:%M}"
        table.add_row(record.name, record.key, started, str(len(own)), str(done), str(failed))
    console.print(table)


def print_status(console: Console, store: Store, record: StudyRecord) -> None:
    """Print the jobs of a study by arm and kind, and how those that failed ended."""
    members = store.table("members")
    rows = members[members["study"] == record.key].merge(
        store.jobs()[["key", "outcome", "detail", "seconds"]],
        left_on="job",
        right_on="key",
        how="left",
    )
    rows["state"] = rows["outcome"].fillna("owed")
    table = Table(title=f"{record.name} ({record.key})", title_justify="left")
    for name in ("task", "arm", "kind", "state", "jobs", "seconds"):
        table.add_column(name)
    for key, group in rows.groupby(["task", "arm", "role", "state"], sort=False):
        seconds = display.duration(float(group["seconds"].sum()))
        table.add_row(*map(str, key), str(len(group)), seconds)
    console.print(table)
    for row in rows[rows["detail"].notna()].itertuples():
        last = str(row.detail).splitlines()[-1]
        console.print(f"{row.arm} {row.role} seed {row.seed}: {row.outcome}: {last}", markup=False)


def draw_study(store: Store, record: StudyRecord) -> Iterator[Path]:
    """Draw what a study found; yield the files.

    The architecture that each search found; of a table of results, which has searches by the
    hundred, the regret of its arms.
    """
    members = store.table("members")
    members = members[(members["study"] == record.key) & (members["role"] == "evaluate")]
    jobs = store.jobs().set_index("key")["job"]
    folder = Path(store.folder.root if store.folder.local else ".") / "drawings" / record.key
    for place, group in members.groupby(["task", "arm", "position"], sort=False):
        text = jobs.get(group["job"].iloc[0])
        job = None if text is None else Job.from_json(text)
        task, arm, position = place
        if job is None or job.genotype is None or job.space is None:
            continue
        if "best" in record.tasks[task]:
            continue
        parts = make_space(job.space).drawing(Genotype.from_json(job.genotype))
        if parts:
            path = folder / f"{task}-{arm}-{position}.svg".replace("/", "_")
            _draw(path, render_svg(parts, f"{arm} on {task}, search {position}"))
            yield path
    for task in record.tasks:
        if shown := curves(store, record, task):
            path = folder / f"regret-{task}.svg".replace("/", "_")
            regrets = {curve.arm: curve.regret.tolist() for curve in shown}
            _draw(path, log_chart(f"Regret on {task}", "candidates", "mean regret", regrets))
            yield path


def show_genotype(console: Console, text: str, store_url: str | None, svg: str | None) -> None:
    """Print a genotype in all its forms, and draw it."""
    space_name, genotype = _read_genotype(text, store_url)
    space = SPACES.load(space_name)()
    _say(console, f"key    {genotype.key}")
    _say(console, f"space  {genotype.space}")
    _say(console, f"json   {genotype.to_json()}")
    _say(console, f"text   {space.text(genotype)}")
    parts = space.drawing(genotype)
    if parts:
        path = Path(svg or f"{genotype.key}.svg")
        _draw(path, render_svg(parts, f"{genotype.space} {genotype.key}"))
        _say(console, f"drawn  {path}")


def _read_genotype(text: str, store_url: str | None) -> tuple[str, Genotype]:
    if text.isalnum():
        store = open_store(store_url)
        found = store.genotype(text)
        if found is None:
            raise StoreError(f"no genotype {text!r} in the store {store.url}")
        genotype = Genotype.from_json(found)
        return genotype.space, genotype
    faults = []
    for name in SPACES.names():
        try:
            return name, SPACES.load(name)().parse(text)
        except GenotypeError as error:
            faults.append(f"{name}: {error}")
    raise GenotypeError(
        f"{text!r:.80} is no genotype; allowed: a key from the store, JSON, or the text "
        f"Genotype(normal=[...], ...) of a log; {'; '.join(faults)}"
    )


def _say(console: Console, text: str) -> None:
    """Print a sentence as it is: paths stay whole, brackets are no markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _draw(path: Path, svg: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(svg, "utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
