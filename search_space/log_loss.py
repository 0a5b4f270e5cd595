"""Log loss of classes that count by their importance, not by how many examples they have.

    ``-sum_k w_k mean_{i in k} ln p_ik / sum_k w_k``

over the classes ``k`` that occur, with ``p_ik`` the probability that is given to the true class of
example ``i`` and ``w_k`` the class's importance. So a rare class weighs as much as a frequent one.
The metric of the PLAsTiCC challenge (The PLAsTiCC team, arXiv 1810.00001; Malz et al., arXiv
1809.11145). Guessing evenly among ``n`` classes gives ``ln n``, whatever the importance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from search_space.metric import Metric

CLIP = 1e-15  # a probability counts as at least this, and as at most one less this


@dataclass(frozen=True)
class WeightedCrossEntropy:
    """Mean over a batch of cross entropies, each times the weight of the example's class.

    It is not divided by the weights that a batch happens to hold, so the mean over batches is an
    unbiased estimate of the loss over all.

    Args:
        weights: of each class.
    """

    weights: tuple[float, ...]

    @classmethod
    def of(cls, importance: Sequence[float], targets: Tensor) -> WeightedCrossEntropy:
        """Return the loss that is the weighted log loss on the examples of ``targets``.

        A weight is ``importance / count`` of the class, times what makes their mean over the
        examples 1. A class that does not occur has weight 0.
        """
        counts = torch.bincount(targets, minlength=len(importance)).tolist()
        present = sum(w for w, n in zip(importance, counts, strict=True) if n)
        return cls(
            tuple(
                w * len(targets) / (n * present) if n else 0.0
                for w, n in zip(importance, counts, strict=True)
            )
        )

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of logits ``[N, classes]`` and class numbers ``[N]``."""
        weights = outputs.new_tensor(self.weights)
        total = functional.cross_entropy(outputs, targets, weight=weights, reduction="sum")
        return total / len(targets)


@dataclass(frozen=True)
class _WeightedLogLoss:
    importance: tuple[float, ...]

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        if not torch.isfinite(outputs).all():
            return float("nan")
        probabilities = outputs.double().softmax(dim=1).clamp(CLIP, 1 - CLIP)
        losses = -probabilities.gather(1, targets.view(-1, 1)).flatten().log()
        size = len(self.importance)
        counts = torch.bincount(targets, minlength=size)
        means = torch.bincount(targets, losses, minlength=size) / counts.clamp(min=1)
        weights = torch.tensor(self.importance, dtype=torch.float64).to(outputs.device)
        weights = weights * (counts > 0)
        return float((weights * means).sum() / weights.sum())


def weighted_log_loss(importance: Sequence[float]) -> Metric:
    """Return the metric for classes of this ``importance``; lower is better.

    Outputs are logits ``[N, classes]``, the probabilities their softmax, clipped to
    [1e-15, 1 - 1e-15]. A class without examples drops out of both sums. NaN where an output is not
    finite.
    """
    return Metric("weighted log loss", False, _WeightedLogLoss(tuple(importance)))
