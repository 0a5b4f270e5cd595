"""Operations: shapes for any size, values against closed forms, and published parameter counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_space.operations import OPERATIONS, FactorizedReduce, ReluConvNorm
from search_space.spaces.darts import Darts
from search_space.task import Task

MakeTask = Callable[..., Task]

# quark0/darts, genotypes.py.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)

PUBLISHED = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The operations of quark0/darts in its order, which is that of the columns in its logs."""


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def half(size: int) -> int:
    return -(-size // 2)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("affine", [True, False])
def test_an_operation_keeps_the_channels_and_halves_any_size_rounded_up(
    name: str, affine: bool
) -> None:
    for length in range(1, 10):
        for stride, size in ((1, length), (2, half(length))):
            module = OPERATIONS[name](6, stride, 1, affine=affine)
            assert module(torch.randn(2, 6, length)).shape == (2, 6, size)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (8, 5), (1, 6), (3, 2)])
def test_an_operation_on_images_halves_each_side_by_itself(
    name: str, shape: tuple[int, int]
) -> None:
    x = torch.randn(2, 5, *shape)
    assert OPERATIONS[name](5, 1, 2)(x).shape == x.shape
    assert OPERATIONS[name](5, 2, 2)(x).shape == (2, 5, half(shape[0]), half(shape[1]))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("ndim", [1, 2])
def test_without_affine_no_operation_has_a_scale_or_a_shift(name: str, ndim: int) -> None:
    module = OPERATIONS[name](4, 2, ndim, affine=False)
    assert all(p.dim() == ndim + 2 for p in module.parameters())


def test_the_darts_space_has_the_published_operations_in_their_order() -> None:
    assert Darts().operations == PUBLISHED


@pytest.mark.parametrize("ndim", [1, 2])
def test_convolutions_have_as_many_parameters_as_their_closed_form(ndim: int) -> None:
    c = 8
    for kernel in (3, 5):
        layer = c * kernel**ndim + c * c + 2 * c  # depthwise, pointwise, batch norm
        text = f"{kernel}x{kernel}"
        assert parameters(OPERATIONS[f"sep_conv_{text}"](c, 1, ndim)) == 2 * layer
        assert parameters(OPERATIONS[f"dil_conv_{text}"](c, 1, ndim)) == layer
    assert parameters(OPERATIONS["skip_connect"](c, 1, ndim)) == 0
    assert parameters(OPERATIONS["skip_connect"](c, 2, ndim)) == c * c + 2 * c
    for name in ("none", "max_pool_3x3", "max_pool_5x5", "max_pool_7x7", "avg_pool_3x3"):
        assert parameters(OPERATIONS[name](c, 2, ndim)) == 0
    for name, kernel in (("conv_1x1", 1), ("conv_3x3", 3), ("conv_5x5", 5), ("nor_conv_3x3", 3)):
        assert parameters(OPERATIONS[name](c, 1, ndim)) == c * c * kernel**ndim + 2 * c
    for name, kernel in (("conv_3x1_1x3", 3), ("conv_7x1_1x7", 7)):
        both = kernel + (kernel if ndim == 2 else 1)
        assert parameters(OPERATIONS[name](c, 1, ndim)) == c * c * both + 2 * c


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        # Offsets from the centre: two layers of a kernel add up, a dilated kernel leaves gaps.
        ("sep_conv_3x3", [-2, -1, 0, 1, 2]),
        ("sep_conv_5x5", [-4, -3, -2, -1, 0, 1, 2, 3, 4]),
        ("dil_conv_3x3", [-2, 0, 2]),
        ("dil_conv_5x5", [-4, -2, 0, 2, 4]),
        ("sep_conv_7x7", [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6]),
        ("conv_1x1", [0]),
        ("conv_3x3", [-1, 0, 1]),
        ("conv_5x5", [-2, -1, 0, 1, 2]),
        ("conv_3x1_1x3", [-1, 0, 1]),
        ("conv_7x1_1x7", [-3, -2, -1, 0, 1, 2, 3]),
        ("nor_conv_1x1", [0]),
        ("nor_conv_3x3", [-1, 0, 1]),
        ("avg_pool_3x3", [-1, 0, 1]),
        ("skip_connect", [0]),
        ("none", []),
    ],
)
@pytest.mark.parametrize("ndim", [1, 2])
def test_an_output_sees_the_positions_that_the_kernel_reaches(
    name: str, reached: list[int], ndim: int
) -> None:
    torch.manual_seed(0)
    # Double precision and a fixed normalisation: nothing else mixes positions or underflows.
    module = OPERATIONS[name](4, 1, ndim).double().eval()
    x = torch.rand(1, 4, *[13] * ndim, dtype=torch.double).add(0.5).requires_grad_()
    row = (slice(None), slice(None)) + (6,) * (ndim - 1)
    y = module(x)[row][..., 6].sum()
    y.backward() if y.requires_grad else None
    seen = torch.zeros_like(x) if x.grad is None else x.grad
    offsets = seen[row].abs().sum(dim=(0, 1)).nonzero().flatten() - 6
    assert offsets.tolist() == reached


@pytest.mark.parametrize("ndim", [1, 2])
def test_none_gives_zeros_and_passes_no_gradient(ndim: int) -> None:
    x = torch.full((1, 2, *[5] * ndim), float("inf"), requires_grad=True)
    y = OPERATIONS["none"](2, 2, ndim)(x)
    assert torch.equal(y, torch.zeros(1, 2, *[3] * ndim))
    assert not y.requires_grad


