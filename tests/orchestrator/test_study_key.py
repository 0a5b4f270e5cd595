"""The key of a study: what it hangs on, and what it does not."""

from __future__ import annotations

import pytest

from orchestrator.plan import parse_plan
from orchestrator.study import study_key
from study_world import FULL

pytestmark = pytest.mark.usefixtures("made_up_entries")

KEYED = FULL + "compare: {arm: darts}\n"


def key_of(text: str, fingerprint: str = "f") -> str:
    """Return the key of a study by its plan's text and its data."""
    return study_key(parse_plan(text), {"digits": fingerprint})


@pytest.mark.parametrize(
    "change",
    [
        ("name: full\n", "name: full\nstore: s3://bucket/elsewhere\n"),
        ("name: full\n", "name: full\nresources: {cpu: 4, gpu: 0}\n"),
        ("name: full\n", "name: full\nbudget: {hours: 3}\n"),
        ("seeds: [0, 1]}", "seeds: [0, 1], resources: {cpu: 2}}"),
        ("{network: constant}", "{network: constant, resources: {gpu: 1}}"),
        ("task: digits", "task: [{name: digits}]"),
        ("task: digits", "task: digits  # with a remark"),
        ("method: darts,", "method: darts, space: darts, params: {order: 1},"),
    ],
)
def test_the_key_of_a_study_does_not_hang_on_where_or_how_long_it_runs_or_how_it_is_written(
    change: tuple[str, str],
) -> None:
    changed = KEYED.replace(*change)
    assert changed != KEYED
    assert key_of(changed) == key_of(KEYED)


@pytest.mark.parametrize(
    "change",
    [
        ("name: full", "name: other"),
        ("task: digits", "task: mnist"),
        ("task: digits", "task: [digits, mnist]"),
        ("seeds: [0, 1]}", "seeds: [0, 2]}"),
        ("method: darts,", "method: darts, params: {order: 2},"),
        ("method: darts,", "method: darts, space: {name: darts, nodes: 3},"),
        ("{samples: 3}", "{samples: 4}"),
        ("{same_as: darts}", "{same_as: darts, unit: seconds}"),
        ("few:", "fewer:"),
        ("constant", "random_forest"),
        ("seeds: [0, 1, 2]", "seeds: [0, 1, 3]"),
        ("seeds: [0, 1, 2]", "seeds: [0, 1, 2], epochs: 3"),
        ("seeds: [0, 1, 2]", "seeds: [0, 1, 2], pick: best"),
        ("{arm: darts}", "{arm: random}"),
        ("{arm: darts}", "{arm: darts, with: [floor]}"),
    ],
)
def test_the_key_of_a_study_hangs_on_all_that_decides_its_answer(change: tuple[str, str]) -> None:
    changed = KEYED.replace(*change)
    assert changed != KEYED
    assert key_of(changed) != key_of(KEYED)


def test_the_key_of_a_study_hangs_on_the_data() -> None:
    assert key_of(KEYED, "f") != key_of(KEYED, "g")
