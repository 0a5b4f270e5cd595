"""Tensors and generators as plain values that JSON holds exactly, for the states of samplers."""

from __future__ import annotations

import base64
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def of_tensor(tensor: Tensor) -> dict[str, Any]:
    """Return a tensor as its type, its shape, and its little-endian bytes in base64."""
    array = tensor.detach().cpu().contiguous().numpy()
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    content = base64.b64encode(array.tobytes()).decode("ascii")
    return {"type": array.dtype.str, "shape": list(array.shape), "base64": content}


def to_tensor(plain: dict[str, Any]) -> Tensor:
    """Return the tensor that :func:`of_tensor` wrote."""
    array = np.frombuffer(base64.b64decode(plain["base64"]), dtype=np.dtype(plain["type"]))
    # In the machine's own order of bytes, and a copy: what was read cannot be written to.
    native = array.astype(array.dtype.newbyteorder("="), copy=True)
    return torch.from_numpy(native.reshape(plain["shape"]))


def of_random(rng: random.Random) -> list[Any]:
    """Return the position of a generator of Python's."""
    version, numbers, gauss = rng.getstate()
    return [version, list(numbers), gauss]


def to_random(rng: random.Random, plain: list[Any]) -> None:
    """Put a generator of Python's where :func:`of_random` found one."""
    version, numbers, gauss = plain
    rng.setstate((version, tuple(numbers), gauss))


def of_generator(generator: torch.Generator) -> dict[str, Any]:
    """Return the position of a generator of torch's."""
    return of_tensor(generator.get_state())


def to_generator(generator: torch.Generator, plain: dict[str, Any]) -> None:
    """Put a generator of torch's where :func:`of_generator` found one."""
    generator.set_state(to_tensor(plain))
