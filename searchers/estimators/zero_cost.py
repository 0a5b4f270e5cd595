"""Zero cost: the untrained network is looked at once; proxies such as synflow are the score.

Abdelfattah, Mehrotra, Dudziak, Lane: Zero-Cost Proxies for Lightweight NAS, ICLR 2021. What each
proxy computes, with its paper and deviations, stands in searchers/_proxies.py.

The score is the first of ``proxies``; all of them are recorded as measurements. A vote of several
(the paper's section 3.3) needs the ranks of many candidates, and an estimator sees one. Where the
task's metric is better when lower the score is minus the proxy, so that who looks for a low score
finds a high proxy. A proxy that is not finite makes the candidate one that diverged.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import pydantic
import torch

from search_space.cost import cost
from search_space.genotype import Genotype
from search_space.shelf import nearest
from search_space.space import SearchSpace
from search_space.task import Task
from searchers._base import Measurement, Outcome, Program, Report, StrictParams
from searchers._chance import Chance, stream
from searchers._proxies import PROXIES, Batch
from searchers.estimators._base import Estimator


def _known(name: str) -> str:
    if name not in PROXIES:
        raise ValueError(f"unknown proxy {name!r}; {nearest(name, PROXIES)}")
    return name


class ZeroCost(Estimator):
    """Scores a candidate by its untrained network on one batch; nothing is trained."""

    class Params(StrictParams):
        """Which proxies, on what batch, of how large a network."""

        proxies: tuple[Annotated[str, pydantic.AfterValidator(_known)], ...] = pydantic.Field(
            ("synflow",), min_length=1, description="the first is the score"
        )
        batch_size: int = pydantic.Field(64, ge=2, description="examples to look at")
        channels: int = pydantic.Field(16, ge=2, multiple_of=2)
        layers: int = pydantic.Field(8, ge=1)

        @pydantic.field_validator("proxies")
        @classmethod
        def _different(cls, names: tuple[str, ...]) -> tuple[str, ...]:
            if len(set(names)) < len(names):
                raise ValueError(f"each proxy may stand once (given: {', '.join(names)})")
            return names

    smoke: ClassVar[dict[str, Any]] = {
        "proxies": tuple(PROXIES),
        "channels": 2,
        "layers": 2,
        "batch_size": 4,
    }

    inline: ClassVar[bool] = True

    def program(
        self,
        space: SearchSpace,
        genotype: Genotype,
        task: Task,
        *,
        seed: int,
        device: torch.device,
    ) -> Program:
        return ProxyProgram(space, genotype, task, self.params, seed=seed, device=device)

    def compute(self, space: SearchSpace, genotype: Genotype, task: Task) -> float:
        with torch.device("meta"):
            network = space.build(
                genotype, task, channels=self.params.channels, layers=self.params.layers
            )
        return planned_compute(cost(network, task).multiply_adds, task, self.params)


def planned_compute(multiply_adds: int, task: Task, params: ZeroCost.Params) -> float:
    """Return the multiply-adds of all proxies."""
    batch = min(params.batch_size, len(task.train))
    used = [PROXIES[name] for name in params.proxies]
    passes = sum(proxy.passes * (batch if proxy.whole_batch else 1) for proxy in used)
    return float(multiply_adds) * passes


class ProxyProgram(Program):
    """Computes one proxy a step, all of the same untrained network on the same examples.

    Initial weights are the seed's, like those of a training of this seed and size; the examples
    are drawn from the training split, the same for all candidates of a seed, and not augmented.
    """

    def __init__(
        self,
        space: SearchSpace,
        genotype: Genotype,
        task: Task,
        params: ZeroCost.Params,
        *,
        seed: int,
        device: torch.device,
    ):
        self.task, self.params = task, params
        with Chance(seed, device):
            network = space.build(genotype, task, channels=params.channels, layers=params.layers)
        self.cost = cost(network, task)
        self.network = network.to(device)
        order = torch.randperm(len(task.train), generator=stream(seed, "zero_cost"))
        rows = order[: params.batch_size].sort().values.to(task.train.inputs.device)
        few = task.train.rows(rows).to(device)
        inputs, targets = task.batch(few, torch.arange(len(rows), device=device))
        self.batch = Batch(task, inputs, targets, self.cost)
        self.values: dict[str, float] = {}

    @property
    def progress(self) -> float:
        return len(self.values) / len(self.params.proxies)

    def step(self) -> Report:
        name = self.params.proxies[len(self.values)]
        value = self.values[name] = PROXIES[name].of(self.network, self.batch)
        return Report((Measurement(0, 0, "train", name, value),))

    def outcome(self) -> Outcome:
        value = self.values[self.params.proxies[0]]
        sign = 1.0 if self.task.metric.higher_is_better else -1.0
        finite = math.isfinite(value)
        return Outcome(
            score=sign * value if finite else math.nan,
            parameters=self.cost.parameters,
            multiply_adds=self.cost.multiply_adds,
            compute=planned_compute(self.cost.multiply_adds, self.task, self.params),
            diverged=not finite,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"values": dict(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = dict(state["values"])
