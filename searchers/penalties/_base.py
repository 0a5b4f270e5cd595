"""The contract of a penalty: a term that the architecture's step adds to the validation loss."""

from __future__ import annotations

import abc
from typing import Annotated, Any, Literal

import pydantic
from torch import Tensor

from searchers._base import StrictParams

Strength = Annotated[float, pydantic.Field(gt=0, description="factor of the term")]
Schedule = Literal["constant", "linear"]


class Penalty(abc.ABC):
    """A differentiable scalar of one kind of cell; what makes it small is what the search favours.

    The term of a whole architecture is the mean over its kinds of cell, so that a strength means
    the same for a space of one kind and a space of two.
    """

    class Params(StrictParams):
        """How strong the term is: always the same, or growing in proportion to progress.

        Each penalty has defaults of its own, from its paper.
        """

        strength: Strength
        schedule: Schedule = "constant"

    def __init__(self, params: Any):
        self.params = params

    @abc.abstractmethod
    def value(self, alpha: Tensor, weights: Tensor) -> Tensor:
        """Return the unscaled term, a scalar.

        Args:
            alpha: architecture parameters ``[edges, operations]`` of one kind of cell.
            weights: the weights of operations that the relaxation expects of them, in [0, 1].
        """

    def strength(self, progress: float) -> float:
        """Return the factor of the term when ``progress``, from 0 to 1, of the search is done."""
        linear = self.params.schedule == "linear"
        return self.params.strength * (progress if linear else 1.0)

    def __call__(self, alpha: Tensor, weights: Tensor, progress: float) -> Tensor:
        """Return the scaled term."""
        return self.strength(progress) * self.value(alpha, weights)
