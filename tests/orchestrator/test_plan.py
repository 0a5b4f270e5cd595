"""Plans: what is read, and that every fault is named at once, where it is and what is allowed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import PlanError, UserError
from orchestrator.plan import MethodArm, NetworkArm, Plan, parse_plan, read_plan
from orchestrator.tasks import TASKS
from search_space.baselines import BASELINES
from search_space.spaces import SPACES
from searchers import METHODS
from searchers.estimators import ESTIMATORS

# Section 3 of the design, without `scheduler` and `dollars`, which are not built yet.
EXAMPLE = """\
name: kirigami
task: {name: graphene_kirigami, resolution: medium}
resources: {cpu: 1, gpu: auto}
arms:
  darts:        {method: darts, space: darts, seeds: [0, 1]}
  second_order: {method: darts, space: darts, params: {order: 2}, seeds: [0, 1]}
  random:       {method: random_search, space: darts, estimator: {name: training, epochs: 10},
                 budget: {same_as: darts, unit: compute}}
  resnet18:     {network: resnet18}
  tiny_resnet:  {network: tiny_resnet}
evaluate: {epochs: 30, channels: 16, layers: 8, seeds: [0, 1, 2]}
compare:  {arm: darts, with: [random, tiny_resnet]}
budget:   {hours: 2}
"""

# The smallest plan with something to search; `arms` is last, so that lines can be added to it.
SMALL = """\
name: small
task: digits
arms:
  darts: {method: darts}
  floor: {network: constant}
"""

SAMPLED = "{method: random_search, budget: {samples: 3}}"


def faults(text: str) -> dict[str, str]:
    """Return the messages of a plan's faults by path; a path that has two faults fails."""
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "a.yaml")
    found = caught.value.faults
    assert len({path for path, _ in found}) == len(found), found
    shown = str(caught.value)
    assert shown.startswith("a.yaml has ")
    assert "Traceback" not in shown
    assert len(shown.splitlines()) == 1 + len(found), "one line for each fault"
    for path, message in found:
        assert f"{path}: {message}" in shown if path else message in shown
    return dict(found)


def only_fault(text: str) -> tuple[str, str]:
    """Return path and message of a plan's single fault."""
    found = faults(text)
    assert len(found) == 1, found
    return next(iter(found.items()))


def with_arm(arm: str) -> str:
    """Return the small plan with one more arm, called ``more``."""
    return f"{SMALL}  more: {arm}\n"


def test_the_plan_of_the_design_reads() -> None:
    plan = parse_plan(EXAMPLE)
    assert plan.name == "kirigami"
    (task,) = plan.task
    assert task.name == "graphene_kirigami"
    assert task.params["resolution"] == "medium"
    assert list(plan.arms) == ["darts", "second_order", "random", "resnet18", "tiny_resnet"]
    random = plan.arms["random"]
    assert isinstance(random, MethodArm)
    assert random.estimator is not None
    assert (random.estimator.name, random.estimator.params["epochs"]) == ("training", 10)
    assert random.budget is not None
    assert (random.budget.same_as, random.budget.unit) == ("darts", "compute")
    second = plan.arms["second_order"]
    assert isinstance(second, MethodArm)
    assert second.params.model_dump()["order"] == 2
    assert isinstance(plan.arms["resnet18"], NetworkArm)
    assert plan.evaluate.seeds == (0, 1, 2)
    assert (plan.evaluate.epochs, plan.evaluate.channels, plan.evaluate.layers) == (30, 16, 8)
    assert plan.compare is not None
    assert (plan.compare.arm, plan.compare.against) == ("darts", ("random", "tiny_resnet"))
    assert plan.budget.hours == 2


def test_an_arm_that_copies_a_budget_copies_the_number_of_searches() -> None:
    plan = parse_plan(EXAMPLE)
    assert plan.arms["random"].seeds == (0, 1)
    told = parse_plan(EXAMPLE.replace("unit: compute}", "unit: compute}, seeds: [5]"))
    assert told.arms["random"].seeds == (5,)


@pytest.mark.parametrize("text", [EXAMPLE, SMALL, with_arm(SAMPLED)])
def test_a_plan_read_back_from_its_json_is_equal(text: str) -> None:
    plan = parse_plan(text)
    written = plan.model_dump_json(by_alias=True)
    again = Plan.model_validate_json(written)
    assert again == plan
    assert again.model_dump_json(by_alias=True) == written


