"""How Tune sees the driver: what to run next, when to pause, when to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

if TYPE_CHECKING:
    from orchestrator.driver import Driver


class _Attached:
    """Holds the driver, and leaves it out where Tune pickles its settings, which we never read."""

    driver: Driver

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "driver"}

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class ReadyJobs(_Attached, Searcher):
    """Tune's view of the study: hands out whichever job is ready."""

    def __init__(self, driver: Driver):
        super().__init__()
        self.driver = driver
        self.keys: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        config = self.driver.next_trial()
        if config is None:
            over = self.driver.progress.stopping or self.driver.study.finished
            return Searcher.FINISHED if over else None
        self.keys[trial_id] = config["key"]
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.driver.watch(self.keys[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if not error:  # Witness has the text of an error
            self.driver.end(self.keys[trial_id], result or {})

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: a new driver learns all it needs from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore; see :meth:`save`."""


class Witness(_Attached, tune.Callback):
    """Records jobs whose process died more often than it may, and sees when all trials rest."""

    def __init__(self, driver: Driver):
        self.driver = driver

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        if self.driver.progress.stopping:
            self.driver.progress.at_rest = all(trial.status != "RUNNING" for trial in trials)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        key = trial.config["key"]
        watched = self.driver.progress.running.get(key)
        seconds = watched.seconds if watched else 0.0
        detail = str(trial.get_error() or "the process died")
        self.driver.end(key, {"outcome": "lost", "detail": detail, "job_seconds": seconds})


class StopInOrder(_Attached, FIFOScheduler):
    """First come, first served; when the run is being stopped, a trial is saved and paused.

    Tune gives an actor that falls free to the trial chosen here and kills the one that it is
    starting for that trial. An actor takes seconds to import torch; with short jobs it would be
    killed before it is ready, again and again, and its slot stay idle. So each trial is chosen
    once, before it has an actor; one that an actor is starting for is left to wait for it.
    """

    def __init__(self, driver: Driver):
        super().__init__()
        self.driver = driver
        self.chosen: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if self.driver.progress.stopping:
            return TrialScheduler.PAUSE
        return TrialScheduler.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        if self.driver.progress.stopping:
            return None
        for trial in tune_controller.get_live_trials():
            if trial.status == "PENDING" and trial.trial_id not in self.chosen:
                self.chosen.add(trial.trial_id)
                return trial
        return None


class WhenAllIsSaved(_Attached, tune.Stopper):
    """Ends the experiment when the run is being stopped and no trial is running any more."""

    def __init__(self, driver: Driver):
        self.driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.driver.progress.at_rest
