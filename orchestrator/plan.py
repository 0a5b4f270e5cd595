"""Plans: what a user writes in YAML, checked before anything starts, all faults listed at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from orchestrator._choices import (
    Different,
    EstimatorChoice,
    Seeds,
    SpaceChoice,
    TaskChoice,
    name_on,
)
from orchestrator._faults import reference_faults, validation_faults
from orchestrator._yaml import load_yaml
from orchestrator.errors import PlanError, UserError
from search_space.baselines import BASELINES
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from searchers import METHODS, Sampler, StrictParams
from searchers._pricing import Limits
from searchers._training import TrainingParams
from searchers.estimators import ESTIMATORS

Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]


class SearchBudget(StrictParams):
    """How much a sampler may spend on each seed: a number of samples, or what another arm spent.

    ``compute`` counts multiply-adds and is reproducible; ``seconds`` is what the clock said.
    """

    samples: int | None = pydantic.Field(None, ge=1)
    same_as: str | None = None
    unit: Literal["compute", "seconds"] = "compute"

    @pydantic.model_validator(mode="after")
    def _one(self) -> SearchBudget:
        if (self.samples is None) == (self.same_as is None):
            raise ValueError("give either `samples: N` or `same_as: ARM` (with `unit`)")
        return self


class Resources(StrictParams):
    """What each trial gets: CPU cores, and GPUs (auto: one where the cluster has any)."""

    cpu: int = pydantic.Field(1, ge=1)
    gpu: Literal["auto"] | float = pydantic.Field("auto")

    @pydantic.field_validator("gpu", mode="before")
    @classmethod
    def _auto_or_number(cls, value: Any) -> Any:
        try:
            number = 0.0 if value == "auto" else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < math.inf:
            raise ValueError(f"must be `auto`, 0 or more (given: {value!r:.60})")
        return value


class NetworkArm(StrictParams):
    """A hand-designed baseline: nothing to search."""

    network: Annotated[str, name_on(BASELINES)]
    resources: Resources | None = pydantic.Field(None, description="instead of the plan's")


class Limited(StrictParams):
    """What can have hard limits on its candidates."""

    limits: Limits = pydantic.Field(Limits(), description="no candidate ever breaks them")

    @pydantic.model_serializer(mode="wrap")
    def _without_none(self, handler: Any) -> Any:
        # Limits came later than stores, in which the content of a plan names its study.
        data = handler(self)
        if not self.limits.given():
            data.pop("limits", None)
        return data


class MethodArm(Limited):
    """A search method on a search space; each seed is a search of its own."""

    method: Annotated[str, name_on(METHODS)]
    space: SpaceChoice = pydantic.Field(default="darts", validate_default=True)
    params: pydantic.SerializeAsAny[StrictParams] = pydantic.Field(
        default={},
        validate_default=True,
    )
    seeds: Seeds | None = None
    estimator: EstimatorChoice | None = None
    budget: SearchBudget | None = None
    resources: Resources | None = pydantic.Field(None, description="instead of the plan's")

    @pydantic.field_validator("params", mode="wrap")
    @classmethod
    def _typed_by_method(cls, value: Any, handler: Any, info: pydantic.ValidationInfo) -> Any:
        method = info.data.get("method")  # absent when it was refused itself
        if method is None or isinstance(value, METHODS.load(method).Params):
            return value if isinstance(value, StrictParams) else StrictParams()
        return METHODS.load(method).Params.model_validate(value)

    @property
    def samples(self) -> bool:
        """Whether the method only chooses and its candidates are scored one by one."""
        return issubclass(METHODS.load(self.method), Sampler)

    @property
    def inline(self) -> bool:
        """Whether candidates are scored within the search's own job; the estimator says."""
        return self.estimator is not None and ESTIMATORS.load(self.estimator.name).inline

    @property
    def looks_up(self) -> bool:
        """Whether scores are looked up in the task's table."""
        return self.estimator is not None and ESTIMATORS.load(self.estimator.name).looks_up

    @pydantic.model_validator(mode="after")
    def _combination(self) -> MethodArm:
        space = self.space.make()
        if self.samples:
            try:
                METHODS.load(self.method)(space, self.params, seed=0)  # its own check of the space
            except ImportError as error:  # of a library that only it needs
                raise ValueError(str(error)) from error
            if self.budget is None:
                raise ValueError(
                    f"{self.method} goes on for ever: give it `budget: {{samples: N}}` or "
                    "`budget: {same_as: ARM, unit: compute}`"
                )
            if self.estimator is None:
                object.__setattr__(self, "estimator", EstimatorChoice.model_validate("training"))
            if self.looks_up and self.budget.same_as is not None:
                raise ValueError("to look scores up spends nothing: give `budget: {samples: N}`")
        else:
            if self.limits.given():
                raise ValueError(
                    f"{self.method} cannot keep `limits`; remove them, or choose a method that "
                    "samples: " + ", ".join(_samplers())
                )
            given = [f"`{n}`" for n in ("estimator", "budget") if getattr(self, n) is not None]
            if given:
                raise ValueError(
                    f"{self.method} trains a supernet and takes no {' and no '.join(given)}; "
                    "remove that, or choose a method that samples: " + ", ".join(_samplers())
                )
            what = METHODS.load(self.method).needs
            if not _has(type(space), what):
                raise ValueError(
                    f"{self.method} needs a space with {_WHAT[what]}, and {self.space.name} has "
                    f"none; it works on: {', '.join(_spaces_with(what))}"
                )
        return self


