"""Tasks: what a network must fit - shapes, output kind, loss, metric, and three splits of data."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from search_space.augmentation import Augmentation
from search_space.log_loss import WeightedCrossEntropy, weighted_log_loss
from search_space.metric import ACCURACY, MEAN_AUROC, R2, Metric
from search_space.table import Table

Loss = Callable[[Tensor, Tensor], Tensor]


class DataError(ValueError):
    """Data that cannot be used; the message names what was given, where, and what is allowed."""


@dataclass(frozen=True)
class Output:
    """What a network puts out. Use one of the kinds below.

    Args:
        size: number of output values (channels where ``dense``).
        dense: a value for each position of the input instead of one for the whole input.
        loss: mean loss over a batch of (outputs, targets); both as the network sees them.
        metric: what results are compared by, computed over a whole split.
        also: further metrics to record; nothing is chosen or compared by them.
    """

    size: int
    dense: bool
    loss: Loss
    metric: Metric
    also: tuple[Metric, ...] = ()

    @property
    def of_classes(self) -> bool:
        """Whether targets are class numbers ``[N]``; outputs are then logits ``[N, size]``."""
        return self.loss is functional.cross_entropy or self.weights is not None

    @property
    def weights(self) -> tuple[float, ...] | None:
        """What an example of each class counts in the loss; None where all count the same."""
        return self.loss.weights if isinstance(self.loss, WeightedCrossEntropy) else None


def classes(n: int) -> Output:
    """One of ``n`` classes; targets are ``[N]`` integers from 0 to n - 1."""
    return Output(n, False, functional.cross_entropy, ACCURACY)


def weighted_classes(importance: Sequence[float], targets: Tensor) -> Output:
    """One of several classes, which count by their ``importance`` and not by their frequency.

    Args:
        importance: of each class, in the metric, a log loss.
        targets: class numbers ``[N]`` of the training split; the loss is the metric on it.
    """
    loss = WeightedCrossEntropy.of(importance, targets)
    return Output(len(importance), False, loss, weighted_log_loss(importance), (ACCURACY,))


def multilabel(n: int) -> Output:
    """Any of ``n`` labels; targets are ``[N, n]`` zeros and ones."""
    return Output(n, False, functional.binary_cross_entropy_with_logits, MEAN_AUROC)


def regression(n: int = 1) -> Output:
    """``n`` real numbers; targets are ``[N, n]``, standardised by the task for training."""
    return Output(n, False, functional.mse_loss, R2)


def dense(channels: int = 1) -> Output:
    """``channels`` real numbers at each position; targets are ``[N, channels, *spatial]``."""
    return Output(channels, True, functional.mse_loss, R2)


@dataclass(frozen=True)
class Split:
    """Examples: ``inputs`` ``[N, C, L]`` or ``[N, C, H, W]`` and ``targets``, one row each.

    Inputs may be of any numeric type; they become float32 and are standardised batch by batch on
    the device they lie on.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> Split:
        """Return the split with its tensors on ``device``."""
        return Split(self.inputs.to(device), self.targets.to(device))

    def rows(self, indices: Tensor) -> Split:
        """Return the examples at ``indices``."""
        return Split(self.inputs[indices], self.targets[indices])


