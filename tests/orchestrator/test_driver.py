"""The driver on a real Ray: whole plans, interruptions of every kind, failures."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import ray

from orchestrator.driver import Driver, load_tasks, make_study
from orchestrator.plan import parse_plan
from orchestrator.results import arm_results, find_study
from orchestrator.store import Store

PLAN = """
name: small
task: digits
arms:
  darts: {method: darts, seeds: [0, 1], params: {epochs: 2, channels: 2, layers: 2}}
  random:
    method: random_search
    estimator: {name: training, epochs: 1, channels: 2, layers: 2}
    budget: {same_as: darts}
  tiny_resnet: {network: tiny_resnet}
  constant: {network: constant}
evaluate: {epochs: 2, channels: 2, layers: 2, seeds: [0, 1]}
checkpoint_seconds: 0
"""

# What must not differ between two runs of the same plan: everything but the clock and the place.
NUMBERS = ["key", "outcome", "score", "test", "found", "parameters", "multiply_adds", "compute"]


def run(plan_text, store, data=Path("data"), **changes):
    plan = parse_plan(plan_text)
    tasks = load_tasks(plan, data)
    driver = Driver(plan, tasks, store, data)
    for name, value in changes.items():
        setattr(driver, name, value.__get__(driver))
    driver.run()
    return driver


def numbers(store):
    """Return what a plan's jobs came to, whatever the order in which they ran."""
    jobs = store.jobs()[NUMBERS].sort_values("key").reset_index(drop=True)
    metrics = store.table("metrics").sort_values(["job", "step", "split", "name"])
    weights = store.table("architecture_weights")
    weights = weights.sort_values(["job", "epoch", "cell", "edge", "operation"])
    return [table.reset_index(drop=True) for table in (jobs, metrics, weights)]


def assert_same(store, other):
    for mine, theirs in zip(numbers(store), numbers(other), strict=True):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def test_a_ray_of_ones_own_listens_on_loopback_only(cluster):
    inodes = {
        link.removeprefix("socket:[").removesuffix("]")
        for process in our_processes()
        for link in open_files(process)
        if link.startswith("socket:[")
    }
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.add(fields[1].rpartition(":")[0])
    # Little-endian words: 127.0.0.1, and the same address mapped into IPv6.
    assert listening
    assert listening <= {"0100007F", "0000000000000000FFFF00000100007F"}


def our_processes():
    """Return the /proc folders of this process and of the Ray that it started."""
    session = Path(ray.nodes()[0]["ObjectStoreSocketName"]).parents[1].name
    ours = [Path(f"/proc/{os.getpid()}")]
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and session in (process / "cmdline").read_text():
                ours.append(process)
        except (OSError, UnicodeDecodeError):
            continue
    return ours


def open_files(process):
    try:
        return [os.readlink(link) for link in (process / "fd").iterdir()]
    except OSError:
        return []


@pytest.fixture(scope="session")
def unbroken(cluster, tmp_path_factory):
    """The store after a run of PLAN that nothing disturbed."""
    store = Store(str(tmp_path_factory.mktemp("unbroken")))
    run(PLAN, store)
    return store


def test_a_plan_runs_as_one_experiment_to_a_result_for_every_arm(unbroken):
    study = find_study(unbroken, "small")
    results = {r.arm: r for r in arm_results(unbroken, study)}
    assert list(results) == ["darts", "random", "tiny_resnet", "constant"]
    assert [len(g) for g in results["darts"].groups] == [2, 2]
    assert all(r.owed == r.failed == 0 and r.estimate is not None for r in results.values())
    assert len(list((Path(unbroken.url) / "tune").iterdir())) == 1
    assert results["random"].search_compute >= results["darts"].search_compute


def test_every_number_of_a_run_is_in_the_store(unbroken):
    jobs = unbroken.jobs()
    assert (jobs["outcome"] == "done").all()
    searches = jobs[jobs["kind"] == "search"]
    weights = unbroken.table("architecture_weights")
    # Two searches of two epochs; two cells of 14 edges and 8 operations.
    assert len(weights) == 2 * 2 * 2 * 14 * 8
    # Of an edge they sum to one, or to nothing once it has been pruned.
    sums = weights.groupby(["job", "epoch", "cell", "edge"])["weight"].sum()
    assert (sums - sums.round()).abs().max() < 1e-6
    assert set(sums.round()) == {0, 1}
    assert set(weights["job"]) == set(searches["key"])
    assert set(searches["found"]) <= set(unbroken.table("genotypes")["key"])
    trained = jobs[(jobs["kind"] != "search") & jobs["genotype"].notna()]
    curves = unbroken.table("metrics").groupby("job")["epoch"].max()
    assert (
        trained["key"].map(curves) == trained["kind"].map({"candidate": 1, "evaluate": 2})
    ).all()


def test_only_evaluations_have_a_test_score(unbroken):
    jobs = unbroken.jobs()
    assert jobs.loc[jobs["kind"] == "evaluate", "test"].notna().all()
    assert jobs.loc[jobs["kind"] != "evaluate", "test"].isna().all()


def test_checkpoints_of_finished_jobs_are_deleted(unbroken):
    folder = Path(unbroken.url) / "checkpoints"
    assert not folder.exists() or not list(folder.rglob("*.pt"))


def test_a_plan_that_is_run_again_owes_nothing(unbroken):
    plan = parse_plan(PLAN)
    study = make_study(plan, load_tasks(plan, Path("data")), unbroken)
    assert study.next() is None
    assert study.finished


