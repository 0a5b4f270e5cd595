"""What a person sees on a terminal: tables, and a picture of the run that keeps itself fresh."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator._contender import Assignment
from orchestrator.chart import sparkline
from orchestrator.driver import Driver
from orchestrator.estimates import Estimate
from orchestrator.plan import Plan
from orchestrator.regret import Curve
from orchestrator.results import ArmResult
from orchestrator.verdict import compared_arm, comparisons, percent

# On something that is not a terminal, such as a log file, a line for every job that has ended.
REFRESH_SECONDS = 0.5

# More values of an arm than these are shown as a number and a range.
MOST_VALUES = 24


def duration(seconds: float) -> str:
    """Return a time as people say it: 8.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min {whole % 60:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: float | None) -> str:
    """Return a large number with its prefix: 77.3 k, 11.2 M, 4.1 T; a dash for none."""
    if number is None:
        return "-"
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * factor:  # what is rounded up to it has its prefix
            return f"{number / factor:.3g} {prefix}"
    return f"{number:.0f}"


def estimates_table(estimates: Sequence[Estimate], slots: int) -> Group:
    """Return the jobs of a plan with an estimate of their time."""
    table = _table("Jobs of this plan", ["task", "arm", "kind"], ["jobs", "each", "together"])
    for e in estimates:
        number = "to the budget" if e.forecast.total is None else str(e.forecast.total)
        place = (e.forecast.task, e.forecast.arm, e.forecast.kind)
        table.add_row(*_texts(*place, number, duration(e.each), duration(e.total)))
    total = sum(e.total for e in estimates)
    note = f"About {duration(total)} of trials, {duration(total / slots)} with {slots} at a time."
    return Group(table, Text(note))


def results_table(plan: Plan, results: Sequence[ArmResult], task: str) -> Group:
    """Return the arms of a study on one task, the best first: what they reached and what they cost.

    Two tables, because one is too wide for most terminals.
    """
    here = [r for r in results if r.task == task]
    gaps = {c.other.arm: c for c in comparisons(plan, results, task)}
    levels = {f" ({percent(c.level)} interval)" for c in gaps.values()}  # the same for all of them
    ahead = f"{compared_arm(plan)} better by{''.join(levels)}"
    metric = here[0].metric
    reached = _table(
        f"Results on {task}: test {metric}",
        ["arm"],
        ["mean", "95 % interval", ahead, "values"],
    )
    cost = _table(
        "What it cost",
        ["arm"],
        ["parameters", "multiply-adds", "a search", "a training"],
    )
    sign = -1.0 if here[0].higher_is_better else 1.0

    def rank(r: ArmResult) -> float:
        mean = r.estimate.mean if r.estimate else math.nan
        return math.inf if math.isnan(mean) else sign * mean

    for r in sorted(here, key=rank):
        low, high = r.estimate.interval() if r.estimate else (math.nan, math.nan)
        gap = gaps.get(r.arm)
        quality = [
            f"{r.estimate.mean:.4f}" if r.estimate else "-",
            _interval(low, high),
            "" if gap is None else f"{gap.gain:+.4f} {_interval(gap.low, gap.high)}",
            _values(r),
        ]
        reached.add_row(*_texts(r.arm, *quality))
        price = [
            count(r.parameters),
            count(r.multiply_adds),
            duration(r.search_seconds) if r.search_seconds else "-",
            duration(r.training_seconds) if r.training_seconds is not None else "-",
        ]
        cost.add_row(*_texts(r.arm, *price))
    return Group(reached, cost)


