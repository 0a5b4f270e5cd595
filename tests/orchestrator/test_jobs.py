"""Jobs: the same work has the same key for ever, and other work another."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from orchestrator.jobs import FINISHED, Entry, Job, Result
from search_space.genotype import Genotype

GENOTYPE = Genotype.of("darts", {"normal": [1, 2], "reduce": [3]}).to_json()

# Every field is set that every job had from the beginning, so that each can be changed on its own.
JOB = Job(
    kind="evaluate",
    task=Entry("digits", {"size": 8, "scale": 0.5}),
    fingerprint="0123456789abcdef",
    seed=3,
    space=Entry("darts", {"nodes": 4, "operations": ["none", "skip_connect"]}),
    method=Entry("darts", {"order": 2}),
    estimator=Entry("training", {"epochs": 10}),
    genotype=GENOTYPE,
    network="resnet18",
    training={"epochs": 30, "learning_rate": 0.05},
    budget={"samples": 20.0},
    limits={"at_most": {"parameters": 1e6}, "evaluated": {"channels": 16, "layers": 8}},
)

CHANGED = {
    "kind": "search",
    "task": Entry("digits", {"size": 8, "scale": 0.25}),
    "fingerprint": "0123456789abcdee",
    "seed": 4,
    "space": Entry("darts", {"nodes": 4, "operations": ["skip_connect", "none"]}),
    "method": Entry("darts", {"order": 1}),
    "estimator": Entry("training", {"epochs": 11}),
    "genotype": Genotype.of("darts", {"normal": [2, 1], "reduce": [3]}).to_json(),
    "network": "vgg11",
    "training": {"epochs": 30, "learning_rate": 0.051},
    "budget": {"compute": 20.0},
    "limits": {"at_most": {"parameters": 1e6}, "evaluated": {"channels": 16, "layers": 9}},
    "recalled": {"parent": GENOTYPE, "job": "0123456789abcdef"},
}


def test_the_same_content_has_the_same_key_whatever_the_order_of_construction() -> None:
    backwards = dict(reversed([(f.name, getattr(JOB, f.name)) for f in dataclasses.fields(JOB)]))
    backwards["task"] = Entry("digits", {"scale": 0.5, "size": 8})
    backwards["training"] = {"learning_rate": 0.05, "epochs": 30}
    assert Job(**backwards).key == JOB.key


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Job)])
def test_every_part_of_the_content_is_in_the_key(name: str) -> None:
    assert dataclasses.replace(JOB, **{name: CHANGED[name]}).key != JOB.key


@pytest.mark.parametrize(
    "name",
    ["space", "method", "estimator", "genotype", "network", "training", "budget", "limits"],
)
def test_what_is_left_out_gives_another_key(name: str) -> None:
    assert dataclasses.replace(JOB, **{name: None}).key != JOB.key


@pytest.mark.parametrize("name", ["task", "space", "method", "estimator"])
def test_the_name_of_an_entry_is_in_the_key(name: str) -> None:
    entry = getattr(JOB, name)
    renamed = dataclasses.replace(entry, name=f"{entry.name}_2")
    assert dataclasses.replace(JOB, **{name: renamed}).key != JOB.key


def test_the_key_of_a_job_never_changes() -> None:
    # Stores name results by these keys: a change here orphans every result there is. A change
    # that is meant, because the same job now gives other numbers, raises jobs.FORMAT.
    older = dataclasses.replace(JOB, budget=None, limits=None)
    assert older.key == "63394181581d6e14"


def test_the_json_form_is_canonical() -> None:
    text = JOB.to_json()
    record = json.loads(text)
    assert text == json.dumps(record, sort_keys=True, separators=(",", ":"))
    fields = {field.name for field in dataclasses.fields(Job)}
    assert set(record) == fields - {"recalled"} | {"format"}
    recalling = dataclasses.replace(JOB, recalled=CHANGED["recalled"])
    assert set(json.loads(recalling.to_json())) == fields | {"format"}


@pytest.mark.parametrize(
    "job",
    [
        JOB,
        dataclasses.replace(JOB, recalled=CHANGED["recalled"]),
        Job("search", Entry("digits"), "f", 0, space=Entry("darts"), method=Entry("darts")),
        Job("evaluate", Entry("digits"), "f", 2**62, network="constant"),
    ],
    ids=["all fields", "recalling", "search", "baseline"],
)
def test_a_job_read_back_from_its_json_is_equal_and_has_the_same_key(job: Job) -> None:
    again = Job.from_json(job.to_json())
    assert again == job
    assert again.key == job.key
    assert again.to_json() == job.to_json()


def test_numbers_that_json_does_not_have_are_refused() -> None:
    # NaN is not equal to itself: no two jobs could be told to be the same.
    for number in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            _ = dataclasses.replace(JOB, training={"learning_rate": number}).key


def test_to_diverge_is_a_result_and_everything_unknown_is_a_failure() -> None:
    assert FINISHED == ("done", "diverged")
    assert not Result("done").failed
    assert not Result("diverged").failed
    for kind in ("bug", "bad_input", "out_of_memory", "lost", ""):
        assert Result(kind).failed
