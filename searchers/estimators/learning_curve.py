"""Learning curve: a training that stops after its first epochs if it will hardly become the best.

Domhan, Springenberg, Hutter: Speeding up Automatic Hyperparameter Optimization of Deep Neural
Networks by Extrapolation of Learning Curves, IJCAI 2015, section 4: stop where the probability to
beat the best so far is below 5 %; the score is then the expected final value. How curves are
extrapolated, from those of earlier candidates of the search, stands in searchers/_extrapolation.py.

Of the candidates that would be stopped a share, the ``control``, is trained to the end all the
same. These show how often stopping was wrong. Measurements (split "extrapolation"): ``mean``,
``deviation`` and ``chance`` of the prediction, ``hopeless`` (would be stopped), ``stopped`` and, at
the end of a control, ``wrong``. The analysis ``early_stopping`` adds them up.

Deviations. One decision, after ``observe`` epochs; Domhan et al. decide again and again, and each
look is another chance to err. The first candidates are trained to the end, until ``learn_from``
whole curves are known. These and the later whole ones are better than the average, as the others
are stopped; the control counters that in part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pydantic
import torch
from torch import nn

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from search_space.task import Task
from searchers._base import Outcome
from searchers._chance import stream
from searchers._epochs import Row
from searchers._extrapolation import StudentT, extrapolate
from searchers._training import Training
from searchers.estimators._base import Legacy, RecallingEstimator, Scored
from searchers.estimators._fidelity import FidelityParams

# The latest candidates whose curves are learned from: more take longer to read than they tell.
_REMEMBERED = 50

SPLIT = "extrapolation"


class LearningCurve(RecallingEstimator):
    """Trains each candidate, and stops those that the first epochs show to be hopeless."""

    class Params(FidelityParams):
        """How a candidate is trained, and when it is stopped."""

        epochs: int = pydantic.Field(30, ge=2, description="of a whole training")
        observe: int = pydantic.Field(10, ge=1, description="epochs before the decision")
        chance: float = pydantic.Field(
            0.05, gt=0, lt=1, description="of becoming the best, below which training stops"
        )
        learn_from: int = pydantic.Field(8, ge=2, description="whole curves, before any stops")
        control: float = pydantic.Field(
            0.1, ge=0, le=1, description="share of the hopeless that are trained to the end"
        )

        @pydantic.model_validator(mode="after")
        def _before_the_end(self) -> LearningCurve.Params:
            if self.observe >= self.epochs:
                raise ValueError(
                    f"observe is {self.observe}; it must be less than epochs, {self.epochs}"
                )
            return self

    smoke: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "observe": 1,
        "channels": 2,
        "layers": 2,
        "batch_size": 16,
    }

    def recall(
        self,
        space: SearchSpace,
        genotype: Genotype,
        before: Sequence[Scored],
        *,
        higher_is_better: bool,
    ) -> dict[str, Any] | None:
        if len(before) < self.params.learn_from:
            return None
        best = (max if higher_is_better else min)(scored.score for scored in before)
        return {"best": best, "jobs": [scored.key for scored in before[-_REMEMBERED:]]}

    def program(
        self,
        space: SearchSpace,
        genotype: Genotype,
        task: Task,
        *,
        seed: int,
        device: torch.device,
        recalled: dict[str, Any] | None = None,
        legacies: Callable[[str], Legacy] | None = None,
    ) -> CurveTraining:
        params, task = self.params, self.params.reduced(task, seed)
        curves: list[list[float]] = []
        if recalled is not None:
            assert legacies is not None
            curves = [legacies(key)["curve"].tolist() for key in dict.fromkeys(recalled["jobs"])]
            curves = [curve for curve in curves if len(curve) == params.epochs]

        def build() -> nn.Module:
            size = {"channels": params.channels, "layers": params.layers}
            return space.build(genotype, task, **size, auxiliary=params.auxiliary > 0)

        return CurveTraining(
            build,
            task,
            params,
            curves=curves if len(curves) >= params.learn_from else [],
            best=recalled["best"] if recalled is not None else None,
            control=self.controls(genotype, seed),
            seed=seed,
            device=device,
        )

    def controls(self, genotype: Genotype, seed: int) -> bool:
        """Whether a candidate is of the share that is never stopped; drawn for each by its key."""
        draw = torch.rand((), generator=stream(seed, f"control {genotype.key}"))
        return float(draw) < self.params.control

    def compute(self, space: SearchSpace, genotype: Genotype, task: Task) -> float:
        """Return the multiply-adds of a whole training: the most that can be spent."""
        return self.params.compute(space, genotype, task)


class CurveTraining(Training):
    """A training that ends after ``observe`` epochs if it will hardly beat the best.

    Args:
        build, task, params, seed, device: of the training.
        curves: validation metrics of other trainings by epoch, to learn from; none: never stops.
        best: score to beat.
        control: train to the end all the same.
    """

    params: LearningCurve.Params

    def __init__(
        self,
        build: Callable[[], nn.Module],
        task: Task,
        params: LearningCurve.Params,
        *,
        curves: Sequence[Sequence[float]],
        best: float | None,
        control: bool,
        seed: int,
        device: torch.device,
    ):
        super().__init__(build, task, params, seed=seed, device=device)
        self.curves, self.best, self.control = curves, best, control
        self.curve: list[float] = []
        self.predicted: StudentT | None = None
        self.hopeless = False

    @property
    def stopped(self) -> bool:
        """Whether the training was ended before its time."""
        return self.hopeless and not self.control

    @property
    def progress(self) -> float:
        return 1.0 if self.stopped else super().progress

    def _remarks(self) -> Sequence[Row]:
        if self.diverged:
            return ()
        self.curve.append(self.score)
        if self.epoch == self.params.observe and self.curves:
            return self._decide()
        if self.epoch == self.params.epochs and self.hopeless:
            assert self.best is not None
            return [(SPLIT, "wrong", float(self._better(self.score, self.best)))]
        return ()

    def _decide(self) -> Sequence[Row]:
        assert self.best is not None
        self.predicted = extrapolate(self.curves, self.curve)
        above = self.predicted.above(self.best)
        chance = above if self.task.metric.higher_is_better else 1 - above
        self.hopeless = chance < self.params.chance
        return [
            (SPLIT, "mean", self.predicted.mean),
            (SPLIT, "deviation", self.predicted.deviation),
            (SPLIT, "chance", chance),
            (SPLIT, "hopeless", float(self.hopeless)),
            (SPLIT, "stopped", float(self.stopped)),
        ]

    def _better(self, one: float, other: float) -> bool:
        return one > other if self.task.metric.higher_is_better else one < other

    def outcome(self) -> Outcome:
        whole = super().outcome()
        if not self.stopped:
            return whole
        assert self.predicted is not None
        share = self.params.observe / self.params.epochs
        return dataclasses.replace(whole, score=self.predicted.mean, compute=share * whole.compute)

    def legacy(self) -> Legacy:
        """Return the validation metric by epoch, as far as it was trained."""
        return {"curve": torch.tensor(self.curve, dtype=torch.float64)}

    def state_dict(self) -> dict[str, Any]:
        predicted = None if self.predicted is None else list(dataclasses.astuple(self.predicted))
        return {
            **super().state_dict(),
            "curve": list(self.curve),
            "predicted": predicted,
            "hopeless": self.hopeless,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.curve, self.hopeless = list(state["curve"]), state["hopeless"]
        self.predicted = None if state["predicted"] is None else StudentT(*state["predicted"])
