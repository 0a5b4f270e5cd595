"""Plans with a fault: each is named at once, where it is and what is allowed."""

from __future__ import annotations

import re
import textwrap

import pytest

from orchestrator.tasks import TASKS
from plan_texts import SMALL, faults, only_fault, with_arm
from search_space.baselines import BASELINES
from search_space.spaces import SPACES
from searchers import METHODS
from searchers.estimators import ESTIMATORS


def test_every_fault_of_a_plan_is_listed_at_once_with_its_path() -> None:
    found = faults(
        textwrap.dedent("""\
        name: my study
        task: digit
        storage: here
        arms:
          darts: {method: dart}
          other: {method: darts, space: dart, params: {epoch: 3}}
          random: {method: random_search, estimator: trainig, budget: {same_as: drts}}
          net: {network: resnet19}
          deep: {method: darts, params: {epochs: many, channels: 3}}
        evaluate: {epochs: 0, pick: worst}
        compare: {arm: darts, with: [none, net]}
        resources: {cpu: 0}
        budget: {hours: -1}
        """)
    )
    wanted = {
        "name",
        "task.0",
        "storage",
        "arms.darts.method",
        "arms.other.space",
        "arms.other.params.epoch",
        "arms.random.estimator",
        "arms.random.budget.same_as",
        "arms.net.network",
        "arms.deep.params.epochs",
        "arms.deep.params.channels",
        "evaluate.epochs",
        "evaluate.pick",
        "compare.with",
        "resources.cpu",
        "budget.hours",
    }
    assert set(found) == wanted


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (SMALL + "evalute: {epochs: 3}\n", "evalute"),
        (with_arm("{method: darts, seed: 3}"), "arms.more.seed"),
        (with_arm("{method: darts, params: {epoch: 3}}"), "arms.more.params.epoch"),
        (with_arm("{network: constant, seeds: [1]}"), "arms.more.seeds"),
        (SMALL + "evaluate: {epoch: 3}\n", "evaluate.epoch"),
        (
            with_arm("{method: random_search, budget: {samples: 3, hours: 1}}"),
            "arms.more.budget.hours",
        ),
        (
            with_arm(
                "{method: random_search, estimator: {name: training, epoch: 1}, "
                "budget: {samples: 3}}"
            ),
            "arms.more.estimator.epoch",
        ),
        (with_arm("{method: darts, space: {name: darts, node: 3}}"), "arms.more.space.node"),
        (SMALL.replace("task: digits", "task: {name: digits, size: 3}"), "task.0.size"),
    ],
)
def test_an_unknown_key_is_refused_wherever_it_stands(text: str, path: str) -> None:
    assert only_fault(text) == (path, "unknown key")


@pytest.mark.parametrize(
    ("text", "path", "kind", "near", "names"),
    [
        (with_arm("{method: dart}"), "arms.more.method", "search method", "darts", METHODS),
        (
            with_arm("{method: darts, space: drats}"),
            "arms.more.space",
            "search space",
            "darts",
            SPACES,
        ),
        (
            with_arm("{network: tiny_resnt}"),
            "arms.more.network",
            "baseline",
            "tiny_resnet",
            BASELINES,
        ),
        (SMALL.replace("digits", "digit"), "task.0", "task", "digits", TASKS),
        (
            with_arm("{method: random_search, estimator: trainign, budget: {samples: 3}}"),
            "arms.more.estimator",
            "estimator",
            "training",
            ESTIMATORS,
        ),
    ],
    ids=["method", "space", "baseline", "task", "estimator"],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_names(
    text: str, path: str, kind: str, near: str, names: object
) -> None:
    where, message = only_fault(text)
    assert where == path
    assert f"no {kind} named" in message
    assert re.search(rf"did you mean .*'{near}'", message)
    for name in names.names():  # type: ignore[attr-defined]
        assert name in message


def test_a_name_like_no_other_is_answered_with_all_names() -> None:
    _, message = only_fault(with_arm("{method: qqqqq}"))
    assert "did you mean" not in message
    assert all(name in message for name in METHODS.names())


@pytest.mark.parametrize(
    ("text", "path", "given"),
    [
        (SMALL + "evaluate: {epochs: many}\n", "evaluate.epochs", "'many'"),
        (SMALL + "evaluate: {seeds: 3}\n", "evaluate.seeds", "3"),
        (with_arm("{method: darts, params: [1]}"), "arms.more.params", "[1]"),
        (with_arm("{method: darts, params: {epochs: 2.5}}"), "arms.more.params.epochs", "2.5"),
        (with_arm("{method: [darts]}"), "arms.more.method", "['darts']"),
        (with_arm("darts"), "arms.more", "'darts'"),
        (with_arm(""), "arms.more", "None"),
        ("name: x\ntask: digits\narms: [darts]\n", "arms", "['darts']"),
        (SMALL.replace("name: small", "name: 3"), "name", "3"),
        (SMALL + "store: 3\n", "store", "3"),
        (SMALL + "evaluate: {pick: worst}\n", "evaluate.pick", "'worst'"),
        (
            with_arm("{method: random_search, budget: {same_as: darts, unit: flops}}"),
            "arms.more.budget.unit",
            "'flops'",
        ),
        (
            SMALL.replace("task: digits", "task: {name: graphene_kirigami, resolution: high}"),
            "task.0.resolution",
            "'high'",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_shown_with_its_path(text: str, path: str, given: str) -> None:
    where, message = only_fault(text)
    assert where == path
    assert f"given: {given}" in message


def test_a_value_that_is_neither_auto_nor_a_number_is_one_fault() -> None:
    path, message = only_fault(SMALL + "resources: {gpu: lots}\n")
    assert path == "resources.gpu"
    assert "auto" in message


@pytest.mark.parametrize(
    "text",
    [
        with_arm("{method: darts, params: {learning_rate: .inf}}"),
        with_arm("{method: darts, params: {learning_rate: .nan}}"),
        SMALL + "evaluate: {learning_rate: .inf}\n",
        SMALL + "resources: {gpu: .nan}\n",
        SMALL + "budget: {hours: .inf}\n",
    ],
)
def test_numbers_that_are_not_finite_are_refused(text: str) -> None:
    # A job's content is JSON, which has no such numbers: they must not get as far as that.
    only_fault(text)


def test_a_parameter_that_a_space_itself_refuses_is_named() -> None:
    path, message = only_fault(with_arm("{method: darts, space: {name: darts, nodes: 0}}"))
    assert path == "arms.more.space"
    assert "nodes is 0" in message


def test_keys_that_must_be_there_are_missed() -> None:
    assert faults("name: x\n") == {"task": "missing", "arms": "missing"}
    assert faults("task: digits\narms: {a: {network: constant}}\n") == {"name": "missing"}


def test_faults_of_one_task_are_not_followed_by_one_of_the_list() -> None:
    assert set(faults(SMALL.replace("digits", "digit"))) == {"task.0"}
    assert set(faults(SMALL + "evaluate: {seeds: [-1]}\n")) == {"evaluate.seeds.0"}


def test_messages_do_not_speak_of_classes_of_the_program() -> None:
    for text in (
        with_arm(""),
        with_arm("darts"),
        with_arm("{method: darts, params: [1]}"),
        with_arm("{method: random_search, budget: 3}"),
        SMALL + "evaluate: 3\n",
        SMALL + "compare: darts\n",
    ):
        _, message = only_fault(text)
        assert "instance of" not in message
