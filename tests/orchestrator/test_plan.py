"""Plans: what is read, and what is filled in."""

from __future__ import annotations

import pytest

from orchestrator.plan import MethodArm, NetworkArm, Plan, parse_plan
from plan_texts import SAMPLED, SMALL, with_arm

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