def test_what_is_left_out_is_filled_in_with_defaults() -> None:
    plan = parse_plan(with_arm(SAMPLED))
    darts, more = plan.arms["darts"], plan.arms["more"]
    assert isinstance(darts, MethodArm)
    assert isinstance(more, MethodArm)
    assert darts.seeds == more.seeds == (0,)
    assert darts.space.name == "darts"
    assert darts.estimator is None
    assert more.estimator is not None
    assert more.estimator.name == "training"
    assert plan.evaluate.seeds == (0, 1, 2)


def test_a_task_may_be_a_name_a_mapping_or_a_list_of_either() -> None:
    for task in ("digits", "{name: digits}", "[digits]", "[{name: digits}]"):
        plan = parse_plan(SMALL.replace("task: digits", f"task: {task}"))
        assert [choice.name for choice in plan.task] == ["digits"]


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


def test_a_one_shot_method_takes_no_estimator_and_the_message_says_who_does() -> None:
    path, message = only_fault(with_arm("{method: darts, estimator: training}"))
    assert path == "arms.more"
    assert "`estimator`" in message
    assert "random_search" in message


def test_a_one_shot_method_takes_no_budget() -> None:
    _, message = only_fault(with_arm("{method: darts, budget: {samples: 3}}"))
    assert "`budget`" in message


def test_a_one_shot_method_with_estimator_and_budget_is_told_of_both_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(with_arm("{method: darts, estimator: training, budget: {samples: 3}}"))
    assert "`estimator`" in str(caught.value)
    assert "`budget`" in str(caught.value)


def test_a_sampler_without_a_budget_is_told_how_to_give_one() -> None:
    path, message = only_fault(with_arm("{method: random_search}"))
    assert path == "arms.more"
    assert "samples: N" in message
    assert "same_as: ARM" in message


def test_a_one_shot_method_on_a_space_without_supernet_is_told_which_spaces_work(
    add_entry: Callable[..., None],
) -> None:
    add_entry(
        "search_space.spaces",
        "only_to_sample",
        '''
        """A space with nothing to train at once."""
        from dataclasses import dataclass

        from search_space.genotype import Genotype
        from search_space.space import SearchSpace


        @dataclass(frozen=True)
        class OnlyToSample(SearchSpace):
            """One decision."""

            def options(self, decisions):
                return 0 if decisions else 3

            def decode(self, decisions):
                return Genotype.of(self.name, {"choice": decisions[0]})

            def encode(self, genotype):
                return (genotype.data["choice"],)

            def build(self, genotype, task, *, channels, layers, auxiliary=False):
                raise NotImplementedError
        ''',
    )
    path, message = only_fault(with_arm("{method: darts, space: only_to_sample}"))
    assert path == "arms.more"
    assert "only_to_sample has none" in message
    assert re.search(r"it works on: (.*, )?darts\b", message)
    assert "only_to_sample" not in message.partition("works on")[2]
    allowed = "{method: random_search, space: only_to_sample, budget: {samples: 3}}"
    assert parse_plan(with_arm(allowed)).arms["more"].space.name == "only_to_sample"


def test_a_budget_is_a_number_of_samples_or_another_arms_not_both_and_not_neither() -> None:
    for budget in ("{}", "{samples: 3, same_as: darts}"):
        path, message = only_fault(with_arm(f"{{method: random_search, budget: {budget}}}"))
        assert path == "arms.more.budget"
        assert "samples: N" in message
        assert "same_as: ARM" in message


def test_an_arm_with_neither_method_nor_network_is_told_that_it_needs_one() -> None:
    path, message = only_fault(with_arm("{seeds: [1]}"))
    assert path.startswith("arms.more")
    assert "method" in f"{path} {message}"
    assert "network" in message


def test_an_arm_with_both_method_and_network_is_told_to_choose() -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(with_arm("{network: constant, method: darts}"))
    ((path, message),) = caught.value.faults
    assert path.startswith("arms.more")
    assert "method" in f"{path} {message}"
    assert "network" in f"{path} {message}"


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


def test_a_parameter_that_a_space_itself_refuses_is_named() -> None:
    path, message = only_fault(with_arm("{method: darts, space: {name: darts, nodes: 0}}"))
    assert path == "arms.more.space"
    assert "nodes is 0" in message


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