@dataclass(frozen=True)
class Scale:
    """Subtract ``mean`` and divide by ``deviation``, one value for each channel (dimension 1)."""

    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)

    @classmethod
    def of(cls, values: Tensor) -> Scale:
        """Measure the statistics of ``[N, channels, ...]``; a constant one keeps 1."""
        axes = [axis for axis in range(values.dim()) if axis != 1]
        count = values.numel() / values.shape[1]
        # In pieces: a copy of everything in float64 would be eight times the size of images.
        pieces = values.split(4096)
        mean = sum(piece.double().sum(axes) for piece in pieces) / count
        around = mean.view(1, -1, *[1] * (values.dim() - 2))
        variance = sum((piece.double() - around).square().sum(axes) for piece in pieces) / count
        varies = values.amax(axes) > values.amin(axes)
        deviation = torch.where(varies, variance.sqrt(), torch.ones_like(variance))
        return cls(tuple(mean.tolist()), tuple(deviation.tolist()))

    def apply(self, values: Tensor) -> Tensor:
        """Standardise ``[N, channels, ...]``."""
        mean, deviation = self._like(values)
        return (values - mean) / deviation

    def undo(self, values: Tensor) -> Tensor:
        """Return standardised values to the original unit."""
        mean, deviation = self._like(values)
        return values * deviation + mean

    def _like(self, values: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1) + (1,) * (values.dim() - 2)
        mean = torch.tensor(self.mean, dtype=values.dtype, device=values.device)
        deviation = torch.tensor(self.deviation, dtype=values.dtype, device=values.device)
        return mean.view(shape), deviation.view(shape)


