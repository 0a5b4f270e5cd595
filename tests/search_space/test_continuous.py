"""Continuous genotypes: the supernet itself, with the weights of its operations fixed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from search_space.cost import cost
from search_space.genotype import Genotype, GenotypeError
from search_space.mixture import Mixture, derive
from search_space.spaces.darts import Darts
from search_space.supernet import MixedNetwork
from search_space.task import Task

MakeTask = Callable[..., Task]
Break = Callable[[dict[str, Any]], None]

SPACE = Darts(nodes=2)
ROWS, COLUMNS = 5, len(SPACE.operations)
KINDS = ("normal", "reduce")


def tables(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(ROWS, COLUMNS, generator=generator).softmax(dim=1) for k in KINDS}


@pytest.fixture
def task(make_task: MakeTask) -> Task:
    return make_task((1, 8, 8))


def network(genotype: Genotype, task: Task) -> MixedNetwork:
    torch.manual_seed(0)
    built = SPACE.build(genotype, task, channels=4, layers=4)
    assert isinstance(built, MixedNetwork)
    return built


def test_a_continuous_genotype_comes_back_from_json() -> None:
    genotype = SPACE.continuous(tables())
    assert SPACE.parse(genotype.to_json()) == genotype
    assert SPACE.parse(json.dumps(json.loads(genotype.to_json()), indent=2)) == genotype
    SPACE.check(genotype)


def test_weights_are_rounded_to_six_decimals() -> None:
    weights = tables()
    mixture = SPACE.continuous(weights).data["mixture"]
    for kind in KINDS:
        kept = torch.tensor(mixture[kind], dtype=torch.float64)
        assert kept.shape == (ROWS, COLUMNS)
        assert float((kept - weights[kind].double()).abs().max()) <= 0.5e-6 + 1e-12
        assert all(number == round(number, 6) for row in mixture[kind] for number in row)


def test_weights_that_differ_by_less_than_a_decimal_are_one_genotype() -> None:
    weights = {kind: (table * 1000).round() / 1000 for kind, table in tables().items()}
    moved = {kind: table.double() + 1e-8 for kind, table in weights.items()}
    other = {kind: table + 1e-3 for kind, table in weights.items()}
    genotype = SPACE.continuous(weights)
    assert SPACE.continuous(moved).key == genotype.key
    assert SPACE.continuous(other).key != genotype.key


def test_its_network_is_the_supernet_with_that_mixture(task: Task) -> None:
    genotype = SPACE.continuous(tables())
    built = network(genotype, task)
    torch.manual_seed(0)
    supernet = SPACE.supernet(task, channels=4, layers=4, fast=False)
    kept = genotype.data["mixture"]
    mixtures = {kind: Mixture(torch.tensor(kept[kind])) for kind in KINDS}
    x = torch.randn(4, 1, 8, 8)
    for training in (True, False):
        built.train(training)
        supernet.train(training)
        torch.testing.assert_close(built(x), supernet(x, mixtures), rtol=1e-4, atol=1e-5)


def test_training_it_changes_the_weights_and_never_the_mixture(task: Task) -> None:
    built = network(SPACE.continuous(tables()), task)
    names = {name for name, _ in built.named_parameters()}
    assert not names & set(KINDS)
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    assert set(KINDS) <= before.keys()
    inputs, targets = task.batch(task.train, torch.arange(len(task.train)))
    optimiser = torch.optim.SGD(built.parameters(), lr=0.05)
    losses = []
    for _ in range(5):
        optimiser.zero_grad()
        loss = task.loss(built(inputs), targets)
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in built.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    after = built.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in names)
    assert all(torch.equal(after[kind], before[kind]) for kind in KINDS)


def test_the_mixture_is_kept_with_the_weights(task: Task) -> None:
    one, other = (network(SPACE.continuous(tables(seed)), task) for seed in (0, 1))
    x = torch.randn(4, 1, 8, 8)
    one.eval()
    other.eval()
    assert not torch.allclose(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


def test_a_mixture_given_to_a_network_is_no_longer_the_givers(task: Task) -> None:
    weights = tables()
    built = MixedNetwork(SPACE.supernet(task, channels=4, layers=3), weights).eval()
    x = torch.randn(2, 1, 8, 8)
    before = built(x)
    weights["normal"].zero_()
    weights["reduce"].zero_()
    assert torch.equal(built(x), before)


def test_its_cells_are_those_that_its_weights_prefer() -> None:
    weights = tables()
    cells = SPACE.cells(SPACE.continuous(weights))
    assert cells == {kind: derive(SPACE.operations, 2, weights[kind]) for kind in KINDS}
    assert "Genotype(normal=" in SPACE.text(SPACE.continuous(weights))


def test_it_is_no_sequence_of_decisions() -> None:
    with pytest.raises(GenotypeError, match="not a sequence of decisions"):
        SPACE.encode(SPACE.continuous(tables()))


def drop(mixture: dict[str, Any]) -> None:
    del mixture["reduce"]


def shorten(mixture: dict[str, Any]) -> None:
    mixture["normal"] = mixture["normal"][:-1]


def narrow(mixture: dict[str, Any]) -> None:
    mixture["reduce"] = [row[:-1] for row in mixture["reduce"]]


def tear(mixture: dict[str, Any]) -> None:
    mixture["normal"][2] = mixture["normal"][2][:3]


def name(mixture: dict[str, Any]) -> None:
    mixture["normal"][0][0] = "much"


def empty(mixture: dict[str, Any]) -> None:
    mixture["normal"] = []


def nothing(mixture: dict[str, Any]) -> None:
    mixture["normal"][1][1] = None


def overflow(mixture: dict[str, Any]) -> None:
    mixture["normal"] = [[10**400] * COLUMNS] * ROWS


@pytest.mark.parametrize(
    "broken",
    [
        drop,
        shorten,
        narrow,
        tear,
        name,
        empty,
        nothing,
        overflow,
    ],
)
def test_a_mixture_of_another_form_is_refused(broken: Break, task: Task) -> None:
    data = SPACE.continuous(tables()).data
    broken(data["mixture"])
    genotype = Genotype.of("darts", data)
    refused: list[Callable[[], object]] = [
        lambda: SPACE.check(genotype),
        lambda: SPACE.parse(genotype.to_json()),
        lambda: SPACE.cells(genotype),
        lambda: SPACE.build(genotype, task, channels=4, layers=3),
    ]
    for attempt in refused:
        with pytest.raises(GenotypeError, match="mixture"):
            attempt()


def test_a_mixture_that_is_no_table_is_refused() -> None:
    for mixture in (None, [], "normal", 3, {}):
        with pytest.raises(GenotypeError, match="mixture"):
            SPACE.check(Genotype.of("darts", {"mixture": mixture}))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_no_genotype(number: float) -> None:
    weights = tables()
    weights["normal"][1, 2] = number
    with pytest.raises(ValueError, match="JSON"):  # of canonical_json: JSON has no such numbers
        SPACE.continuous(weights)
    text = SPACE.continuous(tables()).to_json().replace("[[", "[[1e999,", 1)
    with pytest.raises(ValueError, match=r"mixture|JSON"):
        SPACE.parse(text)


def test_a_mixture_for_other_nodes_or_operations_is_refused() -> None:
    genotype = SPACE.continuous(tables())
    for other in (Darts(), Darts(nodes=2, operations=SPACE.operations[:-1])):
        with pytest.raises(GenotypeError, match="finite weights"):
            other.check(genotype)


def test_a_mixture_of_another_space_is_refused() -> None:
    foreign = Genotype.of("elsewhere", SPACE.continuous(tables()).data)
    for refuse in (SPACE.check, SPACE.cells, lambda g: SPACE.parse(g.to_json())):
        with pytest.raises(GenotypeError, match="elsewhere"):
            refuse(foreign)


def test_weights_may_be_written_as_whole_numbers(task: Task) -> None:
    weights = {kind: table.round() for kind, table in tables().items()}
    whole = {kind: [[int(w) for w in row] for row in t.tolist()] for kind, t in weights.items()}
    genotype = SPACE.parse(Genotype.of("darts", {"mixture": whole}).to_json())
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(
        network(genotype, task)(x), network(SPACE.continuous(weights), task)(x)
    )


def test_it_costs_what_the_textbook_costs(task: Task) -> None:
    built = network(SPACE.continuous(tables()), task)
    supernet = SPACE.supernet(task, channels=4, layers=4, fast=False)
    assert cost(built, task) == cost(supernet, task)