def test_an_average_at_the_border_counts_no_padding() -> None:
    x = torch.tensor([[[3.0, 6.0, 0.0]]])
    assert OPERATIONS["avg_pool_3x3"](1, 1, 1)(x).tolist() == [[[4.5, 3.0, 3.0]]]
    ones = torch.ones(1, 1, 4, 5)
    assert torch.equal(OPERATIONS["avg_pool_3x3"](1, 1, 2)(ones), ones)


def test_a_maximum_at_the_border_counts_no_padding() -> None:
    x = torch.tensor([[[-3.0, -6.0, -1.0, -2.0]]])
    assert OPERATIONS["max_pool_3x3"](1, 2, 1)(x).tolist() == [[[-3.0, -1.0]]]


@pytest.mark.parametrize("shape", [(8,), (6, 6), (8, 4)])
def test_factorized_reduce_on_even_sizes_is_the_published_formula(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = FactorizedReduce(6, 10, len(shape)).eval()
    for name, value in module.norm.named_parameters():
        nn.init.uniform_(value, 0.5 if name == "weight" else -1, 2)
    x = torch.randn(3, 6, *shape)
    with torch.no_grad():
        got = module(x)
        wanted = published_reduce(module, x)
    assert got.shape == (3, 10, *(size // 2 for size in shape))
    torch.testing.assert_close(got, wanted)


def published_reduce(module: FactorizedReduce, x: Tensor) -> Tensor:
    """Pick the positions by hand: 0, 2, 4, ... for one half of the channels, 1, 3, ... for both.

    A pointwise convolution of stride 2 is a matrix applied to every second position; the second
    one of quark0/darts starts at ``x[:, :, 1:, 1:]``.
    """
    rectified = x.clamp(min=0)
    halves = []
    for start, convolution in ((0, module.first), (1, module.second)):
        picked = rectified
        for axis in range(2, x.dim()):
            picked = picked.index_select(axis, torch.arange(start, x.shape[axis], 2))
        matrix = convolution.weight.flatten(1)  # type: ignore[operator]
        halves.append(torch.einsum("oc,nc...->no...", matrix, picked))
    norm = module.norm
    shape = (1, -1) + (1,) * (x.dim() - 2)
    y = torch.cat(halves, dim=1) / (1 + norm.eps) ** 0.5  # mean 0 and variance 1 when new
    return y * norm.weight.view(shape) + norm.bias.view(shape)  # type: ignore[operator]


@pytest.mark.parametrize("outputs", [4, 5])
def test_factorized_reduce_on_odd_sizes_pads_its_second_half_with_zeros(outputs: int) -> None:
    torch.manual_seed(0)
    module = FactorizedReduce(3, outputs, 2).eval()
    x = torch.randn(2, 3, 5, 7)
    padded = functional.pad(x, [0, 1, 0, 1])
    torch.testing.assert_close(module(x), module(padded))
    assert module(x).shape == (2, outputs, 3, 4)


def test_relu_conv_norm_is_a_rectified_matrix_product_at_each_position() -> None:
    module = ReluConvNorm(3, 4, 2).eval()
    x = torch.randn(2, 3, 5, 4)
    matrix = module[1].weight.flatten(1)  # type: ignore[operator]
    wanted = torch.einsum("oc,nchw->nohw", matrix, x.clamp(min=0)) / (1 + module[2].eps) ** 0.5
    torch.testing.assert_close(module(x), wanted)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_one_dimensional_operation_is_the_two_dimensional_one_on_a_single_row(
    name: str, stride: int
) -> None:
    if (name, stride) == ("skip_connect", 2):
        return  # its second half looks one row further down, where an image of one row has none
    x = torch.randn(2, 4, 9)
    flat, tall = OPERATIONS[name](4, stride, 1).eval(), OPERATIONS[name](4, stride, 2).eval()
    for p, q in zip(flat.parameters(), tall.parameters(), strict=True):
        # Of a square kernel only the middle row meets an image of height 1.
        p.data = q.data[:, :, q.shape[2] // 2] if q.dim() == 4 else q.data
    torch.testing.assert_close(flat(x), tall(x.unsqueeze(2)).squeeze(2))


@pytest.mark.parametrize("auxiliary", [False, True])
def test_the_published_network_has_as_many_parameters_as_its_code_prints(
    make_task: MakeTask, auxiliary: bool
) -> None:
    # quark0/darts, train.py for CIFAR-10: "param size = 3.349342MB"; it leaves the auxiliary head
    # out (utils.count_parameters_in_MB).
    space, task = Darts(), make_task((3, 32, 32), "classes", n=10, size=10)
    network = space.build(space.parse(DARTS_V2), task, channels=36, layers=20, auxiliary=auxiliary)
    counted = {name: p.numel() for name, p in network.named_parameters() if "auxiliary" not in name}
    assert sum(counted.values()) == 3_349_342
    # AuxiliaryHeadCIFAR: 1x1 to 128, 2x2 to 768, two batch norms, 768 to the classes.
    head = 576 * 128 + 2 * 128 + 128 * 768 * 4 + 2 * 768 + 768 * 10 + 10
    assert parameters(network) == 3_349_342 + (head if auxiliary else 0)


def test_a_network_of_the_real_logs_has_as_many_parameters_as_its_log_says(
    make_task: MakeTask, data_root: Path
) -> None:
    folder = data_root / "darts_logs" / "random_eval-graphene-EXP-20191203-172517"
    space = Darts()
    genotype = space.parse((folder / "genotype.arch").read_text("utf-8"))
    network = space.build(
        genotype, make_task((1, 32, 32), "regression", size=1), channels=36, layers=8
    )
    assert "param size = 1.110277MB" in (folder / "log.txt").read_text("utf-8")
    assert parameters(network) == 1_110_277
