"""Inheritance: wider, deeper and larger children compute what their parents compute."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import Tensor, nn

from search_space.operations import OPERATIONS, ReluConvNorm, depthwise
from search_space.spaces import SPACES
from searchers._inheritance import become_identity, inherit

SHAPE = (2, 6, 6)


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return the network in float64 with every parameter and statistic off its initial value."""
    generator = torch.Generator().manual_seed(seed)
    network.double().eval()
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.add_(noise / 4 + 0.1 * (tensor.dim() == 1))
    return network


def inputs() -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(3, *SHAPE, generator=generator, dtype=torch.float64)


def difference(child: nn.Module, parent: nn.Module) -> float:
    with torch.no_grad():
        a, b = child.eval()(inputs()), parent.eval()(inputs())
    return float((a - b).abs().max() / b.abs().max())


EXACT = 1e-12  # float64: sums of some hundred terms, with zeros added


class Average(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)


def chain(*widths: int, kernel: int = 3) -> nn.Sequential:
    blocks = [
        ReluConvNorm(a, b, 2, kernel=kernel)
        for a, b in zip((SHAPE[0], *widths), widths, strict=False)
    ]
    return nn.Sequential(*blocks, nn.ReLU(), Average(), nn.Linear(widths[-1], 3))


@pytest.mark.parametrize("wider", [(6, 8, 8), (4, 9, 8), (4, 8, 16), (7, 11, 13)])
def test_a_wider_chain_computes_what_its_parent_does(wider):
    parent, child = trained(chain(4, 8, 8)), chain(*wider).double()
    share = inherit(child, parent, SHAPE)
    assert difference(child, parent) < EXACT
    numbers = [sum(p.numel() for p in network.parameters()) for network in (parent, child)]
    assert share == pytest.approx(numbers[0] / numbers[1])


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_deeper_chain_computes_what_its_parent_does(place):
    parent = trained(chain(4, 4, 4))
    child = copy.deepcopy(chain(4, 4, 4)).double()
    blocks = list(child.children())
    child = nn.Sequential(
        *blocks[:place], ReluConvNorm(4, 4, 2, kernel=3).double(), *blocks[place:]
    )
    inherit(child, parent, SHAPE)
    assert difference(child, parent) < EXACT


def test_a_larger_kernel_computes_what_the_smaller_does():
    parent, child = trained(chain(4, 8)), chain(4, 8, kernel=5).double()
    inherit(child, parent, SHAPE)
    assert difference(child, parent) < EXACT


def test_wider_deeper_and_larger_at_once():
    parent = trained(chain(4, 8, 8))
    child = chain(6, 8, 8, 12, kernel=5).double()
    inherit(child, parent, SHAPE)
    # The new last block is not square: it starts anew, and everything before it is the parent's.
    with torch.no_grad():
        a, b = child[:3].eval()(inputs()), parent[:3].eval()(inputs())
    assert float((a - b).abs().max()) < EXACT * float(b.abs().max())


class Branches(nn.Module):
    """Two branches joined by concatenation and by a sum, with depthwise convolutions and pools."""

    def __init__(self, first: int, second: int):
        super().__init__()
        self.stem = ReluConvNorm(SHAPE[0], first, 2)
        self.left = nn.Sequential(*depthwise(first, 3, 1, 1, 2, True), nn.MaxPool2d(3, 1, 1))
        self.right = ReluConvNorm(first, second, 2)
        self.join = ReluConvNorm(2 * first + second, 4, 2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        left = self.left(x) + x
        joined = self.join(torch.cat([left, self.right(x), x], dim=1))
        return self.head(joined.flatten(2).mean(2))


@pytest.mark.parametrize("wider", [(6, 3), (4, 5), (7, 9)])
def test_channels_are_followed_through_sums_concatenations_and_depthwise_convolutions(wider):
    parent, child = trained(Branches(4, 3)), Branches(*wider).double()
    inherit(child, parent, SHAPE)
    assert difference(child, parent) < EXACT


def test_new_channels_are_not_alike_and_learn():
    parent, child = trained(chain(4, 8)), chain(8, 8).double()
    inherit(child, parent, SHAPE)
    new = child[0][1].weight.detach()[4:].flatten(1)
    assert torch.pdist(new).min() > 0.01
    child.train()(inputs()).square().mean().backward()
    outgoing = child[1][1].weight
    assert float(outgoing.detach()[:, 4:].abs().max()) == 0
    assert float(outgoing.grad[:, 4:].abs().min()) > 0


@pytest.mark.parametrize("name", ["sep_conv_3x3", "dil_conv_5x5", "conv_3x1_1x3", "nor_conv_1x1"])
def test_an_operation_becomes_the_identity_of_what_is_not_negative(name):
    operation = OPERATIONS[name](5, 1, 2).double().eval()
    assert become_identity(operation)
    x = torch.rand(2, 5, 7, 7, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(operation(x), x, rtol=EXACT)


@pytest.mark.parametrize(
    "module",
    [
        ReluConvNorm(4, 8, 2),
        ReluConvNorm(4, 4, 2, kernel=3, stride=2),
        nn.AvgPool2d(3, 1, 1),
        nn.Sequential(nn.Conv2d(4, 4, 3)),
        Branches(4, 3),
    ],
    ids=["wider", "strided", "pool", "unpadded", "no chain"],
)
def test_what_cannot_be_the_identity_is_left_alone(module):
    before = copy.deepcopy(module.state_dict())
    assert not become_identity(module)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", SPACES.names())
def test_the_same_architecture_inherits_everything(name, make_task):
    task, space = make_task(SHAPE), SPACES.load(name)()
    genotype = space.sample(random.Random(3))
    parent = trained(space.build(genotype, task, channels=4, layers=3))
    child = space.build(genotype, task, channels=4, layers=3).double()
    assert inherit(child, parent, SHAPE) == 1.0
    assert difference(child, parent) == 0.0


@pytest.mark.parametrize("name", SPACES.names())
def test_a_mutation_inherits_what_it_shares_and_can_be_trained(name, make_task):
    task, space = make_task(SHAPE), SPACES.load(name)()
    shares = []
    for seed in range(4):
        rng = random.Random(seed)
        genotype = space.sample(rng)
        parent = trained(space.build(genotype, task, channels=4, layers=3))
        before = copy.deepcopy(parent.state_dict())
        child = space.build(space.mutate(genotype, rng), task, channels=4, layers=3).double()
        shares.append(inherit(child, parent, SHAPE))
        assert 0 < shares[-1] <= 1
        child.train()(inputs()).sum().backward()
        assert all(torch.equal(before[key], v) for key, v in parent.state_dict().items())
    assert max(shares) > 0.5


def test_layers_of_another_kind_begin_anew():
    parent, child = trained(chain(4)), nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten())
    before = copy.deepcopy(child.state_dict())
    assert inherit(child, parent, SHAPE) == 0.0
    assert all(torch.equal(before[key], value) for key, value in child.state_dict().items())
