"""The stream of random numbers of a program's own, swapped into torch's global generators."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch
from torch import Tensor, nn

from searchers._chance import Chance

CPU = torch.device("cpu")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def draw(chance: Chance, n: int = 4) -> Tensor:
    with chance:
        return torch.rand(n)


def reference(seed: int, n: int) -> Tensor:
    """Draw from a generator that shares nothing with the global one."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed))


def test_inside_a_block_numbers_are_the_seed_s_and_go_on_from_block_to_block() -> None:
    chance = Chance(7, CPU)
    drawn = torch.cat([draw(chance), draw(chance), draw(chance)])
    assert torch.equal(drawn, reference(7, 12))


def test_layers_and_dropout_draw_from_it() -> None:
    outputs = []
    for _ in range(2):
        torch.rand(5)
        chance = Chance(7, CPU)
        with chance:
            network = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))
        torch.rand(5)
        with chance:
            outputs.append(network(torch.ones(3, 6)))
    assert torch.equal(*outputs)


def test_outside_of_a_block_the_global_stream_is_as_if_there_were_none() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(6)
    torch.manual_seed(3)
    first = torch.rand(2)
    chance = Chance(7, CPU)
    second = torch.rand(2)
    draw(chance)
    assert torch.equal(torch.cat([first, second, torch.rand(2)]), wanted)


def test_an_error_in_a_block_restores_the_global_stream_and_keeps_what_was_drawn() -> None:
    chance = Chance(7, CPU)
    torch.manual_seed(3)
    with contextlib.suppress(ValueError), chance:
        torch.rand(4)
        raise ValueError
    assert torch.equal(torch.rand(2), reference(3, 2))
    assert torch.equal(draw(chance), reference(7, 8)[4:])


def test_streams_of_two_programs_do_not_disturb_each_other() -> None:
    one, other = Chance(1, CPU), Chance(2, CPU)
    drawn = [(draw(one), draw(other)) for _ in range(3)]
    assert torch.equal(torch.cat([a for a, _ in drawn]), reference(1, 12))
    assert torch.equal(torch.cat([b for _, b in drawn]), reference(2, 12))


def test_a_block_in_the_block_of_another_program_takes_nothing_from_it() -> None:
    outer, inner = Chance(1, CPU), Chance(2, CPU)
    with outer:
        before, between, after = torch.rand(4), draw(inner), torch.rand(4)
    assert torch.equal(torch.cat([before, after]), reference(1, 8))
    assert torch.equal(between, reference(2, 4))


def test_a_stream_goes_on_from_the_state_of_a_checkpoint() -> None:
    chance = Chance(7, CPU)
    draw(chance)
    content = io.BytesIO()
    torch.save(chance.state_dict(), content)
    draw(chance)
    content.seek(0)
    again = Chance(8, CPU)
    again.load_state_dict(torch.load(content, weights_only=True))
    assert torch.equal(draw(again), reference(7, 8)[4:])


def test_a_state_is_not_changed_by_going_on() -> None:
    chance = Chance(7, CPU)
    state = chance.state_dict()
    draw(chance)
    chance.load_state_dict(state)
    assert torch.equal(draw(chance), reference(7, 4))


def test_a_stream_for_the_cpu_leaves_the_generators_of_gpus_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeded.append)
    draw(Chance(7, CPU))
    assert seeded == []


@on_gpu
def test_on_a_gpu_its_generator_is_swapped_too() -> None:
    device = torch.device("cuda")
    torch.cuda.manual_seed(3)
    wanted = torch.rand(4, device=device)
    torch.cuda.manual_seed(3)
    chance, drawn = Chance(7, device), []
    for _ in range(2):
        with chance:
            drawn.append(torch.rand(4, device=device))
    assert torch.equal(torch.rand(4, device=device), wanted)
    torch.cuda.manual_seed(7)
    assert torch.equal(
        torch.cat([torch.rand(4, device=device) for _ in range(2)]), torch.cat(drawn)
    )
