"""Single paths, weight-sharing random search and ENAS: which architectures they train and score."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch

from search_space.genotype import Genotype
from search_space.spaces import SPACES
from search_space.task import Task
from searchers import METHODS
from searchers._one_shot import OneShot
from searchers.enas import Enas
from searchers.single_path import SinglePath, crossed, mutated
from searchers.weight_sharing_random import WeightSharingRandom

MakeTask = Callable[..., Task]

CPU = torch.device("cpu")
MACRO = SPACES.load("enas_macro")(layers=4)
NAMES = [name for name in METHODS.names() if issubclass(METHODS.load(name), OneShot)]


def search(cls: Any, task: Task, space: Any = MACRO, **params: Any) -> Any:
    given = cls.Params(**{**cls.smoke, **params})
    return cls(space, task.without_test(), given, seed=0, device=CPU)


@pytest.fixture
def task(make_task: MakeTask) -> Task:
    return make_task((1, 4, 5), n=40)


@pytest.mark.parametrize("name", NAMES)
def test_the_published_settings_are_valid(name: str) -> None:
    cls = METHODS.load(name)
    assert cls.Params(**cls.PAPER) != cls.Params()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("space", ["enas_micro", "enas_macro", "nasbench201", "nasnet"])
def test_runs_on_every_space_with_shared_weights(
    task: Task, drive: Any, name: str, space: str
) -> None:
    made = SPACES.load(space)()
    outcome = drive(search(METHODS.load(name), task, made), seconds=math.inf).outcome
    made.check(outcome.genotype)
    assert math.isfinite(outcome.score)


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_scores_see_different_examples(
    task: Task, drive: Any, recorded: Any, name: str
) -> None:
    watched, batches = recorded(task.without_test())
    cls = METHODS.load(name)
    program = cls(MACRO, watched, cls.Params(**cls.smoke), seed=0, device=CPU)
    program.network.double()
    trained: set[int] = set()
    forward = program.network.forward

    def watch(inputs: torch.Tensor, genotype: Genotype) -> torch.Tensor:
        if torch.is_grad_enabled():
            trained.update(batches[-1][0])
        return forward(inputs, genotype)

    program.network.forward = watch
    drive(program, seconds=math.inf)
    assert trained == set(program.batches.rows.tolist())
    assert trained.isdisjoint(program.held.tolist())
    assert len(trained) + len(program.held) == 40


@pytest.mark.parametrize("name", NAMES)
def test_the_best_of_those_scored_on_all_examples_is_chosen(
    task: Task, drive: Any, name: str
) -> None:
    program = drive(search(METHODS.load(name), task), seconds=math.inf).program
    final = program.found[program._glances :]
    best = max(score for _, score in final)
    assert program.outcome().genotype.to_json() == next(t for t, s in final if s == best)
    assert len(program.found) == program._total


def test_finalists_are_the_best_at_a_glance(task: Task, drive: Any) -> None:
    program = drive(
        search(WeightSharingRandom, task, candidates=6, finalists=2), seconds=math.inf
    ).program
    first = sorted(program.found[:6], key=lambda pair: -pair[1])
    assert [text for text, _ in program.found[6:]] == [text for text, _ in first[:2]]


class TestEvolution:
    """Of single_path: algorithm 1 of the paper."""

    def test_a_child_takes_every_decision_from_a_parent(self) -> None:
        rng = random.Random(0)
        for _ in range(20):
            parents = [MACRO.encode(MACRO.sample(rng)) for _ in range(2)]
            child = MACRO.encode(crossed(MACRO, parents, rng))
            assert all(c in pair for c, *pair in zip(child, *parents, strict=True))
        assert child not in parents

    def test_a_mutant_changes_as_many_decisions_as_the_probability_says(self) -> None:
        rng, decisions = random.Random(0), MACRO.encode(MACRO.sample(random.Random(1)))
        n = 1000
        changed = [0] * len(decisions)
        for _ in range(n):
            mutant = MACRO.encode(mutated(MACRO, decisions, 0.3, rng))
            for place, (a, b) in enumerate(zip(decisions, mutant, strict=True)):
                changed[place] += a != b
        for place, count in enumerate(changed):
            # Drawn anew it is the same again once in so many options.
            share = 0.3 * (1 - 1 / MACRO.options(decisions[:place]))
            assert abs(count / n - share) < 4 * math.sqrt(share * (1 - share) / n)

    def test_parents_are_the_best_of_earlier_generations(self, task: Task) -> None:
        program = search(SinglePath, task, population=10, generations=3, parents=1, mutation=1e-9)
        rng = random.Random(5)
        texts = [MACRO.sample(rng).to_json() for _ in range(20)]
        # The best of all is of the present generation, which has no children yet.
        program.found = [(text, float(place)) for place, text in enumerate(texts[:13])]
        assert program._proposal().to_json() == texts[9]

    def test_nothing_is_scored_twice(self, task: Task, drive: Any) -> None:
        params = {"population": 6, "generations": 4, "epochs": 1}
        program = drive(search(SinglePath, task, **params), seconds=math.inf).program
        texts = [text for text, _ in program.found]
        assert len(set(texts)) == len(texts) == 24


class Counting(Enas):
    """ENAS whose reward is known: the share of layers that are convolutions of 3 x 3."""

    def _reward(self, genotype: Genotype) -> float:
        super()._reward(genotype)
        layers = genotype.data["layers"]
        return sum(operation == "conv_3x3" for operation, _ in layers) / len(layers)


class TestEnas:
    """The controller: what it learns from rewards and what it says of itself."""

    PARAMS: ClassVar[dict[str, Any]] = {"epochs": 8, "controller_steps": 12, "arcs": 8, "units": 16}

    def curve(self, program: Any, drive: Any) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for m in drive(program, seconds=math.inf).measurements:
            found.setdefault(f"{m.split} {m.name}", []).append(m.value)
        return found

    def test_the_mean_reward_rises_and_the_entropy_falls(self, task: Task, drive: Any) -> None:
        program = search(Counting, task, **self.PARAMS, controller_learning_rate=0.02)
        curve = self.curve(program, drive)
        rewards, entropies = curve["controller reward"], curve["controller entropy"]
        assert len(rewards) == 8
        # At random it is 1/6, with a standard error of 0.4 / sqrt(4 x 96) = 0.02.
        assert rewards[0] < 0.4 < 0.7 < rewards[-1]
        assert entropies[-1] < entropies[0]
        assert curve["controller baseline"][-1] > curve["controller baseline"][0]

    def test_the_share_of_skips_goes_to_its_target(self, task: Task, drive: Any) -> None:
        shares = {}
        for target in (0.05, 0.9):
            program = search(
                Enas, task, **self.PARAMS, skip_target=target, skip_weight=10.0,
                controller_learning_rate=0.02,
            )  # fmt: skip
            drive(program, seconds=math.inf)
            drawn = program._draw(200)
            places = MACRO.skips()
            shares[target] = sum(arc[p] for arc in drawn for p in places) / (200 * len(places))
        assert shares[0.05] < 0.25
        assert shares[0.9] > 0.75

    def test_a_space_without_skips_has_no_distance_from_their_rate(
        self, task: Task, drive: Any
    ) -> None:
        space = SPACES.load("nasbench201")()
        curve = self.curve(search(Enas, task, space), drive)
        assert "controller reward" in curve
        assert "controller skip_distance" not in curve

    def test_rewards_are_accuracies_or_the_part_of_the_loss_that_is_explained(
        self, make_task: MakeTask
    ) -> None:
        for kind in ("classes", "regression"):
            task = make_task((1, 4, 5), kind, n=40)
            program = search(Enas, task)
            genotype = MACRO.sample(random.Random(0))
            batch = next_rows(program)
            reward = program._reward(genotype)
            with torch.no_grad():
                inputs, targets = program.task.batch(program.task.train, batch)
                outputs = program.network(inputs, genotype)
            if kind == "classes":
                expected = float((outputs.argmax(1) == targets).float().mean())
            else:
                loss = (outputs - targets).square().mean() / program.params.loss_scale
                expected = max(-1.0, float(1 - loss))
            assert reward == pytest.approx(expected, abs=1e-5)

    def test_controller_and_weights_have_steps_of_their_own(self, task: Task, drive: Any) -> None:
        program = search(Enas, task)
        before = {k: v.clone() for k, v in program.network.state_dict().items()}
        program.step()
        while program.taken == 0:
            program._measure()
        names = dict(program.network.named_parameters())
        after = {k: v.clone() for k, v in program.network.state_dict().items()}
        assert any(not torch.equal(before[k], after[k]) for k in names)
        program._measure()
        assert all(
            torch.equal(after[k], v) for k, v in program.network.state_dict().items() if k in names
        )


def next_rows(program: Any) -> torch.Tensor:
    """Return the rows that the next reward will be of."""
    batches = program.reward_batches
    return batches.order.tensor_split(batches.length)[batches.position]
