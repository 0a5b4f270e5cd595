"""Constant: predicts the same for every input, and so says what the floor of a task's metric is.

It says the mean of the training targets: the share of each class, the share of each label, the
mean of each target, and for dense outputs the mean at each position. A result that is no better
has learned nothing from the inputs. Its accuracy is the share of the class that is most frequent
in training; its AUROC is 0.5; its R2 is 0, or somewhat less where the other splits have another
mean, or more where dense targets depend on the position alone.

Where the loss weights the classes, so does the mean: no constant has a smaller loss. Its weighted
log loss is the entropy of the classes' importance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from search_space.baselines._batches import training_batches
from search_space.baselines._predictor import Predictor, logits


class Constant(Predictor):
    """The mean of the training targets, fitted in one round."""

    def fit_round(self) -> None:
        total = sum(targets.double().sum(0) for _, targets in training_batches(self.task))
        assert isinstance(total, Tensor)  # a task has at least one example
        mean = total / len(self.task.train)
        if self.task.output.weights is not None:
            mean *= mean.new_tensor(self.task.output.weights)  # their mean over the examples is 1
        self._mean = mean.float()

    def predict(self, inputs: Tensor) -> Tensor:
        mean = torch.stack([self._mean.to(inputs.device)])
        outputs = logits(mean) if self.task.output.of_classes else mean
        return outputs.repeat_interleave(len(inputs), dim=0)
