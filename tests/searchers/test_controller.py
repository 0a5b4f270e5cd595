"""The recurrent controller against brute force over all sequences of a conditional space."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from scipy.stats import chi2
from torch import nn

from searchers._chance import stream
from searchers._controller import Controller
from searchers._growing import GrowingAdam
from tree_spaces import Grid, Tree

TREE = Tree()
ALL = list(TREE.sequences())


@pytest.fixture
def controller() -> Controller:
    """One whose choices are far from uniform, as after training."""
    made = Controller(TREE.options, units=8, seed=0)
    made.replay(ALL)  # meets all there is
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draw))
    return made


def test_the_probabilities_of_all_sequences_sum_to_one(controller: Controller) -> None:
    assert controller.replay(ALL).log_probs.double().exp().sum().item() == pytest.approx(
        1, abs=1e-5
    )


def test_entropies_of_the_decisions_add_up_to_that_of_the_sequences(controller: Controller) -> None:
    # Chain rule of entropy: the mean over sequences of the sum of conditional entropies.
    seen = controller.replay(ALL)
    chances = seen.log_probs.exp()
    whole = -(chances * seen.log_probs).sum()
    assert (chances * seen.entropies).sum().item() == pytest.approx(whole.item(), rel=1e-4)


def test_draws_sequences_as_often_as_it_says(controller: Controller) -> None:
    n = 5000
    drawn = controller.sample(n, stream(0, "test"))
    counts = Counter(drawn.decisions)
    expected = dict(zip(ALL, (n * controller.replay(ALL).log_probs.exp()).tolist(), strict=True))
    # Pearson's chi-square over the sequences that are expected five times or more, and the rest.
    common = [sequence for sequence in ALL if expected[sequence] >= 5]
    rest = n - sum(expected[s] for s in common), n - sum(counts[s] for s in common)
    statistic = sum((counts[s] - expected[s]) ** 2 / expected[s] for s in common)
    statistic += (rest[1] - rest[0]) ** 2 / rest[0]
    assert statistic < chi2.ppf(0.999, df=len(common))
    assert set(counts) <= set(ALL)


def test_a_batch_is_what_its_sequences_are_one_by_one(controller: Controller) -> None:
    drawn = controller.sample(20, stream(0, "test"))
    assert len({len(sequence) for sequence in drawn.decisions}) > 1
    again = controller.replay(drawn.decisions)
    torch.testing.assert_close(again.log_probs, drawn.log_probs)
    torch.testing.assert_close(again.entropies, drawn.entropies)
    for row, sequence in enumerate(drawn.decisions):
        alone = controller.replay([sequence])
        torch.testing.assert_close(alone.log_probs[0], drawn.log_probs[row])
        torch.testing.assert_close(alone.entropies[0], drawn.entropies[row])


def test_greedy_takes_the_likeliest_option_each_time(controller: Controller) -> None:
    chances = dict(zip(ALL, controller.replay(ALL).log_probs.exp().tolist(), strict=True))
    prefix: tuple[int, ...] = ()
    while count := TREE.options(prefix):

        def mass(option: int, prefix: tuple[int, ...] = prefix) -> float:
            start = (*prefix, option)
            return sum(p for s, p in chances.items() if s[: len(start)] == start)

        prefix = (*prefix, max(range(count), key=mass))
    assert controller.greedy() == prefix


def test_starts_close_to_uniform_within_the_papers_bounds() -> None:
    controller = Controller(TREE.options, seed=3)
    seen = controller.replay(ALL)
    assert max(weight.abs().max().item() for weight in controller.parameters()) <= 0.1
    for sequence, log_prob in zip(ALL, seen.log_probs.exp().tolist(), strict=True):
        uniform = 1.0
        for place in range(len(sequence)):
            uniform /= TREE.options(sequence[:place])
        assert log_prob == pytest.approx(uniform, rel=1.0)


def test_its_first_weights_do_not_depend_on_what_it_met_first() -> None:
    one, other = (Controller(TREE.options, units=4, seed=0) for _ in range(2))
    one.replay(ALL)
    other.replay(ALL[::-1])
    assert one.parts.keys() == other.parts.keys()
    assert all(torch.equal(one.parts[name], other.parts[name]) for name in one.parts)


def test_a_controller_that_met_nothing_yet_takes_over_one_that_did(controller: Controller) -> None:
    fresh = Controller(TREE.options, units=8, seed=9)
    fresh.load_state_dict(controller.state_dict())
    assert torch.equal(fresh.replay(ALL).log_probs, controller.replay(ALL).log_probs)


def test_decisions_with_one_option_have_no_entropy_and_cost_no_probability() -> None:
    seen = Controller(Grid((1, 1)).options, seed=0).replay([(0, 0)])
    assert float(seen.log_probs.detach()) == float(seen.entropies.detach()) == 0.0


def test_adam_on_parameters_that_come_late_is_an_adam_of_their_own() -> None:
    """Torch's Adam on each parameter alone: its updates don't depend on other parameters."""
    draw = torch.Generator().manual_seed(0)
    targets = torch.randn(2, 3, generator=draw)
    module = nn.ParameterDict({"early": nn.Parameter(torch.zeros(3))})
    adam = GrowingAdam(module, 0.1)
    for turn in range(6):
        if turn == 2:
            module["late"] = nn.Parameter(torch.zeros(3))
        if turn == 4:  # goes on from its state
            state, adam = adam.state_dict(), GrowingAdam(module, 0.1)
            adam.load_state_dict(state)
        adam.step(sum(((p - t) ** 2).sum() for p, t in zip(module.values(), targets, strict=False)))
    for name, target, steps in (("early", targets[0], 6), ("late", targets[1], 4)):
        alone = nn.Parameter(torch.zeros(3))
        plain = torch.optim.Adam([alone], lr=0.1)
        for _ in range(steps):
            plain.zero_grad()
            ((alone - target) ** 2).sum().backward()
            plain.step()
        assert torch.equal(module[name], alone)


def test_bounded_logits_bound_how_sure_it_is() -> None:
    sure = Controller(TREE.options, units=8, seed=0, bound=1.5, temperature=2.0)
    free = Controller(TREE.options, units=8, seed=0)
    for made in (sure, free):
        made.replay(ALL)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in made.parameters():
                weight.copy_(20 * torch.randn(weight.shape, generator=draw))
    # Two options differ by at most 3 nats: each of k has at least 1 / (1 + (k - 1) e^3).
    least = [1.0 for _ in ALL]
    for i, sequence in enumerate(ALL):
        for place in range(len(sequence)):
            least[i] /= 1 + (TREE.options(sequence[:place]) - 1) * math.exp(3)
    chances = sure.replay(ALL).log_probs.exp().tolist()
    assert all(chance >= low * (1 - 1e-4) for chance, low in zip(chances, least, strict=True))
    assert free.replay(ALL).log_probs.exp().min() < min(least)


def test_divergences_are_those_of_the_places_that_have_a_target() -> None:
    count = TREE.options(())
    target = [2 / (count + 1)] + [1 / (count + 1)] * (count - 1)
    made = Controller(TREE.options, units=8, seed=0, targets={0: target})
    seen = made.replay(ALL)
    chances = [0.0] * count
    for sequence, chance in zip(ALL, seen.log_probs.exp().tolist(), strict=True):
        chances[sequence[0]] += chance
    expected = sum(p * math.log(p / q) for p, q in zip(chances, target, strict=True))
    assert seen.divergences.tolist() == pytest.approx([expected] * len(ALL), abs=1e-5)
    assert Controller(TREE.options, units=8, seed=0).replay(ALL).divergences.abs().sum() == 0
