"""Plans as files: what YAML makes of them, and what it is told where that is not meant."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import PlanError, UserError
from orchestrator.plan import parse_plan, read_plan
from plan_texts import SMALL, faults, only_fault, with_arm


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (SMALL + "evaluate: {epochs: true}\n", "evaluate.epochs"),
        (SMALL + "evaluate: {learning_rate: yes}\n", "evaluate.learning_rate"),
        (SMALL + "evaluate: {clip: false}\n", "evaluate.clip"),
        (SMALL + "evaluate: {seeds: [0, on]}\n", "evaluate.seeds"),
        (SMALL + "resources: {cpu: true}\n", "resources.cpu"),
        (SMALL + "resources: {gpu: off}\n", "resources.gpu"),
        (SMALL + "budget: {hours: true}\n", "budget.hours"),
        (SMALL + "checkpoint_seconds: no\n", "checkpoint_seconds"),
        (with_arm("{method: darts, seeds: [true]}"), "arms.more.seeds"),
        (with_arm("{method: darts, params: {order: true}}"), "arms.more.params.order"),
        (with_arm("{method: darts, params: {epochs: true}}"), "arms.more.params.epochs"),
        (with_arm("{method: darts, space: {name: darts, nodes: true}}"), "arms.more.space.nodes"),
        (with_arm("{network: constant, resources: {gpu: true}}"), "arms.more.resources.gpu"),
        (
            with_arm("{method: random_search, budget: {samples: true}}"),
            "arms.more.budget.samples",
        ),
        (
            with_arm(
                "{method: random_search, estimator: {name: training, channels: true}, "
                "budget: {samples: 3}}"
            ),
            "arms.more.estimator.channels",
        ),
    ],
)
def test_true_and_false_are_no_numbers(text: str, path: str) -> None:
    # Python takes them for 1 and 0, and YAML takes yes, no, on and off for them.
    where, message = only_fault(text)
    assert where == path
    assert re.fullmatch(r"must be a number, not true or false \(given: .*(True|False).*\)", message)


def test_where_a_parameter_is_true_or_false_it_may_be_so(add_entry: Callable[..., None]) -> None:
    add_entry(
        "orchestrator.tasks",
        "switched",
        '''
        """A data set with a switch."""


        def load(root, *, mirrored: bool = False, sizes: dict[str, float] = {}):
            raise NotImplementedError
        ''',
    )
    text = SMALL.replace("task: digits", "task: {name: switched, mirrored: true}")
    assert parse_plan(text).task[0].params["mirrored"] is True
    path, message = only_fault(text.replace("mirrored: true", "sizes: {a: 1, b: true}"))
    assert path == "task.0.sizes"
    assert "given: {'a': 1, 'b': True}" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("# only a comment\n", "it is empty"),
        ("- a\n- b\n", "not a list"),
        ("hello\n", "not a str"),
        ("3\n", "not a int"),
    ],
)
def test_what_is_no_mapping_is_told_what_a_plan_is(text: str, said: str) -> None:
    path, message = only_fault(text)
    assert path == ""
    assert said in message
    for key in ("name", "task", "arms"):
        assert key in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\ntask: [digits\narms: {c: {network: constant}}\n", 3),
        ("name: x\n\ttask: digits\n", 2),
        ("name: x\ntask: 'digits\narms: {}\n", 4),
        ("name: x\n---\nname: y\n", 2),
        (SMALL + "  floor: {network: vgg11}\n", 6),
        (with_arm("{method: darts, method: darts}"), 6),
        ("name: x\nname: y\n", 2),
        ("name: x\n? [a, b]\n: 1\n", 2),
        ("name: x\n? {a: 1}\n: 1\n", 2),
    ],
    ids=[
        "bracket",
        "tab",
        "quote",
        "documents",
        "arm twice",
        "key twice",
        "name twice",
        "list as key",
        "mapping as key",
    ],
)
def test_what_is_not_yaml_is_told_the_line(text: str, line: int) -> None:
    path, _ = only_fault(text)
    assert path == f"line {line}"


def test_a_control_character_is_one_clean_line() -> None:
    _, message = only_fault("name: \x01\n")
    assert "\n" not in message


def test_a_plan_that_nests_without_end_is_refused() -> None:
    only_fault("name: " + "[" * 3000 + "\n")


def test_a_key_that_stands_twice_is_named() -> None:
    _, message = only_fault(SMALL + "  floor: {network: vgg11}\n")
    assert "'floor' stands twice" in message


def test_merged_mappings_may_override_a_key() -> None:
    plan = parse_plan(
        textwrap.dedent("""\
        name: x
        task: digits
        arms:
          one: &one {method: darts, seeds: [1], params: &p {epochs: 3, channels: 4}}
          two: {<<: *one, seeds: [2], params: &q {<<: *p, epochs: 5}}
        evaluate: {<<: *q, layers: 2}
        """)
    )
    assert plan.arms["two"].seeds == (2,)
    assert plan.arms["two"].params.model_dump()["epochs"] == 5
    assert (plan.evaluate.epochs, plan.evaluate.channels, plan.evaluate.layers) == (5, 4, 2)


def test_a_number_in_scientific_form_without_a_point_is_a_number() -> None:
    # YAML 1.1 reads 1e-3 as a text.
    plan = parse_plan(
        SMALL.replace("{method: darts}", "{method: darts, params: {learning_rate: 1e-3}}")
        + "evaluate: {weight_decay: 3E-4}\n"
    )
    assert plan.arms["darts"].params.model_dump()["learning_rate"] == 0.001
    assert plan.evaluate.weight_decay == 0.0003


@pytest.mark.parametrize(
    ("name", "path", "read"),
    [
        ("1", "arms.1", "a number"),
        ("1.50", "arms.1.5", "a number"),
        ("on", "arms.True", "true or false"),
        ("2024-05-17", "arms.2024-05-17", "a date"),
    ],
)
def test_a_name_of_an_arm_that_yaml_reads_as_something_else_is_to_be_quoted(
    name: str, path: str, read: str
) -> None:
    where, message = only_fault(SMALL.replace("floor:", f"{name}:"))
    assert where == path
    assert f"YAML reads this as {read} and not as text: put it in quotes" in message
    assert parse_plan(SMALL.replace("floor:", f"'{name}':")).arms[name]


def test_a_reference_to_an_arm_that_is_named_by_a_number_is_to_be_quoted_too() -> None:
    for other in ("1", "'1'"):
        sampled = f"{{method: random_search, budget: {{same_as: {other}}}}}"
        text = SMALL.replace("floor:", "1:") + f"  more: {sampled}\n" + "compare: {arm: 1}\n"
        found = faults(text)
        assert set(found) >= {"arms.1", "compare.arm"}
        assert all("quotes" in found[path] for path in ("arms.1", "compare.arm"))


def test_a_key_that_is_a_number_is_unknown() -> None:
    for text, path in (
        (SMALL + "1: 2\n", "1"),
        (SMALL + "evaluate: {1: 2}\n", "evaluate.1"),
        (with_arm("{method: darts, params: {1: 2}}"), "arms.more.params.1"),
    ):
        assert only_fault(text) == (path, "unknown key (given: 1)")


def test_yaml_tags_that_make_python_objects_are_refused_and_do_nothing(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for text in (
        f"name: !!python/object/apply:os.system ['touch {target}']\n",
        f"!!python/object/apply:os.system ['touch {target}']\n",
        "name: !!python/name:os.system\n",
    ):
        path, message = only_fault(text)
        assert path == "line 1"
        assert "tag" in message
    assert not target.exists()


def test_a_file_that_is_missing_a_folder_or_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "utf16.yaml").write_text(SMALL, "utf-16")
    for name, said in (
        ("missing.yaml", "No such file"),
        ("", "Is a directory"),
        ("binary.yaml", "not a text file"),
        ("utf16.yaml", "not a text file"),
    ):
        with pytest.raises(UserError) as caught:
            read_plan(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_from_windows_reads(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert read_plan(path) == parse_plan(SMALL)


def test_faults_of_a_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("name: x\n", "utf-8")
    with pytest.raises(PlanError, match=re.escape(f"{path} has 2 faults:")):
        read_plan(path)
