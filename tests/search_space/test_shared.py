"""Shared weights: at any genotype the stand-alone network, and nothing else is computed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from search_space.mixture import Mixture, of_cell
from search_space.network import CellModule, CellNetwork
from search_space.shared import AnyMaps, SharedWeights, SupernetPaths
from search_space.shared_cells import SharedCell, SharedCells
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.spaces._enas_macro_network import EnasMacroNetwork, MacroLayer
from search_space.spaces._enas_macro_shared import SharedLayers
from search_space.spaces._nasbench201_network import SummingCell
from search_space.spaces._nasbench201_shared import SharedSummingCell, SharedSummingCells
from search_space.task import Task

MakeTask = Callable[..., Task]

SHARING = [name for name in SPACES.names() if SPACES.load(name).shared is not SearchSpace.shared]
SIZE = {"channels": 4, "layers": 5}
SHAPES = ((2, 17), (1, 9, 12))


def sample(space: SearchSpace, n: int) -> list:
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(n)]


Pair = tuple[nn.Module, nn.Module]


def cell_pairs(shared: SharedCell, alone: CellModule, chosen: list) -> Iterator[Pair | tuple]:
    yield shared.first, alone.first, chosen[0]
    yield shared.second, alone.second, chosen[1]
    edges = iter(alone.edges)
    for node, pair in enumerate(alone.cell.nodes):
        for edge in pair:
            yield shared.edges[f"{node}_{edge.source}_{edge.operation}"], next(edges)
        if node in alone.cell.joined:
            yield shared.joins[node], alone.joins[str(node)]
    for place, state in enumerate(alone.cell.concat):
        if isinstance(alone.outputs[place], nn.Identity):
            continue
        yield shared.outputs[state], alone.outputs[place]


def pairs(shared: SharedWeights, alone: nn.Module) -> Iterator[tuple]:
    """Yield each module of a stand-alone network with what stands for it in the shared one.

    With the maps that it takes, where it can take any.
    """
    if isinstance(shared, SharedCells):
        assert isinstance(alone, CellNetwork)
        yield shared.stem, alone.stem
        chosen = [(0,), (0,)]
        for mine, its in zip(shared.cells, alone.cells, strict=True):
            yield from cell_pairs(mine, its, chosen)
            chosen = [chosen[1], its.cell.concat]
        yield shared.head, alone.head, chosen[1]
    elif isinstance(shared, SharedLayers):
        assert isinstance(alone, EnasMacroNetwork)
        yield shared.stem, alone.stem
        for number, layer in enumerate(alone.layers):
            assert isinstance(layer, MacroLayer)
            (found,) = (
                body for body in shared.bodies[number].values() if str(body) == str(layer.body)
            )
            yield found, layer.body
            if number:
                yield shared.joins[number], layer.join, (*alone.sources[number], number)
        for name, halving in alone.halvings.items():
            yield shared.halvings[name], halving
        yield shared.head, alone.head
    else:
        assert isinstance(shared, SharedSummingCells)
        for mine, its in zip(shared.body, alone, strict=True):
            if not isinstance(mine, SharedSummingCell):
                yield mine, its
                continue
            assert isinstance(its, SummingCell)
            edges = iter(its.edges)
            for node, row in enumerate(its.cell.nodes):
                for edge in row:
                    yield mine.edges[f"{node}_{edge.source}_{edge.operation}"], next(edges)


def copy_weights(shared: SharedWeights, alone: nn.Module) -> int:
    """Give ``alone`` the weights of ``shared``; return how many modules were given some."""
    count = 0
    for mine, its, *chosen in pairs(shared, alone):
        if isinstance(mine, AnyMaps):
            its.load_state_dict({**mine.module.state_dict(), **mine.weights(chosen[0])})
        else:
            its.load_state_dict(mine.state_dict())
        count += 1
    return count


def shaken(network: nn.Module) -> nn.Module:
    """Return a network no two of whose weights are the same, those of batch norms too."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.rand(weight.shape, generator=generator))
    return network


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", [name for name in SHARING if name != "darts"])
def test_with_the_same_weights_it_is_the_stand_alone_network(
    make_task: MakeTask, name: str, shape: tuple[int, ...]
) -> None:
    space, task = SPACES.load(name)(), make_task(shape, "classes")
    shared = shaken(space.shared(task, **SIZE)).train()
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(2))
    for genotype in sample(space, 4):
        alone = space.build(genotype, task, **SIZE).train()
        modules = [m for m in alone.modules() if any(True for _ in m.parameters(recurse=False))]
        assert copy_weights(shared, alone) > 3
        given = {id(p) for _, its, *_ in pairs(shared, alone) for p in its.parameters()}
        assert all(id(p) in given for module in modules for p in module.parameters())
        torch.testing.assert_close(shared(x, genotype), alone(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fast", [True, False])
def test_a_path_through_a_supernet_is_the_mixture_with_no_weight_elsewhere(
    make_task: MakeTask, fast: bool
) -> None:
    space, task = SPACES.load("darts")(), make_task((1, 9, 12), "classes")
    shared = space.shared(task, **SIZE, fast=fast)
    assert isinstance(shared, SupernetPaths)
    x = torch.randn(6, 1, 9, 12)
    for genotype in sample(space, 2):
        mixtures = {
            kind: Mixture(of_cell(space.operations, cell).weights)
            for kind, cell in space.cells(genotype).items()
        }
        outputs = shared.supernet(x, mixtures)
        torch.testing.assert_close(shared(x, genotype), outputs, rtol=1e-4, atol=1e-5)


def test_both_forms_of_a_supernets_paths_are_one(make_task: MakeTask) -> None:
    space, task = SPACES.load("darts")(), make_task((1, 9, 12), "classes")
    forms = []
    for fast in (True, False):
        torch.manual_seed(3)
        forms.append(space.shared(task, **SIZE, fast=fast))
    x = torch.randn(6, 1, 9, 12)
    for genotype in sample(space, 3):
        outputs = [form(x, genotype) for form in forms]
        torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SHARING)
def test_a_gradient_reaches_the_weights_of_the_path_and_no_others(
    make_task: MakeTask, name: str
) -> None:
    space, task = SPACES.load(name)(), make_task((1, 9, 12), "classes")
    shared = space.shared(task, **SIZE, fast=False)
    genotype = sample(space, 1)[0]
    alone = space.build(genotype, task, **SIZE)
    shared(torch.randn(6, 1, 9, 12), genotype).square().sum().backward()
    reached = sum(int((p.grad != 0).sum()) for p in shared.parameters() if p.grad is not None)
    count = sum(p.numel() for p in alone.parameters())
    # A weight that ReLU or a border keeps at zero has no gradient, a few of them.
    assert 0.6 * count < reached <= count


@pytest.mark.parametrize("kind", ["classes", "dense"])
@pytest.mark.parametrize("name", SHARING)
def test_it_fits_every_kind_of_output(make_task: MakeTask, name: str, kind: str) -> None:
    space = SPACES.load(name)()
    for shape in SHAPES:
        task = make_task(shape, kind)
        shared = space.shared(task, **SIZE)
        for genotype in sample(space, 2):
            outputs = shared(torch.randn(5, *shape), genotype)
            assert outputs.shape == (5, 3, *(shape[1:] if kind == "dense" else ()))


def test_maps_that_are_not_chosen_are_not_computed() -> None:
    conv = AnyMaps(nn.Conv2d(6, 4, 1), maps=3)
    full = torch.randn(2, 6, 5, 5)
    full[:, 2:4] = 0
    chosen = torch.cat([full[:, :2], full[:, 4:]], dim=1)
    torch.testing.assert_close(conv(chosen, (0, 2)), conv(full, (0, 1, 2)))


@pytest.mark.parametrize("name", SPACES.names())
def test_skips_are_decisions_between_two_options(name: str) -> None:
    space = SPACES.load(name)()
    rng = random.Random(0)
    decisions = space.encode(space.sample(rng))
    for place in space.skips():
        assert space.options(decisions[:place]) == 2


def test_the_skips_of_a_macro_network_are_those_of_its_genotype() -> None:
    space = SPACES.load("enas_macro")(layers=5)
    for genotype in sample(space, 5):
        decisions = space.encode(genotype)
        found = sum(decisions[place] for place in space.skips())
        assert found == sum(len(skips) for _, skips in genotype.data["layers"])
    assert len(space.skips()) == 10  # 5 x 4 / 2


def test_a_space_without_shared_weights_says_so(make_task: MakeTask) -> None:
    class Bare(SPACES.load("nasbench201")):  # type: ignore[misc]
        shared = SearchSpace.shared

    with pytest.raises(TypeError, match="no shared weights"):
        Bare().shared(make_task((1, 5, 5)), channels=2, layers=1)
