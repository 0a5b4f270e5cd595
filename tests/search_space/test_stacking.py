"""Where the tensors of a textbook supernet lie in a wave supernet, and the way there and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_space.spaces.darts import Darts
from search_space.stacking import faster, places, to_textbook, to_wave
from search_space.supernet import Supernet, TextbookSupernet
from search_space.task import Task
from search_space.wave import KNOWN
from search_space.wave_supernet import WaveSupernet
from twin_supernets import OPERATIONS, Twins

MakeTask = Callable[..., Task]

SIZES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one channel in 2": {"partial": 2, "layers": 5},
    "odd channels": {"channels": 5, "nodes": 3},
    "some operations": {"operations": ("avg_pool_3x3", "dil_conv_5x5", "none", "sep_conv_3x3")},
}


@pytest.fixture(params=SIZES)
def twins(request: pytest.FixtureRequest, make_task: MakeTask) -> Twins:
    return Twins.of(make_task((1, 8, 8)), **SIZES[request.param])


def trained(twins: Twins, supernet: Supernet) -> dict[str, Tensor]:
    """Return the state of a supernet after three steps, in which all of it has changed."""
    optimiser = torch.optim.SGD(supernet.parameters(), lr=0.1)
    inputs, targets = twins.batch()
    for _ in range(3):
        optimiser.zero_grad()
        twins.task.loss(supernet(inputs), targets).backward()
        optimiser.step()
    return copied(supernet)


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def scrambled(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """Fill all of a module with other numbers; returns its state."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))
            else:
                tensor.fill_(7)
    return copied(module)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(t, other[n]) for n, t in one.items())


def of_a_pool(name: str, operations: Sequence[str]) -> bool:
    parts = name.split(".")
    return "operations" in parts and "pool" in operations[int(parts[5])]


def test_a_trained_textbook_comes_back_from_a_wave_as_it_was(twins: Twins) -> None:
    wanted = trained(twins, twins.textbook)
    to_wave(twins.textbook.state_dict(), twins.wave)
    assert same(copied(twins.textbook), wanted)
    scrambled(twins.textbook, 0)
    to_textbook(twins.wave.state_dict(), twins.wave, twins.textbook)
    assert same(copied(twins.textbook), wanted)


def test_any_wave_comes_back_from_a_textbook_as_it_was(twins: Twins) -> None:
    wanted = scrambled(twins.wave, 1)
    to_textbook(twins.wave.state_dict(), twins.wave, twins.textbook)
    assert same(copied(twins.wave), wanted)
    scrambled(twins.wave, 2)
    to_wave(twins.textbook.state_dict(), twins.wave)
    assert same(copied(twins.wave), wanted)


def test_any_textbook_comes_back_but_for_statistics_of_pools(twins: Twins) -> None:
    wanted = scrambled(twins.textbook, 3)
    to_wave(wanted, twins.wave)
    scrambled(twins.textbook, 4)
    to_textbook(twins.wave.state_dict(), twins.wave, twins.textbook)
    operations = twins.wave.operations
    for name, tensor in copied(twins.textbook).items():
        if not of_a_pool(name, operations):
            assert torch.equal(tensor, wanted[name]), name


def test_where_edges_disagree_about_a_pool_the_last_ones_statistics_are_taken(
    make_task: MakeTask,
) -> None:
    twins = Twins.of(make_task((1, 8, 8)), operations=("max_pool_3x3",), nodes=3)
    wanted = scrambled(twins.textbook, 5)
    to_wave(wanted, twins.wave)
    to_textbook(twins.wave.state_dict(), twins.wave, twins.textbook)
    got = copied(twins.textbook)
    # The edges of three nodes start from 0 1, 0 1 2, 0 1 2 3; the last ones are these.
    last = {0: 5, 1: 6, 2: 7, 3: 8}
    for row, source in enumerate([0, 1, 0, 1, 2, 0, 1, 2, 3]):
        for name in ("running_mean", "running_var"):
            place = "cells.1.edges.{}.operations.0.1." + name
            assert torch.equal(got[place.format(row)], wanted[place.format(last[source])])


def test_each_tensor_of_a_textbooks_cells_has_one_place(twins: Twins) -> None:
    counted = Counter(place.textbook for place in places(twins.wave))
    cells = {
        name
        for name in twins.textbook.state_dict()
        if name.startswith("cells.") and not name.endswith("num_batches_tracked")
    }
    assert set(counted) == cells
    assert set(counted.values()) == {1}


def test_each_number_of_a_wave_is_one_of_the_textbooks_or_of_all_edges_of_a_pool(
    twins: Twins,
) -> None:
    state, theirs = twins.wave.state_dict(), twins.textbook.state_dict()
    seen = {name: torch.zeros(t.shape) for name, t in state.items() if name.startswith("cells.")}
    for place in places(twins.wave):
        part = seen[place.stacked][place.at]
        assert part.numel() == theirs[place.textbook].numel()
        part += 1
    for name, times in seen.items():
        if "pool_statistics" in name:
            wave = int(name.split(".")[3])
            assert bool((times == twins.wave.nodes - wave).all()), name
        else:
            assert bool((times == 1).all()), name


