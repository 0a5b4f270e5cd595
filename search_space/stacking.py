"""The mapping between the state of a textbook supernet and that of a wave supernet, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from search_space.mixture import edges
from search_space.supernet import Supernet, TextbookSupernet
from search_space.task import Task
from search_space.wave import KNOWN, POOLS, Convolutions, Wave
from search_space.wave_supernet import WaveCell, WaveSupernet


def faster(textbook: TextbookSupernet, task: Task) -> Supernet:
    """Return the same supernet, weights included, as a wave supernet where its operations allow."""
    if not KNOWN.issuperset(textbook.operations):
        return textbook
    with torch.random.fork_rng(devices=[]):  # whatever is drawn next is the same in both forms
        wave = WaveSupernet(task, **textbook.shape)
    to_wave(textbook.state_dict(), wave)
    return wave


class Place(NamedTuple):
    """Where a tensor of the textbook lies in a stacked one: its name and an index into it."""

    textbook: str
    stacked: str
    at: tuple[int | slice, ...]


def to_wave(state: dict[str, Tensor], wave: WaveSupernet) -> None:
    """Load the state dict of a textbook supernet of the same shape into ``wave``.

    The textbook keeps statistics of a pool for each edge, a wave one for each source; they are
    equal unless edges were computed singly, and the last edge's are taken.
    """
    stacked = {name: tensor.clone() for name, tensor in wave.state_dict().items()}
    for name, tensor in state.items():
        if name in stacked:
            stacked[name].copy_(tensor)
    for place in places(wave):
        target = stacked[place.stacked][place.at]
        target.copy_(state[place.textbook].reshape(target.shape))
    wave.load_state_dict(stacked)


def to_textbook(state: dict[str, Tensor], wave: WaveSupernet, textbook: TextbookSupernet) -> None:
    """Load the state dict of ``wave``, or one like it, into a textbook supernet."""
    found = {name: tensor.clone() for name, tensor in textbook.state_dict().items()}
    for name, tensor in found.items():
        if name in state:
            tensor.copy_(state[name])
        elif name.endswith("num_batches_tracked"):
            tensor.copy_(state["stem.1.num_batches_tracked"])
    for place in places(wave):
        target = found[place.textbook]
        target.copy_(state[place.stacked][place.at].reshape(target.shape))
    textbook.load_state_dict(found)


def places(wave: WaveSupernet) -> Iterator[Place]:
    """Yield the place of every tensor that is stacked: all but those of stem and head."""
    for number, cell in enumerate(wave.cells):
        assert isinstance(cell, WaveCell)
        prefix = f"cells.{number}"
        for place in _of_inputs(cell):
            yield Place(f"{prefix}.{place.textbook}", f"{prefix}.{place.stacked}", place.at)
        for row, (node, source) in enumerate(edges(cell.nodes)):
            i, j = (0, source) if source < 2 else (source - 1, 0)
            for column, name in enumerate(cell.operations):
                for place in _of_operation(cell.wave(i), name, node - i, j):
                    yield Place(
                        f"{prefix}.edges.{row}.operations.{column}.{place.textbook}",
                        f"{prefix}.waves.{i}.{place.stacked}",
                        place.at,
                    )


def _of_inputs(cell: WaveCell) -> Iterator[Place]:
    if cell.reduced:
        yield from _of_halving("first.", "halving.", (0, 0))
    else:
        yield Place("first.1.weight", "first", ())
        yield from _of_norm("first.2.", "first_statistics", ())
    yield Place("second.1.weight", "second", ())
    yield from _of_norm("second.2.", "second_statistics", ())


def _of_operation(wave: Wave, name: str, t: int, j: int) -> Iterator[Place]:
    if name in POOLS:
        place = wave.pools.index(POOLS.index(name))
        yield from _of_norm("1.", "pool_statistics", (place, j))
    elif name == "skip_connect" and wave.stride == 2:
        yield from _of_halving("", "halving.", (j, t))
    for group, convolutions in wave.groups():
        if name in convolutions.names:
            k = convolutions.names.index(name)
            yield from _of_convolution(convolutions, f"convolutions.{group}.", t, k, j)


def _of_convolution(
    convolutions: Convolutions, stacked: str, t: int, k: int, j: int
) -> Iterator[Place]:
    # The textbook's operation is a sequence of ReLU, depthwise, pointwise, norm, once or twice.
    for number, (block, name) in enumerate(
        zip(convolutions.blocks, ("first", "second"), strict=False)
    ):
        channels, taps = block.pointwise.shape[-1], block.taps
        rows = slice(j * channels, (j + 1) * channels)
        columns = slice(sum(taps[:k]), sum(taps[: k + 1]))
        prefix = f"{stacked}{name}."
        yield Place(f"{4 * number + 1}.weight", f"{prefix}depthwise", (t, rows, columns))
        yield Place(f"{4 * number + 2}.weight", f"{prefix}pointwise", (t, k, j))
        yield from _of_norm(f"{4 * number + 3}.", f"{prefix}statistics", (t, k, j))


def _of_halving(textbook: str, stacked: str, at: tuple[int, int]) -> Iterator[Place]:
    yield Place(f"{textbook}first.weight", f"{stacked}first", at)
    yield Place(f"{textbook}second.weight", f"{stacked}second", at)
    yield from _of_norm(f"{textbook}norm.", f"{stacked}statistics", at)


def _of_norm(textbook: str, stacked: str, at: tuple[int, ...]) -> Iterator[Place]:
    for name in ("running_mean", "running_var"):
        yield Place(f"{textbook}{name}", f"{stacked}.{name}", at)
