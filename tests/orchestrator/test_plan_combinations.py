"""Plans whose parts do not go together: methods and spaces, arms that name one another."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from orchestrator.errors import PlanError
from orchestrator.plan import parse_plan
from plan_texts import SMALL, faults, only_fault, with_arm


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


def test_shared_weights_and_a_supernet_are_two_things_that_a_method_may_need() -> None:
    plan = parse_plan(with_arm("{method: enas, space: enas_macro}"))
    assert plan.arms["more"].space.name == "enas_macro"
    _, message = only_fault(with_arm("{method: darts, space: enas_macro}"))
    assert "a space with a supernet, and enas_macro has none" in message
    assert "enas_m" not in message.partition("works on")[2]


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


def test_a_method_that_cannot_choose_from_a_space_is_refused_with_what_would_work() -> None:
    with pytest.raises(PlanError, match=r"arms\.g: .*grid takes up to 100,000.*random_search"):
        parse_plan(
            "name: x\ntask: digits\narms:\n  g: {method: grid, space: darts, budget: {samples: 5}}"
        )