@dataclass(frozen=True)
class Task:
    """What a network must fit. Frozen; :meth:`of` makes one and checks the data.

    Args:
        name: entry of the tasks shelf, with its parameters where they change the data.
        shape: of one input, ``(channels, length)`` or ``(channels, height, width)``.
        output: kind of output.
        train, valid, test: the splits. ``test`` is None in the hands of search code.
        input_scale, target_scale: statistics of the training split only.
        augmentation: symmetries of the data, applied to batches of training inputs.
        table: published results to look up in place of examples, of which there are none then.
    """

    name: str
    shape: tuple[int, ...]
    output: Output
    train: Split
    valid: Split
    test: Split | None
    input_scale: Scale = field(default_factory=Scale)
    target_scale: Scale = field(default_factory=Scale)
    augmentation: tuple[Augmentation, ...] = ()
    table: Table | None = None

    @classmethod
    def of(
        cls,
        name: str,
        output: Output,
        train: Split,
        valid: Split,
        test: Split,
        augmentation: tuple[Augmentation, ...] = (),
    ) -> Task:
        """Check three splits and measure the statistics of the training split.

        Raises:
            DataError: no examples, shapes that differ, NaN or infinite values, class numbers out
                of range, or targets of the wrong shape; names the split and the row.
        """
        shape = tuple(train.inputs.shape[1:])
        if len(shape) not in (2, 3):
            raise DataError(
                f"{name}: inputs must be [N, C, L] or [N, C, H, W], not {list(train.inputs.shape)}"
            )
        for part, split in (("train", train), ("valid", valid), ("test", test)):
            _check(f"{name}, {part} split", shape, output, split)
        real = output.loss in (functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss)
        return cls(
            name=name,
            shape=shape,
            output=output,
            train=train,
            valid=valid,
            test=test,
            input_scale=Scale.of(train.inputs),
            target_scale=Scale.of(train.targets) if real else Scale(),
            augmentation=augmentation,
        )

    @classmethod
    def tabulated(cls, name: str, shape: tuple[int, ...], output: Output, table: Table) -> Task:
        """Return a task whose results are looked up; networks of it can be built, not trained."""
        none = Split(torch.empty(0, *shape), torch.empty(0, dtype=torch.long))
        return cls(name, shape, output, train=none, valid=none, test=none, table=table)

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return self.shape[0]

    @property
    def spatial(self) -> tuple[int, ...]:
        """``(length,)`` or ``(height, width)``."""
        return self.shape[1:]

    @property
    def metric(self) -> Metric:
        """What results on this task are compared by."""
        return self.output.metric

    def without_test(self) -> Task:
        """Return the task as search code may see it."""
        table = None if self.table is None else self.table.without_report()
        return dataclasses.replace(self, test=None, table=table)

    def to(self, device: torch.device) -> Task:
        """Return the task with its splits on ``device``."""
        test = None if self.test is None else self.test.to(device)
        return dataclasses.replace(
            self, train=self.train.to(device), valid=self.valid.to(device), test=test
        )

    def batch(
        self, split: Split, indices: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return standardised float inputs and targets as the loss wants them.

        With a ``generator`` the inputs are augmented, before they are standardised: what a shift
        brings in is the zero of the data, such as black, and not the mean.
        """
        rows = split.rows(indices)
        inputs = rows.inputs.float()
        if generator is not None:
            for augment in self.augmentation:
                inputs = augment(inputs, generator)
        return self.input_scale.apply(inputs), self.targets(rows)

    def targets(self, split: Split) -> Tensor:
        """Return the targets of ``split`` as the loss wants them: standardised unless classes."""
        if split.targets.dim() == 1:
            return split.targets
        return self.target_scale.apply(split.targets.float())

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        return self.output.loss(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the metric over a whole split, in the original unit of the targets.

        Args:
            outputs: ``[N, size]`` or ``[N, channels, *spatial]``, as the network gave them.
            targets: as :meth:`batch` gave them.
        """
        return self.metric.compute(*self._in_unit(outputs, targets))

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return every metric by name; the one that :meth:`score` returns comes last."""
        given = self._in_unit(outputs, targets)
        return {m.name: m.compute(*given) for m in (*self.output.also, self.metric)}

    def _in_unit(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if targets.dim() == 1:
            return outputs, targets
        return self.target_scale.undo(outputs), self.target_scale.undo(targets)

    def fingerprint(self) -> str:
        """Digest of what can change a result: data, splits, kind of output, symmetries."""
        sha = hashlib.sha256()
        about = (self.name, self.shape, self.output.size, self.output.dense, self.metric.name)
        sha.update(repr((about, self.augmentation)).encode())
        if self.output.weights is not None:
            sha.update(repr(self.output.weights).encode())
        for split in (self.train, self.valid, self.test):
            for tensor in () if split is None else (split.inputs, split.targets):
                sha.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
                sha.update(tensor.contiguous().cpu().numpy().tobytes())
        if self.table is not None:
            sha.update(self.table.digest())
        return sha.hexdigest()[:16]


def _check(where: str, shape: tuple[int, ...], output: Output, split: Split) -> None:
    inputs, targets = split.inputs, split.targets
    if len(inputs) == 0:
        raise DataError(f"{where}: no examples")
    if len(inputs) != len(targets):
        raise DataError(f"{where}: {len(inputs)} inputs and {len(targets)} targets")
    if tuple(inputs.shape[1:]) != shape:
        raise DataError(f"{where}: inputs are {list(inputs.shape[1:])}; the others {list(shape)}")
    for what, tensor in (("input", inputs), ("target", targets)):
        if tensor.is_floating_point():
            bad = ~torch.isfinite(tensor).flatten(1 if tensor.dim() > 1 else 0)
            rows = (bad.any(1) if bad.dim() > 1 else bad).nonzero().flatten()
            if len(rows):
                raise DataError(
                    f"{where}: {len(rows)} {what} rows hold NaN or infinity, "
                    f"the first is row {int(rows[0])}; remove or fill them"
                )
    if output.of_classes:
        if targets.dim() != 1 or targets.is_floating_point():
            raise DataError(f"{where}: classes must be [N] integers, not {list(targets.shape)}")
        outside = ((targets < 0) | (targets >= output.size)).nonzero().flatten()
        if len(outside):
            row = int(outside[0])
            raise DataError(
                f"{where}: row {row} has class {int(targets[row])}; allowed: 0 to {output.size - 1}"
            )
        return
    if output.metric is MEAN_AUROC and not ((targets == 0) | (targets == 1)).all():
        raise DataError(f"{where}: labels must be 0 or 1")
    wanted = (output.size, *(shape[1:] if output.dense else ()))
    if tuple(targets.shape[1:]) != wanted:
        raise DataError(
            f"{where}: targets are {list(targets.shape[1:])}; this output wants {list(wanted)}"
        )