def test_stem_and_head_keep_their_names(twins: Twins) -> None:
    ours, theirs = twins.wave.state_dict(), twins.textbook.state_dict()
    for part in ("stem.", "head."):
        names = {name for name in theirs if name.startswith(part)}
        assert names == {name for name in ours if name.startswith(part)} != set()
        assert all(torch.equal(ours[name], theirs[name]) for name in names)


def test_a_state_of_another_shape_is_refused(make_task: MakeTask) -> None:
    task = make_task((1, 8, 8))
    small, large = (Twins.of(task, nodes=1, channels=c) for c in (4, 8))
    with pytest.raises((RuntimeError, KeyError)):
        to_wave(small.textbook.state_dict(), large.wave)
    with pytest.raises((RuntimeError, KeyError)):
        to_textbook(small.wave.state_dict(), large.wave, large.textbook)


@pytest.mark.parametrize("size", [{}, {"partial": 2}], ids=["plain", "one channel in 2"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9)], ids=["2-D", "1-D"])
def test_one_seed_gives_the_same_weights_in_both_forms(
    make_task: MakeTask, shape: tuple[int, ...], size: dict[str, int]
) -> None:
    task, found = make_task(shape), []
    for fast in (True, False):
        torch.manual_seed(3)
        found.append(Darts().supernet(task, channels=4, layers=4, fast=fast, **size))
    wave, textbook = found
    assert isinstance(wave, WaveSupernet)
    assert isinstance(textbook, TextbookSupernet)
    wanted = copied(textbook)
    to_textbook(wave.state_dict(), wave, textbook)
    assert same(copied(textbook), wanted)
    assert (wave.kinds, wave.nodes, wave.channels) == (
        textbook.kinds,
        textbook.nodes,
        textbook.channels,
    )


def test_a_supernet_is_fast_unless_it_is_told_otherwise(make_task: MakeTask) -> None:
    task, size = make_task((1, 8, 8)), {"channels": 4, "layers": 3}
    assert isinstance(Darts().supernet(task, **size), WaveSupernet)
    assert isinstance(Darts().supernet(task, **size, fast=False), TextbookSupernet)


def test_an_operation_that_no_wave_knows_leaves_the_textbook_as_it_is(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search_space.stacking.KNOWN", KNOWN - {"dil_conv_5x5"})
    task = make_task((1, 8, 8))
    textbook = Darts().supernet(task, channels=4, layers=3, fast=False)
    assert isinstance(textbook, TextbookSupernet)
    assert faster(textbook, task) is textbook
    assert isinstance(Darts().supernet(task, channels=4, layers=3), TextbookSupernet)
    others = Darts(operations=("none", "skip_connect", "sep_conv_5x5"))
    assert isinstance(others.supernet(task, channels=4, layers=3), WaveSupernet)


def test_a_wave_knows_all_operations_of_the_darts_space() -> None:
    assert set(OPERATIONS) <= KNOWN


def test_the_published_wave_has_as_many_weights_as_the_published_code_prints(
    make_task: MakeTask,
) -> None:
    # quark0/darts, train_search.py for CIFAR-10: "param size = 1.930618MB".
    task = make_task((3, 32, 32), "classes", n=10, size=10)
    wave = Darts().supernet(task, channels=16, layers=8)
    assert isinstance(wave, WaveSupernet)
    assert sum(p.numel() for p in wave.parameters()) == 1_930_618


@pytest.mark.parametrize("partial", [1, 2])
def test_both_forms_have_as_many_weights(make_task: MakeTask, partial: int) -> None:
    task, size = make_task((2, 9)), {"channels": 6, "layers": 5, "partial": partial}
    forms = [Darts().supernet(task, **size, fast=fast) for fast in (True, False)]
    ours, theirs = (sum(p.numel() for p in form.parameters()) for form in forms)
    assert ours == theirs


def test_channels_that_cannot_be_divided_are_refused(make_task: MakeTask) -> None:
    with pytest.raises(ValueError, match="partial is 3; it must divide the 4 channels"):
        Darts().supernet(make_task((1, 8, 8)), channels=4, layers=3, partial=3)


def test_new_weights_are_drawn_from_torchs_generator_within_one_over_the_root_of_inputs(
    make_task: MakeTask,
) -> None:
    task = make_task((1, 8, 8))
    twins = Twins.of(task, channels=8)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        supernet = faster(TextbookSupernet(task, **twins.wave.shape), task)
        cells = supernet.cells.named_parameters(prefix="cells")
        drawn.append({name: p.detach().clone() for name, p in cells})
    assert same(drawn[0], drawn[1])
    assert not any(torch.equal(t, drawn[2][name]) for name, t in drawn[0].items())
    found = twins.as_textbook(drawn[0])
    assert found.keys() == {name for name, _ in twins.textbook.cells.named_parameters("cells")}
    for weight in found.values():
        bound = weight[0].numel() ** -0.5
        assert 0.5 * bound < float(weight.abs().max()) <= bound * (1 + 1e-6)