class Evaluate(TrainingParams):
    """How every chosen network is trained and scored at the end; the same for all arms."""

    channels: int = pydantic.Field(16, ge=2, multiple_of=2, description="width of the first cells")
    layers: int = pydantic.Field(8, ge=1, description="number of cells")
    seeds: Seeds = (0, 1, 2)
    pick: Literal["each", "best"] = pydantic.Field(
        "each", description="retrain the genotype of each search seed, or of the best-scoring one"
    )


class Compare(StrictParams):
    """Which arm the verdict is about, and the arms it is held against (default: all others)."""

    arm: str
    against: Annotated[tuple[str, ...], pydantic.Field(min_length=1), Different] | None = (
        pydantic.Field(None, alias="with")
    )


class Budget(StrictParams):
    """What the whole plan may spend; running jobs are checkpointed when it is spent."""

    hours: float | None = pydantic.Field(None, gt=0, description="by the clock, each run")


def _arm_kind(value: Any) -> str:
    has = "network" in value if isinstance(value, Mapping) else hasattr(value, "network")
    return "network" if has else "method"


Arm = Annotated[
    Annotated[NetworkArm, pydantic.Tag("network")] | Annotated[MethodArm, pydantic.Tag("method")],
    pydantic.Discriminator(_arm_kind),
]


class Plan(Limited):
    """A study: tasks, arms (each a way to get a network), how to evaluate, what to compare."""

    name: Name
    task: Annotated[tuple[TaskChoice, ...], pydantic.Field(min_length=1), Different]
    arms: dict[Name, Arm] = pydantic.Field(min_length=1)
    evaluate: Evaluate = Evaluate()
    compare: Compare | None = None
    resources: Resources = Resources()
    budget: Budget = Budget()
    store: str | None = pydantic.Field(None, description="folder or s3://bucket/prefix")
    checkpoint_seconds: float = pydantic.Field(
        30.0, ge=0, description="a crash loses at most this much work of a running job"
    )

    @pydantic.field_validator("task", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value]

    @pydantic.model_validator(mode="after")
    def _budgets_and_limits(self) -> Plan:
        for name, arm in self.arms.items():
            if not isinstance(arm, MethodArm):
                continue
            if self.limits.given() and not arm.samples:
                raise ValueError(
                    f"{arm.method} of the arm {name} cannot keep the plan's `limits`; give them "
                    "to the arms that sample, or leave this arm out"
                )
            other = self.arms.get(arm.budget.same_as or "") if arm.budget else None
            if isinstance(other, MethodArm) and other.looks_up:
                raise ValueError(f"{name} cannot be given what looking up scores spends: nothing")
        return self

    def limits_of(self, arm: MethodArm) -> dict[str, float]:
        """Return the limits on an arm's candidates; of two of one name the arm's own holds."""
        return {**self.limits.given(), **arm.limits.given()}

    @pydantic.model_validator(mode="after")
    def _seeds_of_equals(self) -> Plan:
        # An arm that gets another's budget searches as often as that one, unless told otherwise.
        for arm in self.arms.values():
            if isinstance(arm, MethodArm) and arm.seeds is None:
                object.__setattr__(arm, "seeds", self.seeds_of(arm))
        return self

    def seeds_of(self, arm: MethodArm) -> tuple[int, ...]:
        """Return an arm's seeds: its own, else those of the arm whose budget it has, else 0."""
        for _ in self.arms:  # whoever waits longer waits in a circle, which is refused elsewhere
            if arm.seeds is not None:
                return arm.seeds
            other = self.arms.get(arm.budget.same_as or "") if arm.budget else None
            if not isinstance(other, MethodArm):
                break
            arm = other
        return arm.seeds or (0,)


def read_plan(path: str | Path) -> Plan:
    """Read and check a plan.

    Raises:
        PlanError: with every fault and its path.
        UserError: no such file, or it cannot be read.
    """
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise UserError(f"cannot read the plan {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"cannot read the plan {path}: it is not a text file") from None
    return parse_plan(text, str(path))


def parse_plan(text: str, source: str = "the plan") -> Plan:
    """Check the YAML text of a plan. Raises PlanError with every fault and its path."""
    raw = load_yaml(text, source)
    if raw is None:
        raise PlanError(source, [("", "it is empty; a plan needs at least name, task and arms")])
    if not isinstance(raw, dict):
        kind = type(raw).__name__
        raise PlanError(source, [("", f"a plan is a mapping (name:, task:, arms:), not a {kind}")])
    faults = list(reference_faults(raw))
    try:
        plan = Plan.model_validate(raw)
    except pydantic.ValidationError as error:
        faults = validation_faults(error) + faults
    if faults:
        raise PlanError(source, faults)
    return plan


def _samplers() -> list[str]:
    return [name for name in METHODS.names() if issubclass(METHODS.load(name), Sampler)]


# How messages name what a one-shot method needs of a space.
_WHAT = {"supernet": "a supernet", "shared": "shared weights"}


def _has(space: type[SearchSpace], what: str) -> bool:
    return getattr(space, what) is not getattr(SearchSpace, what)


def _spaces_with(what: str) -> list[str]:
    return [name for name in SPACES.names() if _has(SPACES.load(name), what)]
