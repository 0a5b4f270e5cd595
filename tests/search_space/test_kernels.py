"""Depthwise convolutions and pools of batch-last maps: both backends against torch's operators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from search_space import kernels
from search_space.kernels import Depthwise

OUTPUTS, CHANNELS = 3, 2
UNIT = 2.0**-24  # of rounding, float32

Widths = tuple[int, ...]


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Everything here holds for the compiled kernels and for those in plain torch."""
    if request.param == "plain":
        with kernels.in_plain_torch():
            yield request.param
    elif kernels.compiled.library() is None:
        pytest.skip("no compiled kernels were built at installation")
    else:
        yield request.param


class Case(NamedTuple):
    """A depthwise convolution: its inputs, and how it is done."""

    x: Tensor
    weight: Tensor
    shift: Tensor | None
    how: Depthwise

    @property
    def tensors(self) -> list[Tensor]:
        """What has a gradient."""
        return [t for t in (self.x, self.weight, self.shift) if t is not None]

    def of(self, x: Tensor, weight: Tensor, *shift: Tensor) -> Tensor:
        """Return the kernel's result for other tensors."""
        return kernels.depthwise(x, weight, self.how, *shift)


def case(
    size: tuple[int, int],
    batch: int,
    widths: Widths = (3, 5),
    *,
    shifted: bool = True,
    dtype: torch.dtype = torch.float64,
    outputs: int = OUTPUTS,
    **others: Any,
) -> Case:
    """Return a convolution of random maps by random weights."""
    torch.manual_seed(0)
    how = Depthwise(widths, **others)
    maps = (CHANNELS,) if how.shared else (outputs, len(widths), CHANNELS)
    x = torch.randn(*maps, *size, batch, dtype=dtype, requires_grad=True)
    weight = torch.randn(outputs, CHANNELS, sum(how.taps), dtype=dtype, requires_grad=True)
    shift = torch.randn(maps, dtype=dtype, requires_grad=True) if shifted else None
    return Case(x, weight, shift, how)


