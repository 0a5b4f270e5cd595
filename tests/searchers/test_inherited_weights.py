"""The estimator of inherited weights: whose they are, where training begins, what is left."""

from __future__ import annotations

import math
import random

import pytest
import torch

from search_space.genotype import Genotype
from search_space.spaces import SPACES
from searchers.estimators import ESTIMATORS
from searchers.estimators._base import Bequeathing, Scored
from searchers.estimators.inherited_weights import decisions_apart

CPU = torch.device("cpu")
SPACE = SPACES.load("nasbench201")()
SMALL = {"epochs": 2, "channels": 4, "layers": 3, "batch_size": 4}


@pytest.fixture
def estimator():
    cls = ESTIMATORS.load("inherited_weights")
    return cls(cls.Params(**SMALL))


def change(genotype, *places):
    decisions = list(SPACE.encode(genotype))
    for place in places:
        decisions[place] = (decisions[place] + 1) % 5
    return SPACE.decode(decisions)


def test_the_parent_is_the_nearest_then_the_best_then_the_earliest(estimator):
    child = SPACE.sample(random.Random(1))
    far, near, also = change(child, 0, 1, 2), change(child, 3), change(child, 4)
    assert [decisions_apart(SPACE, child, one) for one in (far, near, also, child)] == [3, 1, 1, 0]

    def parent(*scored, higher=True):
        before = [Scored(g, score, f"job{i}") for i, (g, score) in enumerate(scored)]
        return estimator.recall(SPACE, child, before, higher_is_better=higher)

    assert parent() is None
    assert parent((far, 0.9), (near, 0.1)) == {"parent": near.to_json(), "job": "job1"}
    assert parent((near, 0.1), (also, 0.2))["job"] == "job1"
    assert parent((near, 0.1), (also, 0.2), higher=False)["job"] == "job0"
    assert parent((near, 0.2), (near, 0.2))["job"] == "job0"


def test_sequences_of_different_length_differ_in_what_only_one_has():
    class Numbers:
        def encode(self, genotype):
            return tuple(genotype.data["decisions"])

    one, other = (Genotype.of("x", {"decisions": d}) for d in ([1, 2, 3], [1, 4, 3, 0, 0]))
    assert decisions_apart(Numbers(), one, other) == decisions_apart(Numbers(), other, one) == 3


def test_a_child_begins_with_the_weights_of_its_parent(make_task, drive, estimator):
    task = make_task((1, 8, 8)).without_test()
    text = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|none~1|none~2|"
    genotype = SPACE.parse(text)
    parent = estimator.program(SPACE, genotype, task, seed=0, device=CPU)
    assert isinstance(parent, Bequeathing)
    assert parent.inherited == 0.0
    drive(parent, seconds=math.inf)
    left = {"the parent": parent.legacy()}
    recalled = {"parent": genotype.to_json(), "job": "the parent"}
    arguments = {"seed": 7, "device": CPU, "recalled": recalled, "legacies": left.__getitem__}
    twin = estimator.program(SPACE, genotype, task, **arguments)
    assert twin.inherited == 1.0
    inputs, _ = task.batch(task.valid, torch.arange(8))
    with torch.no_grad():
        same = twin.network.eval()(inputs) == parent.network.eval()(inputs)
    assert bool(same.all())
    skip = SPACE.encode(genotype).index(1)  # which becomes a convolution
    child = estimator.program(SPACE, change(genotype, skip), task, **arguments)
    assert 0 < child.inherited < 1
    before = {name: tensor.clone() for name, tensor in left["the parent"].items()}
    rows = drive(child, seconds=math.inf).measurements
    assert [r.value for r in rows if r.name == "inherited"] == [child.inherited]
    assert all(torch.equal(before[name], t) for name, t in left["the parent"].items())


def test_an_interrupted_child_ends_like_an_unbroken_one(make_task, drive, differences, estimator):
    task = make_task((1, 8, 8)).without_test()
    genotype = SPACE.sample(random.Random(2))
    parent = estimator.program(SPACE, genotype, task, seed=0, device=CPU)
    drive(parent, seconds=math.inf)
    left = parent.legacy()

    def make():
        return estimator.program(
            SPACE,
            change(genotype, 1),
            task,
            seed=0,
            device=CPU,
            recalled={"parent": genotype.to_json(), "job": "p"},
            legacies={"p": left}.__getitem__,
        )

    assert differences(drive(make()).end, drive(make(), fresh=make).end) == []