def test_two_plans_that_share_jobs_run_them_once(cluster, tmp_path):
    text = "name: {}\ntask: digits\narms:\n  a: {{network: tiny_resnet}}\n{}"
    text += "evaluate: {{epochs: 1, seeds: [0, 1]}}\n"
    store = Store(str(tmp_path))
    first = run(text.format("first", ""), store)
    assert len(first.progress.ended) == 2
    second = run(text.format("second", "  b: {network: constant}\n"), store)
    assert {a.job.network for a, _ in second.progress.ended} == {"constant"}
    assert (store.table("jobs")["attempt"] == 0).all()
    both = [arm_results(store, find_study(store, name))[0].values for name in ("first", "second")]
    assert both[0] == both[1]


def test_a_killed_worker_process_loses_nothing_and_is_no_failure(cluster, unbroken, tmp_path):
    killed = []

    def watch(self, key, result):
        Driver.watch(self, key, result)
        if len(killed) < 2 and result["training_iteration"] >= 2:
            killed.append(key)
            os.kill(result["pid"], signal.SIGKILL)

    store = Store(str(tmp_path))
    driver = run(PLAN, store, watch=watch)
    assert len(killed) == 2
    assert not driver.progress.failures
    assert_same(store, unbroken)


def test_a_plan_whose_store_is_on_s3_gives_the_same_numbers(cluster, unbroken, s3):
    store = Store(f"{s3}/driver/results")
    driver = run(PLAN, store)
    assert not driver.progress.failures
    assert_same(store, unbroken)
    assert store.folder.names("checkpoints") == []


def test_data_that_a_worker_cannot_use_fails_its_jobs_and_leaves_the_others_running(
    cluster, sample, tmp_path
):
    data = tmp_path / "data"
    shutil.copytree(sample("graphene_kirigami") / "graphene_kirigami", data / "graphene_kirigami")
    file = data / "graphene_kirigami" / "alldata_15G.dat"
    file.chmod(0o644)
    text = "name: two\ntask: [digits, {name: graphene_kirigami, resolution: coarse}]\n"
    text += "arms: {constant: {network: constant}}\nevaluate: {seeds: [0]}\n"
    plan = parse_plan(text)
    tasks = load_tasks(plan, data)
    store = Store(str(tmp_path / "store"))
    driver = Driver(plan, tasks, store, data)
    content = file.read_text()
    file.write_text(content.replace("0.2772", "nan", 1))
    driver.run()
    assert [kind for _, kind, _ in driver.progress.failures] == ["bad_input"]
    assert "nan" in driver.progress.failures[0][2].lower()
    assert list(store.jobs().sort_values("task")["outcome"]) == ["done", "bad_input"]

    file.write_text(content)  # mended: the failed job is owed, and only that
    driver = Driver(plan, tasks, store, data)
    driver.run()
    assert [a.task for a, _ in driver.progress.ended] == ["graphene_kirigami(resolution=coarse)"]
    assert (store.jobs()["outcome"] == "done").all()


def test_a_spent_budget_stops_in_order_and_the_rest_is_run_later(cluster, unbroken, tmp_path):
    store = Store(str(tmp_path))
    driver = run(PLAN + "budget: {hours: 1.0e-9}\n", store)
    assert "budget of 1e-09 hours is spent" in driver.progress.stopping
    assert len(driver.progress.ended) < len(unbroken.jobs())
    assert list((tmp_path / "checkpoints").rglob("*.pt"))
    run(PLAN, store)
    assert_same(store, unbroken)


def start(plan_file, store):
    command = [sys.executable, "-m", "orchestrator", "run", str(plan_file), "--store", str(store)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_until(condition, process, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_a_driver_killed_in_mid_plan_goes_on_where_it_was(unbroken, tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    store = Store(str(tmp_path / "store"))
    process = start(tmp_path / "plan.yaml", store.url)
    wait_until(lambda: len(store.folder.names("jobs")) >= 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = store.table("jobs")
    assert 4 <= len(before) < len(unbroken.jobs())

    again = start(tmp_path / "plan.yaml", store.url)
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    after = store.table("jobs")
    assert (after["attempt"] == 0).all()
    assert len(after) == len(unbroken.jobs())
    kept = after.set_index("key").loc[before["key"], "finished"]
    assert list(kept) == list(before["finished"])
    assert_same(store, unbroken)
    tables = [
        [(r.arm, r.groups, r.search_compute) for r in arm_results(s, find_study(s, "small"))]
        for s in (store, unbroken)
    ]
    assert tables[0] == tables[1]

    third = start(tmp_path / "plan.yaml", store.url)
    output, _ = third.communicate(timeout=120)
    assert third.returncode == 0
    assert f"Nothing to do: all {len(after)} jobs" in output


def test_the_first_interrupt_saves_what_runs_and_says_how_to_go_on(unbroken, tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN.replace("checkpoint_seconds: 0", ""))
    store = Store(str(tmp_path / "store"))
    process = start(tmp_path / "plan.yaml", store.url)
    wait_until(lambda: len(store.folder.names("jobs")) >= 3, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "stopped by SIGINT" in output
    assert f"python -m orchestrator run {tmp_path / 'plan.yaml'}" in output
    assert "Traceback" not in output
    again = start(tmp_path / "plan.yaml", store.url)
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    assert_same(store, unbroken)
