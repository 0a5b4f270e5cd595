"""Bayesian optimisation: Optuna's samplers choose each decision from what was scored so far.

Akiba, Sano, Yanase, Ohta, Koyama: Optuna, KDD 2019; by default its tree-structured Parzen estimator
(Bergstra, Bardenet, Bengio, Kegl: Algorithms for Hyper-Parameter Optimization, NeurIPS 2011) over
all decisions jointly (as Falkner, Klein, Hutter: BOHB, ICML 2018), on request a Gaussian process,
whose choices take tenths of a second instead of hundredths. Needs the extra ``bayesian``.

Deviations from Optuna used directly:

- Each choice is made by a new sampler of Optuna's, seeded from a generator of this one, so that the
  state is what was asked for and scored, and nothing of Optuna's own.
- A candidate that was asked for before is changed, one random decision after another, until it is
  new: its score would be no news.
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

_CHANGES = 20
_SEEDS = 2**31  # Optuna seeds generators of numpy's, which take 32 bits


@dataclass
class _Trial:
    """A candidate: its decisions, its number in Optuna's study, its score once it is told."""

    decisions: tuple[int, ...]
    number: int
    score: float | None = None


class Bayesian(Sampler):
    """Lets Optuna suggest a categorical parameter for each decision.

    A parameter is a place in the sequence, with its number of options and as many of the decisions
    before it as ``memory`` says: what makes two decisions the same one to the model. What is
    modelled jointly are the parameters that all scored candidates have; others, each on its own.

    Raises:
        MissingExtraError: Optuna is not installed.
    """

    class Params(StrictParams):
        """Which of Optuna's samplers, and how it sees the decisions."""

        sampler: Literal["tpe", "gp"] = pydantic.Field(
            "tpe", description="Parzen estimators or a Gaussian process"
        )
        initial: int = pydantic.Field(10, ge=1, description="random candidates to begin with")
        multivariate: bool = pydantic.Field(
            True, description="of the Parzen estimator: model decisions jointly"
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
        genotype = self._new(self._draw())
        self._add(genotype.key, self.space.encode(genotype), None)
        return genotype

    def tell(self, genotype: Genotype, score: float, costs: Mapping[str, float] = NO_COSTS) -> None:
        for trial in self.trials.get(genotype.key, ()):
            if trial.score is None:
                trial.score = score
                self.study.tell(trial.number, score)
                return
        self._add(genotype.key, self.space.encode(genotype), score)

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
        for key, decisions, score in state["trials"]:
            self._add(key, decisions, None if score is None else float(score))

    def _draw(self) -> Genotype:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is experimental in Optuna, each infinite value
            self.study.sampler = self._sampler()
            trial = self.study.ask()
            decisions: list[int] = []
            while (count := self.space.options(decisions)) > 0:
                name = self._name(decisions, count)
                decisions.append(trial.suggest_categorical(name, list(range(count))))
        # The candidate gets a trial that a state can hold; this one also has what Optuna
        # noted of parameters that the candidate turned out not to have. It ignores failed ones.
        self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)
        return self.space.decode(decisions)

    def _new(self, genotype: Genotype) -> Genotype:
        """Return the candidate if it is a new one, or one near to it that is, if that is found."""
        decisions = self.space.encode(genotype)
        if all(self.space.options(decisions[:place]) == 1 for place in range(len(decisions))):
            return genotype  # the only one there is
        for _ in range(_CHANGES):
            if genotype.key not in self.trials:
                break
            genotype = self.space.mutate(genotype, self.rng)
        return genotype

    def _name(self, decisions: Sequence[int], count: int) -> str:
        last = decisions[max(len(decisions) - self.params.memory, 0) :]
        return " ".join([f"decision {len(decisions)} of {count}", *(f"after {d}" for d in last)])

    def _add(self, key: str, decisions: Sequence[int], score: float | None) -> None:
        """Put a candidate into the study; one without a score waits for it."""
        params, distributions = {}, {}
        for place, decision in enumerate(decisions):
            before = decisions[:place]
            count = self.space.options(before)
            name = self._name(before, count)
            params[name] = decision
            choices = list(range(count))
            distributions[name] = self.optuna.distributions.CategoricalDistribution(choices)
        states = self.optuna.trial.TrialState
        trial = self.optuna.trial.create_trial(
            state=states.RUNNING if score is None else states.COMPLETE,
            value=score,
            params=params,
            distributions=distributions,
        )
        number = len(self.study.get_trials(deepcopy=False))
        self.study.add_trial(trial)
        self.trials.setdefault(key, []).append(_Trial(tuple(decisions), number, score))

    def _study(self) -> Any:
        # Optuna reports to standard error, also what it cannot model jointly, at each candidate.
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        return self.optuna.create_study(direction="maximize")

    def _sampler(self) -> Any:
        seed, samplers = self.rng.randrange(_SEEDS), self.optuna.samplers
        if self.params.sampler == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=self.params.initial)
        return samplers.TPESampler(
            seed=seed,
            n_startup_trials=self.params.initial,
            multivariate=self.params.multivariate,
            constant_liar=True,  # what waits counts as bad, so that many can be asked for at once
        )