def test_keys_that_must_be_there_are_missed() -> None:
    assert faults("name: x\n") == {"task": "missing", "arms": "missing"}
    assert faults("task: digits\narms: {a: {network: constant}}\n") == {"name": "missing"}


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
    ("arms", "path", "cycle"),
    [
        ({"a": "a"}, "arms.a.budget.same_as", "a -> a"),
        ({"a": "b", "b": "a"}, "arms.a.budget.same_as", "a -> b -> a"),
        ({"a": "b", "b": "c", "c": "a"}, "arms.b.budget.same_as", "b -> c -> a -> b"),
        ({"a": "b", "b": "c", "c": "b"}, "arms.a.budget.same_as", "a -> b -> c -> b"),
    ],
)
def test_arms_that_wait_for_one_another_are_shown_as_the_circle_they_are(
    arms: dict[str, str], path: str, cycle: str
) -> None:
    lines = [
        f"  {name}: {{method: random_search, budget: {{same_as: {other}}}}}\n"
        for name, other in arms.items()
    ]
    found = faults(SMALL + "".join(lines))
    assert set(found) == {f"arms.{name}.budget.same_as" for name in arms}
    assert cycle in found[path]


def test_a_budget_can_be_copied_along_a_chain() -> None:
    plan = parse_plan(
        SMALL
        + "  first: {method: random_search, budget: {same_as: second}}\n"
        + "  second: {method: random_search, budget: {same_as: darts}}\n"
    )
    assert plan.arms["first"].seeds == plan.arms["darts"].seeds


def test_a_budget_of_a_baseline_or_of_an_arm_that_is_not_there_cannot_be_copied() -> None:
    path, message = only_fault(with_arm("{method: random_search, budget: {same_as: floor}}"))
    assert path == "arms.more.budget.same_as"
    assert "'floor' is a baseline" in message
    path, message = only_fault(with_arm("{method: random_search, budget: {same_as: dart}}"))
    assert path == "arms.more.budget.same_as"
    assert "did you mean 'darts'?" in message


def test_compared_arms_must_be_there() -> None:
    found = faults(SMALL + "compare: {arm: dart, with: [flor]}\n")
    assert "did you mean 'darts'?" in found["compare.arm"]
    assert "did you mean 'floor'?" in found["compare.with"]


def test_two_unknown_names_to_compare_with_are_both_listed() -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(SMALL + "compare: {arm: darts, with: [one, two]}\n")
    assert "'one'" in str(caught.value)
    assert "'two'" in str(caught.value)


def test_an_arm_is_not_compared_with_itself() -> None:
    assert only_fault(SMALL + "compare: {arm: darts, with: [darts]}\n")[0] == "compare.with"


def test_a_comparison_with_nothing_or_with_an_arm_twice_is_refused() -> None:
    # Nothing would silently mean everything, and twice would widen every interval.
    for names in ("[]", "[floor, floor]"):
        assert only_fault(f"{SMALL}compare: {{arm: darts, with: {names}}}\n")[0] == "compare.with"


@pytest.mark.parametrize("seeds", ["[-1]", "[99999999999999999999]", "[]", "[0, 0]", "[1, 0, 1]"])
def test_seeds_are_different_numbers_from_zero_on(seeds: str) -> None:
    # The same seed twice is the same job twice: it would count as two independent results.
    for text in (
        with_arm(f"{{method: darts, seeds: {seeds}}}"),
        f"{SMALL}evaluate: {{seeds: {seeds}}}",
    ):
        found = faults(text)
        assert len(found) == 1
        assert ".seeds" in next(iter(found))


def test_the_same_task_twice_is_refused() -> None:
    path, message = only_fault(SMALL.replace("task: digits", "task: [digits, {name: digits}]"))
    assert path.startswith("task")
    assert "digits" in message


@pytest.mark.parametrize("name", ["my study", "a/b", "", "..", "-x", "[red]", "é", '"x\\n"'])
def test_names_that_folders_and_commands_stumble_over_are_refused(name: str) -> None:
    quoted = name if name.startswith('"') else f"'{name}'"
    for text, path in (
        (SMALL.replace("name: small", f"name: {quoted}"), "name"),
        (SMALL.replace("floor:", f"{quoted}:"), "arms."),
    ):
        where, message = only_fault(text)
        assert where.startswith(path)
        assert "letters" in message, "a pattern is no explanation"


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
