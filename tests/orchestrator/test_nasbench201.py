"""Tables of published results: the task, its file, what fits it, and a study that looks up."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestrator._combinations import check_combinations
from orchestrator.driver import load_tasks
from orchestrator.errors import PlanError
from orchestrator.plan import Plan, parse_plan
from orchestrator.tasks import TASKS
from orchestrator.tasks._files import MissingDataError
from search_space.spaces import SPACES
from search_space.table import TableError
from search_space.task import DataError, Task

ROWS = [("|none~0|", 1.5, 10.0, 3), ("|skip_connect~0|", 2.5, 30.0, 4)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as the CSV file that the task reads, and returns the root of the data."""

    def to_file(rows=ROWS, columns=("arch_str", "valid", "test", "late")) -> Path:
        (tmp_path / "nasbench201").mkdir(exist_ok=True)
        frame = pd.DataFrame(rows, columns=list(columns))
        frame.to_csv(tmp_path / "nasbench201" / "nasbench201_cifar10.csv", index=False)
        return tmp_path

    return to_file


def load(root: Path, **given: object) -> Task:
    return TASKS.load("nasbench201").load(root, **{"report": "test", **given})


def test_a_table_is_read_with_its_columns_of_numbers(write):
    task = load(write())
    assert task.table.report("|skip_connect~0|") == {"test": 30.0}
    assert task.table.value("|none~0|", "valid") == 1.5
    assert task.table.best(higher_is_better=True) == 30.0
    assert task.table.best(higher_is_better=False) == 10.0
    assert task.metric.name == "test"
    assert task.shape == (3, 32, 32)


def test_further_columns_can_be_reported_and_search_code_sees_none_of_them(write):
    task = load(write(), also="late")
    assert task.table.report("|none~0|") == {"test": 10.0, "late": 3.0}
    blind = task.without_test().table
    assert set(blind.columns) == {"valid"}
    for column in ("test", "late"):
        with pytest.raises(TableError, match=column):
            blind.value("|none~0|", column)


def test_what_changes_a_result_changes_the_fingerprint(write):
    same = load(write()).fingerprint()
    assert load(write()).fingerprint() == same
    changed = [(*ROWS[0][:2], 11.0, 3), ROWS[1]]
    assert load(write(changed)).fingerprint() != same
    assert load(write(), report="valid").fingerprint() != same
    assert load(write(ROWS[::-1])).fingerprint() != same


@pytest.mark.parametrize(
    ("rows", "given", "message"),
    [
        (ROWS, {"report": "tset"}, "no column 'tset'; did you mean 'test'"),
        (ROWS, {"architecture": "arch"}, "no column 'arch'; did you mean 'arch_str'"),
        ([ROWS[0], ROWS[0]], {}, r"'\|none~0\|' stands twice in column 'arch_str'"),
        ([ROWS[0], (*ROWS[1][:2], math.nan, 4)], {}, "'test' must hold a finite number in every"),
        ([ROWS[0], (*ROWS[1][:2], "good", 4)], {}, "'test' must hold a finite number in every"),
        (ROWS, {"classes": 1}, "classes is 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_is_wrong(write, rows, given, message):
    with pytest.raises(DataError, match=message):
        load(write(rows), **given)


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(MissingDataError, match=rf"docs/nasbench201\.md.*put it at {tmp_path}"):
        load(tmp_path)


def test_the_published_table_holds_every_architecture_of_the_space(sample):
    """Facts of the table: 5^6 architectures, and the best network's 94.37 % (Dong et al. 2021)."""
    root = sample("nasbench201")
    task = TASKS.load("nasbench201").load(root)
    space = SPACES.load("nasbench201")()
    assert len(task.table.rows) == space.size() == 15_625
    assert all(space.text(space.parse(text)) == text for text in task.table.rows)
    assert task.table.best(higher_is_better=True) == pytest.approx(94.37, abs=0.005)
    assert np.mean(task.table.column("cifar10_test_ep200")) == pytest.approx(87.06, abs=0.005)


def plan(**arms: str) -> Plan:
    written = "\n".join(f"  {name}: {arm}" for name, arm in arms.items())
    task = "{name: nasbench201, report: test}"
    return parse_plan(f"name: x\ntask: {task}\narms:\n{written}")


LOOKS_UP = "estimator: {name: table, column: valid}, budget: {samples: 5}"
SPACE = "space: {name: nasbench201, nodes: 2, operations: [none, skip_connect]}"


def refused(given: Plan, root: Path) -> list[tuple[str, str]]:
    with pytest.raises(PlanError) as caught:
        check_combinations(given, load_tasks(given, root), "the plan")
    return list(caught.value.faults)


def test_arms_that_look_up_what_the_table_has_are_accepted(write):
    given = plan(r=f"{{method: random_search, {SPACE}, {LOOKS_UP}}}")
    check_combinations(given, load_tasks(given, write()), "the plan")


def test_all_arms_that_cannot_run_on_a_table_are_named_at_once(write):
    trained = "{method: random_search, estimator: training, budget: {samples: 5}}"
    given = plan(a="{method: darts}", b="{network: tiny_resnet}", c=trained)
    faults = refused(given, write())
    assert [path for path, _ in faults] == ["arms.a", "arms.b", "arms.c"]
    assert all("nothing can be trained" in text and "table" in text for _, text in faults)


def test_a_column_or_a_space_that_the_table_does_not_have_is_refused(write):
    column = f"{{method: random_search, {SPACE}, {LOOKS_UP.replace('valid', 'vlaid')}}}"
    secret = f"{{method: random_search, {SPACE}, {LOOKS_UP.replace('valid', 'test')}}}"
    space = f"{{method: random_search, space: darts, {LOOKS_UP}}}"
    texts = [text for _, text in refused(plan(a=column, b=secret, c=space), write())]
    assert "did you mean 'valid'" in texts[0]
    assert "no column 'test' that can be searched on" in texts[1]
    assert "no row for" in texts[2]


def test_looking_up_on_a_task_with_examples_is_refused(tmp_path):
    given = parse_plan(
        f"name: x\ntask: digits\narms:\n  r: {{method: random_search, {SPACE}, {LOOKS_UP}}}"
    )
    [(path, text)] = refused(given, tmp_path)
    assert path == "arms.r"
    assert "training" in text


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (
            {
                "r": f"{{method: grid, {SPACE}, estimator: table, budget: {{same_as: b}}}}",
                "b": "{method: darts}",
            },
            "spends nothing",
        ),
        (
            {
                "r": f"{{method: random_search, {SPACE}, {LOOKS_UP}}}",
                "b": "{method: random_search, budget: {same_as: r}}",
            },
            "nothing",
        ),
    ],
)
def test_a_budget_that_looking_up_would_never_spend_is_refused(arms, message):
    with pytest.raises(PlanError, match=message):
        plan(**arms)
