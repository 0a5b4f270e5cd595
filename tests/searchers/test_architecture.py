"""The architecture of a search: its mixtures, and gradients pulled back through every choice."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from search_space.mixture import Mixture, edges
from search_space.supernet import TextbookSupernet
from searchers._architecture import KINDS, Architecture
from searchers._unrolled import ArchitectureGradient, Unrolling
from searchers.penalties import PENALTIES, Penalty
from searchers.relaxations import RELAXATIONS, Relaxation

# Smooth but for its ReLU, and with a reduction; without a pool, whose maximum has kinks too.
OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3")
NODES = 2


def relaxation(name: str) -> Relaxation:
    cls = RELAXATIONS.load(name)
    return cls(cls.Params())


def penalty(name: str) -> Penalty:
    cls = PENALTIES.load(name)
    return cls(cls.Params())


def architecture(name: str = "softmax", *, partial: bool = False, **options) -> Architecture:
    made = Architecture(
        OPERATIONS,
        NODES,
        relaxation(name),
        partial=partial,
        generator=torch.Generator().manual_seed(0),
        **options,
    ).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


@pytest.fixture(scope="module")
def problem(make_task):
    """A supernet in float64 and two batches."""
    torch.manual_seed(0)
    task = make_task((1, 6, 5), "regression", n=12)
    networks = {
        partial: TextbookSupernet(
            task, operations=OPERATIONS, nodes=NODES, channels=4, layers=3, partial=partial
        ).double()
        for partial in (1, 2)
    }
    train, valid = (
        tuple(t.double() for t in task.batch(task.train, torch.arange(n, n + 6))) for n in (0, 6)
    )
    return networks, train, valid


def composition(arch: Architecture, name: str, progress: float, seed: int) -> dict[str, Mixture]:
    """Mix with the graph left whole, from alpha to the output: what autograd is asked about."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for kind in KINDS:
        weights, bypass = relaxation(name).draw(arch.alpha[kind], progress, generator), None
        active = None
        if relaxation(name).sampled:
            active = tuple((int(row.argmax()),) for row in weights.detach())
        if kind in arch.beta:
            bypass = torch.cat([b.softmax(0) for b in arch.beta[kind].split([2, 3])])
            weights = bypass[:, None] * weights
        found[kind] = Mixture(weights, bypass, active)
    return found


@pytest.mark.parametrize("partial", [1, 2])
@pytest.mark.parametrize("term", [None, *PENALTIES.names()])
@pytest.mark.parametrize("name", RELAXATIONS.names())
def test_the_gradient_that_is_pulled_back_is_that_of_the_whole_composition(
    problem, name: str, term: str | None, partial: int
) -> None:
    networks, _, (x, y) = problem
    network, arch, progress = networks[partial], architecture(name, partial=partial > 1), 0.4
    draw = arch.draw(progress, torch.Generator().manual_seed(5))
    theta = ArchitectureGradient(network, functional.mse_loss).first_order(
        (x, y), draw.mixtures, draw.leaves
    )
    extra = None if term is None else arch.penalty(penalty(term), progress)
    given = draw.pull_back(list(arch.parameters()), theta, extra)

    loss = functional.mse_loss(network(x, composition(arch, name, progress, 5)), y)
    if term is not None:
        for kind in KINDS:
            weights = relaxation(name).expected(arch.alpha[kind])
            loss = loss + penalty(term)(arch.alpha[kind], weights, progress) / len(KINDS)
    wanted = torch.autograd.grad(loss, list(arch.parameters()))
    for a, b in zip(given, wanted, strict=True):
        assert b.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("partial", [1, 2])
