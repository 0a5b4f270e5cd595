"""Random forest: 100 decision trees on the flattened inputs (scikit-learn).

Breiman: Random Forests, Machine Learning 45, 2001. Each split tries the square root of the number
of features, for regression a third of them (Hastie et al., The Elements of Statistical Learning,
section 15.3).

One regression forest serves every kind of output: on rows of zeros and ones, which stand for
classes and labels, the variance it reduces is half the Gini index, so it grows the trees of a
classification forest and its predictions are the probabilities. An example counts as in the task's
loss, where that weights the classes.

A class that no tree votes for would have probability 0 and, where it is the true one, an infinite
log loss. So each class gets the vote of one tree more (Laplace's rule of succession); the order of
the classes stays.

Deviations, which bound time and memory: inputs and dense targets of more than 4,096 positions are
averaged down to that; dense outputs use the square root too; where a tree would take more than
about ten seconds it sees a part of the examples, and where the forest would fill more than 2 GB
its trees have fewer leaves.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from sklearn.ensemble import RandomForestRegressor
from torch import Tensor, nn
from torch.nn import functional

from search_space.baselines._adapt import Pool
from search_space.baselines._batches import training_batches
from search_space.baselines._predictor import Predictor, logits
from search_space.heads import halvings
from search_space.task import Task

TREES = 100  # section 4 of the paper; scikit-learn's default
WORK = 1e9  # of one round, in the unit of `_work`; ten seconds at the slowest that was measured
MEMORY = 2e9  # bytes of the whole forest


class RandomForest(Predictor):
    """A forest that is grown some trees a round; the trees do not depend on the rounds.

    ``rounds`` depends on the size of the data alone: as many as keep one within its bound.
    """

    def __init__(self, task: Task, *, seed: int, threads: int = 1):
        super().__init__(task, seed=seed, threads=threads)
        self._coarse = nn.Sequential(
            *(Pool(nn.AvgPool2d(2)) for _ in range(halvings(task.spatial)))
        )
        self._positions = self._coarse(torch.empty(1, *task.shape, device="meta")).shape[2:]
        features = task.channels * math.prod(self._positions)
        outputs = task.output.size * (math.prod(self._positions) if task.output.dense else 1)
        labels = task.output.loss is functional.binary_cross_entropy_with_logits
        third = not (task.output.of_classes or labels or task.output.dense)
        tried = features / 3 if third else math.sqrt(features)
        examples = len(task.train)
        work = _work(examples, tried, outputs)
        self._trees_a_round = min(TREES, max(1, int(WORK / work)))
        self.rounds = math.ceil(TREES / self._trees_a_round)
        leaves = int(MEMORY / (TREES * 2 * (64 + 8 * outputs)))  # a node's record and its values
        self._forest = RandomForestRegressor(
            n_estimators=0,
            max_features=1 / 3 if third else "sqrt",
            max_leaf_nodes=None if leaves >= examples else max(2, leaves),
            max_samples=WORK / work if work > WORK else None,
            random_state=seed % 2**32,
            warm_start=True,
        )

    def fit_round(self) -> None:
        trees = min(TREES, self._forest.n_estimators + self._trees_a_round)
        self._forest.set_params(n_estimators=trees, n_jobs=self.threads)
        features, targets = self._examples
        self._forest.fit(features, targets, sample_weight=self._weights(targets))

    def predict(self, inputs: Tensor) -> Tensor:
        # With several threads, the order in which trees are summed would be left to chance.
        self._forest.set_params(n_jobs=1)
        outputs = torch.from_numpy(self._forest.predict(self._features(inputs.cpu()))).float()
        if self.task.output.dense:
            maps = outputs.view(len(inputs), self.task.output.size, *self._positions)
            mode = "linear" if len(self._positions) == 1 else "bilinear"
            outputs = functional.interpolate(maps, size=self.task.spatial, mode=mode)
        else:
            outputs = outputs.view(len(inputs), self.task.output.size)
        if self.task.output.of_classes:
            trees, size = self._forest.n_estimators, self.task.output.size
            outputs = logits((trees * outputs + 1) / (trees + size))
        return outputs.to(inputs.device)

    @cached_property
    def _examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Features ``[N, features]`` and targets ``[N]`` or ``[N, outputs]`` to fit."""
        features, rows = [], []
        for inputs, targets in training_batches(self.task):
            features.append(self._features(inputs))
            rows.append(self._coarse(targets) if self.task.output.dense else targets)
        outputs = torch.cat(rows).flatten(1).squeeze(1)
        return np.concatenate(features), outputs.double().numpy()

    def _weights(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the weight of each example in the task's loss; None where all count the same."""
        weights = self.task.output.weights
        return None if weights is None else targets.reshape(len(targets), -1) @ np.array(weights)

    def _features(self, inputs: Tensor) -> np.ndarray:
        return self._coarse(inputs.float()).flatten(1).numpy()


def _work(examples: int, features: float, outputs: int) -> float:
    """Return about how many steps a tree takes; 1e8 to 3e8 a second on one core (measured)."""
    return examples * max(1.0, math.log2(examples)) * features * (10 + outputs)