def regret_table(curves: Sequence[Curve], task: str) -> Table:
    """Return what the searches of each arm found in a table of results, and how fast."""
    longest = max(curve.reported.shape[1] for curve in curves)
    places = sorted({max(1, longest * share // 20) for share in (2, 5, 10, 20)})
    table = _table(
        f"Searches on {task}; the best there is: {curves[0].best:.4f}",
        ["arm"],
        ["searches", "mean", "deviation", *(f"regret after {n}" for n in places)],
    )
    table.add_column(Text("regret, on a log scale"))
    regrets = [curve.regret for curve in curves]
    known = [v for regret in regrets for v in regret if math.isfinite(v) and v > 0]
    for curve, regret in sorted(
        zip(curves, regrets, strict=True), key=lambda pair: float(pair[1][-1])
    ):
        after = [f"{regret[min(n, len(regret)) - 1]:.3f}" for n in places]
        spread = "-" if math.isnan(curve.deviation) else f"{curve.deviation:.3f}"
        line = sparkline(list(regret), min(known), max(known)) if known else ""
        found = [str(len(curve.final)), f"{curve.final.mean():.3f}", spread]
        table.add_row(*_texts(curve.arm, *found, *after, line))
    return table


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """Return an empty table in which nothing is cut off: what is too long is folded."""
    table = Table(title=Text(title), title_justify="left")
    for name in left:
        table.add_column(Text(name), overflow="fold")
    for name in right:
        table.add_column(Text(name), justify="right", overflow="fold")
    return table


def _texts(*cells: str) -> list[Text]:
    """Return cells as they are: a bracket in a name is no markup."""
    return [Text(cell) for cell in cells]


def _interval(low: float, high: float) -> str:
    if math.isnan(low):
        return "-"
    return "unknown" if math.isinf(low) else f"[{low:.4f}, {high:.4f}]"


def _values(r: ArmResult) -> str:
    if len(r.values) > MOST_VALUES:
        return f"{len(r.values)} from {min(r.values):.4f} to {max(r.values):.4f}"
    parts = [" ".join(f"{value:.4f}" for value in group) for group in r.groups]
    notes = [f"{n} {word}" for n, word in ((r.owed, "owed"), (r.failed, "failed")) if n]
    return "; ".join([*parts, *notes]) or "-"


class Monitor:
    """Shows a run while it goes on: a live table on a terminal, lines elsewhere."""

    def __init__(self, console: Console, driver: Driver, estimates: Sequence[Estimate]):
        self.console, self.driver = console, driver
        self.each = {(e.forecast.task, e.forecast.arm, e.forecast.kind): e.each for e in estimates}
        self.total = sum(e.total for e in estimates)
        self.told = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show the run until the block ends."""
        if self.console.is_terminal:
            with Live(
                get_renderable=self.picture,
                console=self.console,
                refresh_per_second=1 / REFRESH_SECONDS,
                transient=True,
            ):
                yield
            return
        over = threading.Event()
        thread = threading.Thread(target=self._print_lines, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def picture(self) -> Group:
        """Return the state of the run as a table of running jobs under a line of totals."""
        progress = self.driver.progress
        table = Table(show_edge=False, pad_edge=False)
        for name in ("running", "seed", "valid", "progress", ""):
            table.add_column(name)
        for watched in list(progress.running.values()):
            score = "" if watched.score is None else f"{watched.score:.4f}"
            table.add_row(
                Text(_title(watched.assignment)),
                str(watched.assignment.job.seed),
                score,
                ProgressBar(total=1.0, completed=watched.progress, width=24),
                duration(time.monotonic() - watched.started),
            )
        return Group(Text(self.headline()), table)

    def headline(self) -> str:
        """Return how many jobs have ended, the time spent and an estimate of what is left."""
        progress = self.driver.progress
        parts = [f"{len(progress.ended)} jobs done", f"{len(progress.running)} running"]
        if progress.failures:
            parts.append(f"{len(progress.failures)} failed")
        parts.append(f"{duration(time.monotonic() - progress.started)} so far")
        if progress.stopping:
            parts.append(f"{progress.stopping}: saving what runs (again to abort)")
        elif self.total:
            parts.append(f"about {duration(self.left())} left")
        return ", ".join(parts)

    def left(self) -> float:
        """Return an estimate of the seconds to the end of the run."""
        progress = self.driver.progress
        done = sum(self._cost(a) for a, _ in list(progress.ended))
        done += sum(w.progress * self._cost(w.assignment) for w in list(progress.running.values()))
        # What earlier runs have done is no work any more, but was counted in the total.
        known = [a for a in self.driver.study.assigned if a.job.key in self.driver.before]
        done += sum(self._cost(a) for a in known)
        return max(0.0, self.total - done) / max(1, self.driver.slots)

    def _cost(self, assignment: Assignment) -> float:
        return self.each.get((assignment.task, assignment.arm, assignment.job.kind), 0.0)

    def _print_lines(self, over: threading.Event) -> None:
        while not over.wait(REFRESH_SECONDS):
            self._print_new()
        self._print_new()

    def _print_new(self) -> None:
        ended = self.driver.progress.ended
        while self.told < len(ended):
            assignment, result = ended[self.told]
            self.told += 1
            score = "" if math.isnan(result.score) else f", valid {result.score:.4f}"
            left = f", about {duration(self.left())} left" if self.total else ""
            self.console.print(
                f"[{self.told}] {_title(assignment)} seed {assignment.job.seed}: "
                f"{result.outcome}{score}, {duration(result.seconds)}{left}",
                markup=False,
                highlight=False,
            )


def _title(assignment: Assignment) -> str:
    job = assignment.job
    what = {"search": "search", "candidate": "candidate", "evaluate": "evaluation"}[job.kind]
    return f"{assignment.task} {assignment.arm} {what}"
