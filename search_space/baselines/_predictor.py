"""The contract of a baseline that is not a network: fitted in bounded rounds, then asked."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from search_space.task import Task


class Predictor(abc.ABC):
    """A model that is fitted to a task's training split in ``rounds`` pieces of bounded work.

    It sees what networks see (:meth:`Task.batch`): standardised inputs and targets. The same task,
    seed and number of rounds give the same predictions.

    Args:
        task: what to fit; only its training split may be read.
        seed: of all chance in the fit.
        threads: CPU threads it may use.
    """

    rounds: int = 1

    def __init__(self, task: Task, *, seed: int, threads: int = 1):
        self.task, self.seed, self.threads = task, seed, threads

    @abc.abstractmethod
    def fit_round(self) -> None:
        """Do the next piece of work, at most about half a minute of it."""

    @abc.abstractmethod
    def predict(self, inputs: Tensor) -> Tensor:
        """Return outputs for standardised ``inputs``, as a network's would be given to the metric.

        Shapes: ``[N, size]`` or ``[N, channels, *spatial]``; for classes the values are logits, so
        that their softmax is the probability, for labels scores that grow with probability, for
        regression standardised targets.
        """


def logits(probabilities: Tensor) -> Tensor:
    """Return finite logits whose softmax is ``probabilities`` ``[N, classes]``."""
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()