def convolved(c: Case) -> Tensor:
    """Return what torch's own convolution makes of ``c``."""
    how = c.how
    u = c.x if c.shift is None else c.x + c.shift[..., None, None, None]
    u = u.relu() if how.rectify else u
    parts = c.weight.split(how.taps, dim=-1)
    outputs = []
    for m in range(len(c.weight)):
        for k, (width, part) in enumerate(zip(how.widths, parts, strict=True)):
            height = 1 if how.flat else width
            y = functional.conv2d(
                (u if how.shared else u[m, k]).permute(3, 0, 1, 2),
                part[m].view(CHANNELS, 1, height, width),
                stride=how.stride,
                padding=(how.dilation * (height - 1) // 2, how.dilation * (width - 1) // 2),
                dilation=how.dilation,
                groups=CHANNELS,
            )
            outputs.append(y.permute(1, 2, 3, 0))
    return torch.stack(outputs).unflatten(0, (len(c.weight), len(how.widths)))


def agree(found: Tensor, wanted: Tensor, inputs: Sequence[Tensor]) -> None:
    """Compare two results and their gradients by ``inputs``, to the rounding of float64."""
    grad = torch.randn_like(wanted)
    exactly = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(found, wanted, **exactly)
    gradients = [torch.autograd.grad(out, list(inputs), grad) for out in (found, wanted)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, **exactly)


# A vector of the batch holds 4, 8 or 16 numbers of float64: these leave parts of one, or several.
@pytest.mark.parametrize("batch", [1, 5, 9, 17, 33])
@pytest.mark.parametrize("size", [(7, 11), (1, 9), (2, 2)], ids=str)
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own maps"])
@pytest.mark.parametrize(("dilation", "stride"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_a_depthwise_convolution_is_that_of_torch_with_its_gradients(
    size: tuple[int, int], batch: int, shared: bool, dilation: int, stride: int
) -> None:
    for widths in ((3, 5), (5,), (7,)):
        how = {"dilation": dilation, "stride": stride, "shared": shared}
        c = case(size, batch, widths, **how)
        agree(c.of(*c.tensors), convolved(c), c.tensors)


@pytest.mark.parametrize("size", [(1, 9), (1, 1), (4, 6)], ids=str)
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own maps"])
@pytest.mark.parametrize(("dilation", "stride"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_flat_kernels_are_one_row_high(
    size: tuple[int, int], shared: bool, dilation: int, stride: int
) -> None:
    for widths in ((3, 5), (5,), (7,)):
        how = {"dilation": dilation, "stride": stride, "shared": shared}
        c = case(size, 9, widths, flat=True, **how)
        agree(c.of(*c.tensors), convolved(c), c.tensors)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own maps"])
@pytest.mark.parametrize(
    ("rectify", "shifted"), [(False, False), (True, False), (True, True)], ids=str
)
def test_maps_are_shifted_and_rectified_as_asked(
    shared: bool, rectify: bool, shifted: bool
) -> None:
    c = case((3, 4), 5, shared=shared, rectify=rectify, shifted=shifted)
    agree(c.of(*c.tensors), convolved(c), c.tensors)


@pytest.mark.parametrize("outputs", [1, 2, 4, 5, 7])
def test_any_number_of_outputs_sees_a_shared_map(outputs: int) -> None:
    c = case((5, 4), 9, outputs=outputs)
    agree(c.of(*c.tensors), convolved(c), c.tensors)


@pytest.mark.parametrize("widths", [(1,), (9,), (3, 9), (1, 3)], ids=str)
def test_widths_that_were_not_compiled_are_computed_all_the_same(widths: Widths) -> None:
    c = case((6, 5), 5, widths)
    agree(c.of(*c.tensors), convolved(c), c.tensors)


def test_a_gradient_is_found_for_each_of_the_inputs_alone() -> None:
    c = case((3, 4), 5)
    grad = torch.randn_like(convolved(c))
    wanted = torch.autograd.grad(convolved(c), c.tensors, grad)
    for place, expected in enumerate(wanted):
        inputs = [t.detach().requires_grad_(i == place) for i, t in enumerate(c.tensors)]
        (found,) = torch.autograd.grad(c.of(*inputs), inputs[place], grad)
        torch.testing.assert_close(found, expected)


def test_maps_that_do_not_lie_in_one_piece_are_taken_as_they_read() -> None:
    c = case((4, 6), 5)
    x, weight, shift = c.tensors
    scattered = [
        x.detach().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        weight.detach().transpose(0, 2).contiguous().transpose(0, 2),
        shift.detach().repeat_interleave(2)[::2],
    ]
    assert not any(t.is_contiguous() for t in scattered)
    inputs = [t.requires_grad_() for t in scattered]
    wide = torch.randn(1, 1, 1, 1, 1, 5, dtype=x.dtype)
    found = torch.autograd.grad((c.of(*inputs) * wide).sum(), inputs)
    wanted = torch.autograd.grad((convolved(c) * wide).sum(), c.tensors)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("batch", [7, 31, 33, 70])
@pytest.mark.parametrize(("dilation", "stride"), [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own maps"])
def test_float32_errs_no_more_than_a_sum_of_so_many_products_may(
    batch: int, dilation: int, stride: int, shared: bool
) -> None:
    # Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: in any order, a sum of n
    # products errs by at most g(n) = n u / (1 - n u) times the sum of their sizes.
    how = {"dilation": dilation, "stride": stride, "shared": shared}
    c = case((5, 6), batch, **how, dtype=torch.float32)
    y = c.of(*c.tensors)
    grad = torch.randn_like(y)
    found = [y, *torch.autograd.grad(y, c.tensors, grad)]

    def exactly(tensors: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
        inputs = [t.detach().double().requires_grad_() for t in tensors]
        y = convolved(c._replace(x=inputs[0], weight=inputs[1], shift=inputs[2]))
        return [y, *torch.autograd.grad(y, inputs, grad.double())]

    # The sizes: the same sums with nothing negative, where the rectified maps were positive.
    x, weight, shift = (t.detach() for t in c.tensors)
    moved = x.double() + shift[..., None, None, None]
    sizes = exactly([moved.relu(), weight.abs(), torch.zeros_like(shift)], grad.abs())
    of_y, of_x = c.weight.shape[-1], c.weight.shape[-1] * OUTPUTS
    terms = [of_y, of_x, math.prod(y.shape[-3:]), of_x + math.prod(x.shape[-3:])]
    for ours, wanted, size, n in zip(found, exactly(c.tensors, grad), sizes, terms, strict=True):
        n += 1  # the rounding of x + shift
        bound = n * UNIT / (1 - n * UNIT) * size.abs()
        assert bool(((ours.double() - wanted).abs() <= bound).all())


def pooled(x: Tensor, stride: int) -> Tensor:
    """Return what torch's own pools make of ``x``."""
    maps = x.permute(3, 0, 1, 2)
    largest = functional.max_pool2d(maps, 3, stride, padding=1)
    mean = functional.avg_pool2d(maps, 3, stride, padding=1, count_include_pad=False)
    return torch.stack([largest.permute(1, 2, 3, 0), mean.permute(1, 2, 3, 0)])


@pytest.mark.parametrize("batch", [1, 5, 9, 17, 33])
@pytest.mark.parametrize("size", [(7, 11), (1, 9), (9, 1), (2, 2), (1, 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_pools_are_those_of_torch_with_their_gradients(
    size: tuple[int, int], batch: int, stride: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(CHANNELS, *size, batch, dtype=torch.float64, requires_grad=True)
    agree(kernels.pools(x, stride), pooled(x, stride), [x])


@pytest.mark.parametrize("stride", [1, 2])
def test_the_first_of_equal_largest_values_gets_the_gradient_as_in_torch(stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randint(-1, 2, (CHANNELS, 7, 6, 17)).double().requires_grad_()
    agree(kernels.pools(x, stride), pooled(x, stride), [x])
    even = torch.zeros(1, 4, 4, 3, dtype=torch.float64, requires_grad=True)
    agree(kernels.pools(even, stride), pooled(even, stride), [even])


@pytest.mark.parametrize("stride", [1, 2])
def test_float32_pools_are_the_exact_largest_value_and_a_rounded_mean(stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(CHANNELS, 7, 6, 33)
    found, wanted = kernels.pools(x, stride), pooled(x.double(), stride)
    assert torch.equal(found[0].double(), wanted[0])
    bound = 12 * UNIT * pooled(x.double().abs(), stride)[1]  # nine terms, 1 / 9, a product
    assert bool(((found[1].double() - wanted[1]).abs() <= bound).all())


def with_a_nan(*shape: int) -> Tensor:
    torch.manual_seed(0)
    x = torch.randn(*shape, dtype=torch.float64)
    x[0, 2, 3, 1] = torch.nan
    return x


@pytest.mark.parametrize("rectify", [True, False])
def test_what_is_not_a_number_reaches_the_convolutions_that_see_it(
    backend: str, rectify: bool
) -> None:
    c = case((6, 7), 5, shifted=False, rectify=rectify)
    c = c._replace(x=with_a_nan(CHANNELS, 6, 7, 5))
    found, wanted = c.of(c.x, c.weight), convolved(c)
    assert bool(wanted.isnan().any())
    assert not bool(wanted.isnan().all())
    if backend == "plain":  # zeros of its band matrices carry it further
        assert bool(found[wanted.isnan()].isnan().all())
        seen = ~found.isnan()
        torch.testing.assert_close(found[seen], wanted[seen])
    else:
        torch.testing.assert_close(found, wanted, equal_nan=True)


def test_what_is_not_a_number_reaches_the_gradients_of_the_weights() -> None:
    c = case((6, 7), 5, shifted=False)
    c = c._replace(x=with_a_nan(CHANNELS, 6, 7, 5))
    results = c.of(c.x, c.weight), convolved(c)
    found, wanted = (torch.autograd.grad(y.sum(), c.weight)[0] for y in results)
    assert bool(wanted.isnan().any())
    torch.testing.assert_close(found, wanted, equal_nan=True)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_not_a_number_is_the_largest_of_its_windows(stride: int) -> None:
    x = with_a_nan(CHANNELS, 6, 7, 5)
    found, wanted = kernels.pools(x, stride), pooled(x, stride)
    assert bool(wanted[0].isnan().any())
    torch.testing.assert_close(found, wanted, equal_nan=True)


@pytest.mark.parametrize("infinity", [torch.inf, -torch.inf])
def test_infinite_values_are_pooled_as_in_torch(infinity: float) -> None:
    x = torch.randn(CHANNELS, 6, 7, 5, dtype=torch.float64)
    x[0, 2:5, 3:6] = infinity
    torch.testing.assert_close(kernels.pools(x), pooled(x, 1))


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own maps"])
@pytest.mark.parametrize(
    ("rectify", "shifted"), [(False, False), (True, False), (True, True)], ids=str
)
@pytest.mark.parametrize(("dilation", "stride"), [(1, 1), (2, 2)])
def test_a_depthwise_convolution_can_be_differentiated_twice(
    shared: bool, rectify: bool, shifted: bool, dilation: int, stride: int
) -> None:
    how = {"shared": shared, "rectify": rectify, "dilation": dilation, "stride": stride}
    c = case((3, 4), 2, (3,), **how, shifted=shifted, outputs=2)
    assert gradcheck(c.of, c.tensors)
    assert gradgradcheck(c.of, c.tensors)


def test_kernels_of_several_sizes_can_be_differentiated_twice_and_for_some_inputs_only() -> None:
    c = case((2, 3), 2, outputs=1)
    assert gradgradcheck(c.of, c.tensors, fast_mode=True)
    for place in range(3):
        inputs = [t.detach().requires_grad_(i != place) for i, t in enumerate(c.tensors)]
        assert gradgradcheck(c.of, inputs, fast_mode=True)


@pytest.mark.parametrize("stride", [1, 2])
def test_pools_can_be_differentiated_twice(stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randperm(2 * 3 * 4 * 3).double().view(2, 3, 4, 3).div(10).requires_grad_()
    for function in (kernels.pools, lambda x, stride: kernels.pools(x, stride).pow(2)):
        assert gradcheck(lambda x, f=function: f(x, stride), (x,))
        assert gradgradcheck(lambda x, f=function: f(x, stride), (x,))