@pytest.mark.parametrize("name", RELAXATIONS.names())
def test_exact_second_order_is_autograd_through_the_virtual_step_for_every_relaxation(
    problem, name: str, partial: int
) -> None:
    networks, train, valid = problem
    network, arch = networks[partial], architecture(name, partial=partial > 1)
    weights = dict(network.named_parameters())
    generator = torch.Generator().manual_seed(2)
    velocities = [
        torch.randn(w.shape, generator=generator, dtype=torch.float64) / 10
        for w in weights.values()
    ]
    step = Unrolling(0.05, 0.9, 0.01, velocities)
    draw = arch.draw(0.4, torch.Generator().manual_seed(5))
    gradient = ArchitectureGradient(network, functional.mse_loss)
    theta = gradient.second_order(train, valid, draw.mixtures, draw.leaves, step, exact=True)
    given = draw.pull_back(list(arch.parameters()), theta)

    mixtures = composition(arch, name, 0.4, 5)

    def loss(values: dict[str, Tensor], batch) -> Tensor:
        outputs = torch.func.functional_call(network, values, (batch[0], mixtures))
        return functional.mse_loss(outputs, batch[1])

    gradients = torch.autograd.grad(
        loss(weights, train),
        list(weights.values()),
        create_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    moved = {
        key: w - step.rate * (step.momentum * v + g + step.decay * w)
        for (key, w), v, g in zip(weights.items(), velocities, gradients, strict=True)
    }
    wanted = torch.autograd.grad(loss(moved, valid), list(arch.parameters()))
    for a, b in zip(given, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", RELAXATIONS.names())
class TestEveryRelaxation:
    def test_the_same_draw_twice_from_the_same_generator_state(self, name: str) -> None:
        arch = architecture(name)
        one, other = (arch.draw(0.5, torch.Generator().manual_seed(3)) for _ in range(2))
        for a, b in zip(one.leaves, other.leaves, strict=True):
            assert torch.equal(a, b)

    def test_leaves_are_cut_off_and_hold_the_values(self, name: str) -> None:
        draw = architecture(name, partial=True).draw(0.5, torch.Generator().manual_seed(3))
        assert len(draw.leaves) == len(draw.values) == 4
        for leaf, value in zip(draw.leaves, draw.values, strict=True):
            assert leaf.is_leaf
            assert leaf.requires_grad
            assert torch.equal(leaf, value)
        with torch.no_grad():
            quiet = architecture(name).draw(0.5, torch.Generator().manual_seed(3))
        assert not any(leaf.requires_grad for leaf in quiet.leaves)

    def test_a_sampled_one_computes_a_single_operation_of_each_edge(self, name: str) -> None:
        arch = architecture(name)
        for mixtures in (
            arch.draw(0.5, torch.Generator().manual_seed(3)).mixtures,
            arch.standing(),
        ):
            for mixture in mixtures.values():
                if not relaxation(name).sampled:
                    assert mixture.active is None
                    continue
                assert mixture.active is not None
                for row, computed in enumerate(mixture.active):
                    assert mixture.weights[row].nonzero().flatten().tolist() == list(computed)
                    assert len(computed) == 1

    def test_what_is_reported_are_the_expected_weights(self, name: str) -> None:
        arch = architecture(name)
        for kind, table in arch.tables().items():
            torch.testing.assert_close(table, relaxation(name).expected(arch.alpha[kind].detach()))


def test_the_factors_of_the_edges_into_a_node_sum_to_one() -> None:
    mixture = architecture(partial=True).expected()["normal"]
    assert mixture.bypass is not None
    for part in mixture.bypass.split([2, 3]):
        assert float(part.sum()) == pytest.approx(1)
    torch.testing.assert_close(mixture.weights.sum(dim=1), mixture.bypass)


def test_edges_have_no_parameters_of_their_own_without_partial_channels() -> None:
    arch = architecture()
    assert [name for name, _ in arch.named_parameters()] == ["alpha.normal", "alpha.reduce"]
    assert arch.expected()["normal"].bypass is None


class TestOperationsThatAreLeft:
    def test_have_alphas_of_their_own_and_no_other_is_computed(self) -> None:
        rows = len(edges(NODES))
        pairs = list(itertools.islice(itertools.cycle(((0, 2), (1, 3), (2, 3))), rows))
        kept = {kind: torch.tensor(pairs) for kind in KINDS}
        arch = architecture(kept=kept)
        assert arch.alpha["normal"].shape == (rows, 2)
        for mixture in (
            arch.expected()["normal"],
            arch.draw(0.0, torch.Generator()).mixtures["normal"],
        ):
            assert mixture.active == tuple(pairs)
            soft = arch.alpha["normal"].detach().softmax(dim=1)
            for row, pair in enumerate(pairs):
                torch.testing.assert_close(mixture.weights[row, list(pair)].detach(), soft[row])
                assert float(mixture.weights[row].detach().sum()) == pytest.approx(1)

    @pytest.mark.parametrize("name", RELAXATIONS.names())
    def test_after_masking_share_a_weight_of_one_in_proportion(self, name: str) -> None:
        arch = architecture(name)
        before = arch.tables()["normal"]
        arch.mask("normal")[0] = torch.tensor([False, True, True, False])
        arch.mask("normal")[1] = torch.tensor([False, False, False, True])
        arch.mask("normal")[2] = False
        after = arch.expected()["normal"]
        share = before[0, 1:3] / before[0, 1:3].sum()
        even = torch.full_like(share, 0.5)  # of nothing
        torch.testing.assert_close(after.weights[0, 1:3], torch.where(share.isnan(), even, share))
        assert after.weights[0, [0, 3]].tolist() == [0, 0]
        assert after.weights[1].tolist() == [0, 0, 0, 1]
        assert after.weights[2].tolist() == [0, 0, 0, 0]
        torch.testing.assert_close(after.weights[3:], before[3:])
        assert after.active == ((1, 2), (3,), (), (0, 1, 2, 3), (0, 1, 2, 3))
        torch.testing.assert_close(arch.tables()["reduce"], architecture(name).tables()["reduce"])
