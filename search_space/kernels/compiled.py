"""The compiled form of the operators: batch_last.cpp through ctypes.

The library is built at installation for several levels of instruction sets (see pyproject.toml),
each a file of its own; the highest that the running CPU has is loaded. So a package that was built
on one machine works on another.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import os
import warnings
from ctypes import POINTER, c_int, c_int64, c_long, c_void_p
from pathlib import Path

import torch
from torch import Tensor

from search_space.kernels.how import Depthwise

TYPES = {torch.float32: "float32", torch.float64: "float64"}
WIDTHS = {3, 5, 7}

# What torch calls the CPU's instructions, and the files that such a CPU can run, best first.
_FILES = {
    "AVX512": ("_avx512", "_avx2", "_baseline"),
    "AVX2": ("_avx2", "_baseline"),
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the best library that was built and that this CPU can run; None if there is none."""
    level = torch.backends.cpu.get_cpu_capability()
    for name in _FILES.get(level, ("_baseline",)):
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(__file__).with_name(name + suffix)
            if path.exists():
                try:
                    return ctypes.CDLL(os.fspath(path))
                except OSError as error:
                    warnings.warn(f"cannot load {path.name}: {error}", stacklevel=2)
    return None


@functools.cache
def available() -> bool:
    """Whether there is a compiled form. Says once where there is none."""
    if library() is None:
        warnings.warn(
            "the compiled kernels were not built at installation (no C++ compiler?): supernets "
            "run in plain torch, with the same results, at a fraction of the speed",
            stacklevel=2,
        )
    return library() is not None


def depthwise(x: Tensor, weight: Tensor, shift: Tensor | None, how: Depthwise) -> Tensor:
    """See search_space.kernels.depthwise."""
    _check(x, weight, shift, how)
    h, w, n = x.shape[-3:]
    outputs, channels, _ = weight.shape
    height, width = -(-h // how.stride), -(-w // how.stride)
    out = x.new_empty(outputs, len(how.widths), channels, height, width, n)
    shift = None if shift is None else shift.contiguous()
    _door("forward", x.dtype)(
        *map(_pointer, (x, weight, shift, out)),
        *_numbers(x, weight, how),
    )
    return out


def depthwise_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    shift: Tensor | None,
    how: Depthwise,
    need_x: bool,
    need_weight: bool,
    offset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by x, weight and shift; empty tensors where they are not needed.

    ``offset`` is added to each map of ``grad``.
    """
    shift = None if shift is None else shift.contiguous()
    by_x = torch.empty_like(x) if need_x else x.new_empty(0)
    by_weight = torch.empty_like(weight) if need_weight else x.new_empty(0)
    by_shift = torch.empty_like(shift) if need_x and shift is not None else x.new_empty(0)
    _door("backward", x.dtype)(
        *map(_pointer, (x, weight, shift, grad, offset, by_x, by_weight, by_shift)),
        *_numbers(x, weight, how),
    )
    return by_x, by_weight, by_shift


def pools(x: Tensor, stride: int, largest: bool, mean: bool) -> tuple[Tensor, Tensor]:
    """Return the pools and the place 0..8 of each largest value in its window."""
    c, h, w, n = x.shape
    out = x.new_empty(largest + mean, c, -(-h // stride), -(-w // stride), n)
    index = torch.empty(out.shape[1:] if largest else 0, dtype=torch.uint8)
    _door("pools", x.dtype)(
        *map(_pointer, (x, out[0] if largest else None, out[-1] if mean else None, index)),
        c,
        h,
        w,
        n,
        stride,
        torch.get_num_threads(),
    )
    return out, index


def pools_backward(
    grad: Tensor, index: Tensor, height: int, width: int, stride: int, largest: bool, mean: bool
) -> Tensor:
    """Return the gradient by the input of :func:`pools`."""
    c, n = grad.shape[1], grad.shape[-1]
    out = grad.new_empty(c, height, width, n)
    _door("pools_backward", grad.dtype)(
        *map(_pointer, (grad[0] if largest else None, grad[-1] if mean else None, index, out)),
        c,
        height,
        width,
        n,
        stride,
        torch.get_num_threads(),
    )
    return out


def _check(x: Tensor, weight: Tensor, shift: Tensor | None, how: Depthwise) -> None:
    """Raise ValueError where the pointers would lead outside of the tensors."""
    outputs, channels, taps = weight.shape
    maps = (channels,) if how.shared else (outputs, len(how.widths), channels)
    fits = x.shape[:-3] == maps and taps == sum(how.taps)
    fits = fits and x.dtype == weight.dtype
    if shift is not None:
        fits = fits and shift.shape == maps and shift.dtype == x.dtype
    if not fits:
        raise ValueError(
            f"maps {list(x.shape)} of {x.dtype}, weights {list(weight.shape)} of {weight.dtype} "
            f"and kernels {list(how.widths)} don't go together"
        )


# What the functions take: pointers, and then numbers.
_DEPTHWISE = [c_long, c_long, POINTER(c_int64), c_int, *[c_long] * 4, *[c_int] * 5]
_POOLS = [c_long, c_int, c_int, c_long, c_int, c_int]
_ARGUMENTS = {
    "forward": [*[c_void_p] * 4, *_DEPTHWISE],
    "backward": [*[c_void_p] * 8, *_DEPTHWISE],
    "pools": [*[c_void_p] * 4, *_POOLS],
    "pools_backward": [*[c_void_p] * 4, *_POOLS],
}


def _door(name: str, dtype: torch.dtype) -> ctypes._NamedFuncPointer:
    found = library()
    assert found is not None
    return _function(found, name, dtype)


@functools.cache
def _function(found: ctypes.CDLL, name: str, dtype: torch.dtype) -> ctypes._NamedFuncPointer:
    function = getattr(found, f"{TYPES[dtype]}_{name}")
    function.argtypes, function.restype = _ARGUMENTS[name], None
    return function


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None or tensor.numel() == 0 else tensor.data_ptr()


def _numbers(x: Tensor, weight: Tensor, how: Depthwise) -> tuple[object, ...]:
    outputs, channels, _ = weight.shape
    count = len(how.widths)
    return (
        outputs,
        count,
        (c_int64 * count)(*how.widths),
        how.flat,
        channels,
        *x.shape[-3:],
        how.dilation,
        how.stride,
        how.shared,
        how.rectify,
        torch.get_num_threads(),
    )
