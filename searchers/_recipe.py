"""The parameters of the DARTS family, and what goes together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import torch

from search_space.space import SearchSpace
from search_space.task import Task
from searchers import _adaptation as adaptation
from searchers._alternation import Order
from searchers._base import StrictParams
from searchers._choice import Choice, FromShelf
from searchers._prices import Shape, example_bytes
from searchers.penalties import PENALTIES, Penalty
from searchers.relaxations import RELAXATIONS, Relaxation
from searchers.selections import SELECTIONS, Selection
from searchers.stopping import STOPPING, Stopping

R = TypeVar("R", bound="Recipe")


class Depth(StrictParams):
    """A stage: how deep the supernet is, and how many operations of each edge it begins with."""

    layers: int = pydantic.Field(ge=1)
    keep: int | None = pydantic.Field(None, ge=1, description="all where it is left out")


def _selection(given: Mapping[str, Any]) -> str:
    """Return the selection of a recipe without one: ``prune``, but not beside its rivals.

    Sampled relaxations and partial channels leave nothing to prune; stages shrink the supernet
    themselves; a stopping rule says when a whole supernet is to be derived.
    """
    relaxation, stopping = given.get("relaxation"), given.get("stopping")
    rivals = (
        relaxation is not None and RELAXATIONS.load(relaxation.name).sampled,
        stopping is not None and stopping.name != "fixed",
        given.get("stages") is not None,
        given.get("partial") != 1,
        given.get("epochs") == 1,
    )
    return "argmax" if any(rivals) else "prune"


class Recipe(StrictParams):
    """How a search of the DARTS family runs; what is left out or null adapts to the task."""

    relaxation: Annotated[Choice[Relaxation], FromShelf(RELAXATIONS)] = pydantic.Field(
        "softmax",
        validate_default=True,
        description="from architecture parameters to weights of operations",
    )
    penalty: Annotated[Choice[Penalty] | None, FromShelf(PENALTIES)] = pydantic.Field(
        None, description="a term on the architecture beside the validation loss"
    )
    partial: int = pydantic.Field(1, ge=1, description="one channel of so many is mixed")
    stopping: Annotated[Choice[Stopping], FromShelf(STOPPING)] = pydantic.Field(
        "fixed", validate_default=True, description="when the search ends"
    )
    stages: tuple[Depth, ...] | None = pydantic.Field(
        None, min_length=1, description="deeper and deeper, with fewer operations"
    )
    order: Literal[1, 2] = pydantic.Field(1, description="of the architecture's gradient")
    second_order: Literal["finite_difference", "exact"] = "finite_difference"
    warmup: float = pydantic.Field(0.0, ge=0, lt=1, description="share of epochs for weights only")
    steps: int = pydantic.Field(2000, ge=1, description="of the weights, which make the epochs")
    epochs: int | None = pydantic.Field(None, ge=1)
    selection: Annotated[Choice[Selection], FromShelf(SELECTIONS)] = pydantic.Field(
        default_factory=_selection,
        validate_default=True,
        description="from the supernet to an architecture",
    )
    channels: int = pydantic.Field(8, ge=2, multiple_of=2)
    layers: int = pydantic.Field(5, ge=1, description="where there are no stages")
    batch_size: int | None = pydantic.Field(None, ge=2)
    memory_gb: float = pydantic.Field(4.0, gt=0, description="that a step may take, by estimate")
    checkpointing: bool = pydantic.Field(
        False, description="keep no maps within cells: less memory, one more forward pass"
    )
    learning_rate: float | None = pydantic.Field(None, gt=0)
    learning_rate_min: float = pydantic.Field(0.001, ge=0, description="end of the cosine")
    momentum: float = pydantic.Field(0.9, ge=0, lt=1)
    weight_decay: float = pydantic.Field(3e-4, ge=0)
    clip: float = pydantic.Field(5.0, gt=0, description="largest norm of the gradient")
    loss_scale: float | None = pydantic.Field(None, gt=0, description="what losses are divided by")
    architecture_learning_rate: float | None = pydantic.Field(None, gt=0)
    architecture_weight_decay: float = pydantic.Field(1e-3, ge=0)
    train_portion: float = pydantic.Field(0.5, gt=0, lt=1, description="share for the weights")
    watchdog: bool = pydantic.Field(True, description="derive and measure after every epoch")

    @pydantic.model_validator(mode="after")
    def _combination(self) -> Recipe:
        faults = list(_faults(self))
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def gradient(self) -> Order:
        """The order of the architecture's gradient, with the form of the second."""
        return "first" if self.order == 1 else self.second_order

    @property
    def depths(self) -> tuple[Depth, ...]:
        """The stages; one of ``layers`` where none are given."""
        return self.stages or (Depth(layers=self.layers),)


