"""Hard limits in plans: who keeps them, and what is said where they cannot be kept."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from orchestrator.errors import PlanError
from orchestrator.plan import MethodArm, parse_plan
from orchestrator.study import study_key
from plan_texts import SMALL, only_fault, with_arm
from search_space.cost import cost
from search_space.genotype import Genotype
from search_space.measure import peak_memory
from search_space.spaces import SPACES
from study_world import World, of_arm

SPACE = "{name: nasbench201, nodes: 3}"
NETWORKS = "{name: training, channels: 2, layers: 3}"

PLAN = f"""\
name: x
task: digits
arms:
  r:
    method: random_search
    space: {SPACE}
    estimator: {NETWORKS}
    budget: {{samples: 12}}
    limits: {{LIMITS}}
evaluate: {{{{channels: 8, layers: 3, seeds: [0]}}}}
"""


@pytest.fixture
def network_cost(small_task: Callable) -> Callable[[Genotype, int], dict[str, float]]:
    """Returns the costs of a genotype's network of some channels."""
    space, task = SPACES.load("nasbench201")(nodes=3), small_task()

    def measure(genotype: Genotype, channels: int) -> dict[str, float]:
        with torch.device("meta"):
            network = space.build(genotype, task, channels=channels, layers=3)
        counted = cost(network, task)
        return {
            "parameters": counted.parameters,
            "multiply_adds": counted.multiply_adds,
            "peak_memory": peak_memory(network, task),
        }

    return measure


@pytest.mark.parametrize("name", ["parameters", "multiply_adds", "peak_memory"])
def test_no_candidate_is_handed_out_that_breaks_a_limit_as_it_is_scored_or_evaluated(
    name: str, world: Callable[..., World], network_cost: Callable
) -> None:
    space = SPACES.load("nasbench201")(nodes=3)
    drawn = [network_cost(space.sample(random.Random(i)), 8)[name] for i in range(40)]
    most = sorted(drawn)[20]
    w = world(PLAN.replace("{LIMITS}", f"{{{name}: {most}}}").replace("{{", "{").replace("}}", "}"))
    w.run()
    handed = of_arm(w.handed, "r", "candidate")
    assert len(handed) > 5
    for assignment in handed:
        assert assignment.job.genotype is not None
        genotype = Genotype.from_json(assignment.job.genotype)
        assert network_cost(genotype, 8)[name] <= most
        assert network_cost(genotype, 2)[name] <= most
    assert any(value > most for value in drawn)


def written(limits: str) -> str:
    return PLAN.replace("{LIMITS}", limits).replace("{{", "{").replace("}}", "}")


def test_a_latency_is_a_decision_that_is_made_once(world: Callable[..., World]) -> None:
    w = world(written("{latency: 1000}"))
    w.run()
    latencies = {key: value for key, name, value in w.written if name == "latency"}
    assert min(latencies.values()) > 0
    handed = of_arm(w.handed, "r", "candidate")
    assert len(latencies) == 2 * len({a.job.key for a in handed})  # in two sizes each
    again = World(w.plan, w.tasks, w.outcome, dict(w.results), dict(w.decisions))
    again.run()
    assert again.written == []


def test_a_search_that_finds_nothing_within_its_limits_is_given_up_and_says_why(
    world: Callable[..., World],
) -> None:
    w = world(written("{parameters: 1}"))
    study = w.run()
    assert of_arm(w.handed, "r", "candidate") == []
    [sentence] = study.given_up
    assert "parameters" in sentence
    assert "of at most 1" in sentence


def test_an_arm_has_the_limits_of_the_plan_and_its_own_in_place_of_those() -> None:
    text = written("{latency: 2}") + "limits: {latency: 3, parameters: 1e6}\n"
    plan = parse_plan(text)
    arm = plan.arms["r"]
    assert isinstance(arm, MethodArm)
    assert plan.limits_of(arm) == {"latency": 2.0, "parameters": 1e6}


def test_a_method_that_cannot_keep_limits_is_refused_with_those_that_can() -> None:
    path, message = only_fault(with_arm("{method: darts, limits: {parameters: 1e6}}"))
    assert path == "arms.more"
    assert "random_search" in message
    with pytest.raises(PlanError, match=r"darts of the arm .* cannot keep the plan's `limits`"):
        parse_plan(with_arm("{method: darts}") + "\nlimits: {parameters: 1e6}\n")


def test_a_limit_that_is_unknown_or_no_number_is_named() -> None:
    with pytest.raises(PlanError, match=r"limits\.flops: unknown key"):
        parse_plan(written("{flops: 3}"))
    with pytest.raises(PlanError, match=r"limits\.parameters"):
        parse_plan(written("{parameters: 0}"))


def test_plans_without_limits_keep_the_names_of_their_studies() -> None:
    plan = parse_plan(SMALL)
    assert "limits" not in plan.model_dump_json()
    assert study_key(plan, {}) != study_key(parse_plan(written("{parameters: 5}")), {})
