"""Bayesian optimisation: Optuna's samplers choose each decision from what was scored so far.

Akiba, Sano, Yanase, Ohta, Koyama: Optuna, KDD 2019; by default its tree-structured Parzen estimator
(Bergstra, Bardenet, Bengio, Kegl: Algorithms for Hyper-Parameter Optimization, NeurIPS 2011), on
request a Gaussian process. Needs the extra ``bayesian``.

Deviations from Optuna used directly:

- Each choice is made by a new sampler of Optuna's, seeded from a generator of this one, so that the
  state is what was asked for and scored, and nothing of Optuna's own.
- A candidate that was asked for before is drawn again, some times: its score would be no news.
- Candidates that wait for their score count as bad ones with the Parzen estimator (constant liar),
  so that many can be asked for at once.
- Candidates that fail have the value minus infinity instead of being left out.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pydantic

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers import _plain
from searchers._base import NO_COSTS, Sampler, StrictParams
from searchers._extras import require

_REDRAWS = 20
_SEEDS = 2**31  # Optuna seeds generators of numpy's, which take 32 bits


@dataclass
class _Trial:
    """A candidate: its decisions, its number in Optuna's study, its score once it is told."""

    decisions: tuple[int, ...]
    number: int
    score: float | None = None


class Bayesian(Sampler):
    """Lets Optuna suggest one categorical parameter after another.

    A parameter is a place in the sequence, with its number of options and as many of the decisions
    before it as ``memory`` says: what makes two decisions the same one to the model.

    Raises:
        MissingExtraError: Optuna is not installed.
    """

    class Params(StrictParams):
        """Which of Optuna's samplers, and how it sees the decisions."""

        sampler: Literal["tpe", "gp", "random"] = "tpe"
        initial: int = pydantic.Field(10, ge=1, description="random candidates to begin with")
        multivariate: bool = pydantic.Field(
            False, description="of the Parzen estimator: model decisions jointly"
        )
        memory: int = pydantic.Field(
            0, ge=0, description="last decisions that tell parameters apart"
        )

    params: Params
    smoke: ClassVar[dict[str, Any]] = {}

    def __init__(self, space: SearchSpace, params: Params, *, seed: int):
        super().__init__(space, params, seed=seed)
        self.optuna = require("optuna", extra="bayesian", purpose="the search method 'bayesian'")
        self.rng = random.Random(seed)
        self.trials: dict[str, list[_Trial]] = {}  # by key of the genotype
        self.study = self._study()

    def ask(self) -> Genotype:
        # Optuna warns of what is experimental in it, and of each infinite value.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(_REDRAWS):
                genotype, trial = self._draw()
                if genotype.key not in self.trials:
                    break
                failed = self.optuna.trial.TrialState.FAIL  # no candidate: Optuna ignores it now
                self.study.tell(trial.number, state=failed)
            else:
                genotype, trial = self._draw()
        self._remember(genotype, trial)
        return genotype

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        for trial in self.trials.get(genotype.key, ()):
            if trial.score is None:
                trial.score = score
                self.study.tell(trial.number, score)
                return
        told = _Trial(
            self.space.encode(genotype), len(self.study.get_trials(deepcopy=False)), score
        )
        self._add(told)
        self._remember(genotype, told)

    def state_dict(self) -> dict[str, Any]:
        trials = sorted(
            ((trial, key) for key, same in self.trials.items() for trial in same),
            key=lambda pair: pair[0].number,
        )
        return {
            "rng": _plain.of_random(self.rng),
            "trials": [
                [key, list(t.decisions), None if t.score is None else str(t.score)]
                for t, key in trials
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        _plain.to_random(self.rng, state["rng"])
        self.trials, self.study = {}, self._study()
        for number, (key, decisions, score) in enumerate(state["trials"]):
            trial = _Trial(tuple(decisions), number, None if score is None else float(score))
            self._add(trial)
            self.trials.setdefault(key, []).append(trial)

    def _draw(self) -> tuple[Genotype, _Trial]:
        self.study.sampler = self._sampler()
        trial = self.study.ask()
        decisions: list[int] = []
        while (count := self.space.options(decisions)) > 0:
            name = self._name(decisions, count)
            decisions.append(trial.suggest_categorical(name, list(range(count))))
        return self.space.decode(decisions), _Trial(tuple(decisions), trial.number)

    def _remember(self, genotype: Genotype, trial: _Trial) -> None:
        self.trials.setdefault(genotype.key, []).append(trial)

    def _name(self, decisions: Sequence[int], count: int) -> str:
        last = decisions[max(len(decisions) - self.params.memory, 0) :]
        return " ".join([f"decision {len(decisions)} of {count}", *(f"after {d}" for d in last)])

    def _add(self, trial: _Trial) -> None:
        """Put a candidate into the study that it did not ask for itself."""
        params, distributions = {}, {}
        for place, decision in enumerate(trial.decisions):
            before = trial.decisions[:place]
            count = self.space.options(before)
            name = self._name(before, count)
            params[name] = decision
            distributions[name] = self.optuna.distributions.CategoricalDistribution(
                list(range(count))
            )
        states = self.optuna.trial.TrialState
        self.study.add_trial(
            self.optuna.trial.create_trial(
                state=states.RUNNING if trial.score is None else states.COMPLETE,
                value=trial.score,
                params=params,
                distributions=distributions,
            )
        )

    def _study(self) -> Any:
        # Optuna reports to standard error, also what it cannot model jointly, at each candidate.
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        return self.optuna.create_study(direction="maximize")

    def _sampler(self) -> Any:
        seed, samplers = self.rng.randrange(_SEEDS), self.optuna.samplers
        if self.params.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if self.params.sampler == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=self.params.initial)
        return samplers.TPESampler(
            seed=seed,
            n_startup_trials=self.params.initial,
            multivariate=self.params.multivariate,
            constant_liar=True,
        )
