"""Overhead of the driver: many short candidates on all cores against the sum of their own time.

    python tests/benchmarks/overhead.py [--candidates 100]

Prints the wall time of the candidates over (sum of their seconds / slots), where a candidate's
seconds are those it spends in building and training. A perfect driver scores 1.
"""

import argparse
import tempfile
from pathlib import Path

import ray

from orchestrator.driver import Driver, connect, load_tasks
from orchestrator.plan import parse_plan
from orchestrator.store import Store

PLAN = """
name: overhead
task: digits
arms:
  random:
    method: random_search
    estimator: {{name: training, epochs: 1, channels: 4, layers: 2}}
    budget: {{samples: {candidates}}}
evaluate: {{epochs: 1, channels: 2, layers: 2, seeds: [0]}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100)
    arguments = parser.parse_args()
    plan = parse_plan(PLAN.format(candidates=arguments.candidates))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        connect(None)
        driver = Driver(plan, load_tasks(plan, Path(folder)), store, Path(folder))
        driver.run()
        ray.shutdown()
        jobs = store.jobs()
    jobs = jobs[jobs["kind"] == "candidate"]
    wall = (jobs["finished"].max() - jobs["started"].min()).total_seconds()
    own = jobs["seconds"].sum() / driver.slots
    print(
        f"{len(jobs)} candidates, median {jobs['seconds'].median():.2f} s, {driver.slots} slots: "
        f"{wall:.1f} s, {wall / own:.3f} of the sum of their own time over the slots"
    )


if __name__ == "__main__":
    main()