def _faults(recipe: Recipe) -> Iterator[str]:
    """Yield what has no meaning together."""
    if recipe.channels % recipe.partial:
        yield f"partial is {recipe.partial}; it must divide the {recipe.channels} channels"
    relaxation = recipe.relaxation
    if RELAXATIONS.load(relaxation.name).sampled:
        mixed = [n for n in RELAXATIONS.names() if not RELAXATIONS.load(n).sampled]
        for shelf, choice in ((SELECTIONS, recipe.selection), (STOPPING, recipe.stopping)):
            if shelf.load(choice.name).mixed:
                yield (
                    f"the {shelf.kind} {choice.name} asks a supernet that was trained on mixtures, "
                    f"and {relaxation.name} trains single operations; "
                    f"take one of {', '.join(mixed)}, or another {shelf.kind}"
                )
    selection = recipe.selection.name
    if SELECTIONS.load(selection).whole and recipe.partial > 1:
        yield (
            f"the selection {selection} ends in the discrete network itself, which has no channels "
            "that go round its operations; take partial: 1, or another selection"
        )
    if recipe.epochs == 1 and SELECTIONS.load(selection).whole:
        yield f"the selection {selection} needs two epochs at least, one to search and one to prune"
    yield from _stage_faults(recipe)


def _stage_faults(recipe: Recipe) -> Iterator[str]:
    if recipe.stages is None:
        return
    if recipe.epochs is not None and recipe.epochs < len(recipe.stages):
        yield f"{recipe.epochs} epochs are too few for {len(recipe.stages)} stages"
    kept = [stage.keep for stage in recipe.stages]
    if kept[0] is not None:
        yield "the first stage has nothing to choose by; remove its `keep`"
    known = [keep for keep in kept if keep is not None]
    if known != sorted(known, reverse=True):
        yield f"a later stage cannot keep more operations than an earlier one: {known}"


def completed(recipe: R, space: SearchSpace, task: Task, examples: int) -> R:
    """Return ``recipe`` with what adapts filled in but for the learning rate.

    Args:
        recipe: as the plan has it.
        space, task: of the search.
        examples: that the weights are trained on.
    """
    size = recipe.batch_size or adaptation.batch_size(
        examples, _bytes_each(recipe, space, task), recipe.memory_gb
    )
    batches = max(1, examples // size)
    epochs = recipe.epochs or adaptation.epochs(recipe.steps, batches)
    learning = epochs - recipe.selection.make().settled(epochs)
    rate = recipe.architecture_learning_rate or adaptation.architecture_rate(learning * batches)
    return recipe.model_copy(
        update={
            "batch_size": size,
            "epochs": epochs,
            "architecture_learning_rate": rate,
            "loss_scale": recipe.loss_scale or adaptation.loss_scale(task),
        }
    )


def _bytes_each(recipe: Recipe, space: SearchSpace, task: Task) -> float:
    """Return what a step needs for each example of a batch in the largest of the stages."""
    with torch.device("meta"):
        network = space.supernet(task, channels=recipe.channels, layers=1)
    each, count = [], len(network.operations)
    for depth in recipe.depths:
        count = min(count, depth.keep or count)
        # What remains is as large as the average operation.
        part = count / len(network.operations)
        shape = Shape(
            network.operations, network.nodes, recipe.channels, depth.layers, recipe.partial
        )
        each.append(part * example_bytes(task, shape, twice=recipe.gradient == "exact"))
    return max(each)
