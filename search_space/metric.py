"""Metrics: what results on a task are compared by, computed over a whole split at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A number that says how well outputs fit targets.

    Args:
        name: as it stands in tables.
        higher_is_better: the direction.
        compute: takes all outputs and all targets of a split, in the targets' own unit. Never
            averaged over batches: a mean of batch-wise R2 explodes where a batch hardly varies.
        unit: of the number, empty for a plain one.
    """

    name: str
    higher_is_better: bool
    compute: Callable[[Tensor, Tensor], float]
    unit: str = ""

    def better(self, a: float, b: float) -> bool:
        """Whether ``a`` is better than ``b``; a NaN is never better."""
        return a > b if self.higher_is_better else a < b

    @property
    def worst(self) -> float:
        """A value that any result is better than."""
        return float("-inf") if self.higher_is_better else float("inf")


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of rows whose largest output ``[N, classes]`` is the target class ``[N]``.

    NaN where an output is not finite: the largest of those would be class 0.
    """
    if not torch.isfinite(outputs).all():
        return float("nan")
    return float((outputs.argmax(dim=1) == targets).double().mean())


def r2(outputs: Tensor, targets: Tensor) -> float:
    """Coefficient of determination, the mean over columns of ``1 - residual / total``.

    Dense targets count each channel as one column. A column that does not vary has no R2 and is
    left out; where none varies the result is NaN.
    """
    y = targets.double().transpose(0, 1).flatten(1)
    error = y - outputs.double().transpose(0, 1).flatten(1)
    total = (y - y.mean(dim=1, keepdim=True)).square().sum(dim=1)
    # A constant column leaves rounding noise about its mean, not zero.
    varies = y.amax(dim=1) > y.amin(dim=1)
    return float((1 - error.square().sum(dim=1)[varies] / total[varies]).mean())


def mean_auroc(outputs: Tensor, targets: Tensor) -> float:
    """Area under the ROC curve, the mean over labels ``[N, labels]`` that have both outcomes."""
    from sklearn.metrics import roc_auc_score  # slow to import, and needed at an epoch's end only

    labels = [i for i in range(targets.shape[1]) if 0 < targets[:, i].float().mean() < 1]
    if not labels or not torch.isfinite(outputs).all():
        return float("nan")
    scores = outputs[:, labels].double().cpu().numpy()
    return float(roc_auc_score(targets[:, labels].cpu().numpy(), scores, average="macro"))


ACCURACY = Metric("accuracy", True, accuracy)
R2 = Metric("R2", True, r2)
MEAN_AUROC = Metric("mean AUROC", True, mean_auroc)
