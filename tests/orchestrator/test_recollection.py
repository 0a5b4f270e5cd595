"""What candidates take from those before them: whom they look back on, and what is kept of whom."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
import torch

from orchestrator.jobs import Job, Result
from orchestrator.legacies import Legacies
from orchestrator.programs import make_program
from search_space.genotype import Genotype
from search_space.spaces import SPACES
from search_space.task import DataError
from searchers.estimators.inherited_weights import decisions_apart
from study_world import World, made_up_result, of_arm, places

pytestmark = pytest.mark.usefixtures("made_up_entries")

TEXT = """\
name: x
task: digits
arms:
  r:
    method: random_search
    space: nasbench201
    estimator: {name: inherited_weights, epochs: 1, channels: 2, layers: 3}
    budget: {samples: 6}
"""


def of_samples(job: Job) -> Result:
    result = made_up_result(job)
    return Result("done", result.score, None, result.compute, result.seconds)


def candidates(world: World) -> list[Job]:
    return [a.job for a in of_arm(world.handed, "r", "candidate")]


@pytest.mark.parametrize("slots", [1, 3])
def test_a_candidate_inherits_from_the_nearest_of_those_scored_before_it(
    slots: int, world: Callable[..., World]
) -> None:
    w = world(TEXT, of_samples)
    w.run(slots=slots)
    space, jobs = SPACES.load("nasbench201")(), candidates(w)
    assert [job.recalled is None for job in jobs] == [True] * slots + [False] * (6 - slots)
    for number, job in enumerate(jobs[slots:], slots):
        assert job.recalled is not None
        # With all slots taken, as many as there are slots are under way when one is chosen.
        told = {j.key: Genotype.from_json(str(j.genotype)) for j in jobs[: number - slots + 1]}
        child = Genotype.from_json(str(job.genotype))
        apart = {key: decisions_apart(space, child, one) for key, one in told.items()}
        assert apart[job.recalled["job"]] == min(apart.values())
        assert job.recalled["parent"] == told[job.recalled["job"]].to_json()


def test_a_study_that_goes_on_asks_for_the_same_jobs_in_whatever_order_they_end(
    world: Callable[..., World],
) -> None:
    for stop_after in range(1, 7):
        w = world(TEXT, of_samples)
        w.run(random.Random(1), slots=3, stop_after=stop_after)
        first = {job.key for job in candidates(w)}
        study = w.run(random.Random(2), slots=3)
        assigned = {place[-1] for place in places(study.assigned) if place[2] == "candidate"}
        assert len(assigned) == 6
        assert first <= assigned
        before = len(w.handed)
        w.run(slots=2)
        assert len(w.handed) == before


def test_an_estimator_that_recalls_nothing_decides_nothing(world: Callable[..., World]) -> None:
    text = TEXT.replace("inherited_weights", "training")
    w = world(text, of_samples)
    w.run()
    assert w.written == []
    assert all("recalled" not in json.loads(job.to_json()) for job in candidates(w))


def test_a_legacy_is_read_as_it_was_written(store_url: str) -> None:
    legacies = Legacies(store_url)
    legacy = {"a.weight": torch.randn(2, 3), "n": torch.tensor(4)}
    legacies.save("k", legacy)
    found = Legacies(store_url).load("k")
    assert list(found) == list(legacy)
    assert all(torch.equal(found[name], legacy[name]) for name in legacy)


@pytest.mark.parametrize("content", [None, b"", b"no file of torch's"])
def test_a_legacy_that_is_gone_is_the_user_s_to_mend(content, tmp_path) -> None:
    legacies = Legacies(str(tmp_path))
    if content is not None:
        legacies.folder.write("legacies/k.pt", content)
    with pytest.raises(DataError, match=r"legacies/k\.pt cannot be read.*new store"):
        legacies.load("k")


def test_a_job_that_recalls_begins_where_the_other_ended(
    world: Callable[..., World], make_task, tmp_path
) -> None:
    w = world(TEXT, of_samples)
    w.run(slots=1)
    first, second = candidates(w)[:2]
    task, legacies = make_task((1, 8, 8)), Legacies(str(tmp_path))
    cpu = torch.device("cpu")
    program = make_program(first, task, device=cpu, threads=1, legacies=legacies.load)
    while not program.done:
        program.step()
    legacies.save(first.key, program.legacy())  # type: ignore[attr-defined]
    heir = make_program(second, task, device=cpu, threads=1, legacies=legacies.load)
    assert heir.inherited > 0  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="cannot be read"):
        make_program(candidates(w)[2], task, device=cpu, threads=1, legacies=Legacies("no").load)
