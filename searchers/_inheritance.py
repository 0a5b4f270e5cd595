"""Inheritance: a network begins with the weights of another, as far as their modules correspond.

Function-preserving transforms: Chen, Goodfellow, Shlens: Net2Net, ICLR 2016, sections 2.2 and 2.3;
Wei, Wang, Rui, Chen: Network Morphism, ICML 2016, section 3; Elsken, Metzen, Hutter: Simple and
Efficient Architecture Search for Convolutional Neural Networks, 2018, section 3. Where a child is
its parent made wider, deeper by blocks that can be the identity, or of larger kernels, it computes
in evaluation mode what the parent computes. Where it is another architecture, modules in the same
place that are alike begin with the parent's weights and the others anew.

Deviations. Wider: new channels begin with initial weights and are read with weight zero, as in
Network Morphism; Net2Net copies channels and must add noise to tell the copies apart. Deeper: a new
block of ReLU, convolution and batch norm is the identity of what a ReLU precedes or follows.
In training mode an inserted batch norm normalises by its batch: there the function changes. Where
a state that was halved (FactorizedReduce) is added to one that was not, a wider child computes
something else, since a halving puts new channels into the middle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_ORDERED = (nn.Sequential, nn.ModuleList)
_WITHOUT_EFFECT = (nn.Identity, nn.Dropout)


def inherit(child: nn.Module, parent: nn.Module, shape: tuple[int, ...]) -> float:
    """Give ``child`` the weights of ``parent`` where they fit, in place.

    Args:
        child: with its own initial weights; new blocks become the identity where they can.
        parent: as trained; it is not changed.
        shape: of one input, without the batch.

    Returns:
        The share of the child's parameters that hold a value of the parent.
    """
    pairs = dict(_pairs(child, parent))
    known = _channels(child, pairs, shape)
    taken = 0
    with torch.no_grad():
        for module, other in pairs.items():
            taken += _take(module, other, known.get(module))
    return taken / max(1, sum(parameter.numel() for parameter in child.parameters()))


def become_identity(module: nn.Module) -> bool:
    """Make a chain of convolutions and batch norms compute its input, if it can; say whether.

    It can where each convolution keeps channels and resolution. ReLUs within stay what they are.
    """
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    chain = all(isinstance(m, nn.Sequential) or m in leaves for m in module.modules())
    if not chain or not all(map(_can_be_identity, leaves)):
        return False
    for leaf in leaves:
        if isinstance(leaf, _CONVOLUTIONS):
            nn.init.dirac_(leaf.weight, leaf.groups)
            if leaf.bias is not None:
                nn.init.zeros_(leaf.bias)
        elif isinstance(leaf, _BatchNorm) and leaf.affine:
            assert leaf.running_mean is not None
            assert leaf.running_var is not None
            with torch.no_grad():
                leaf.weight.copy_((leaf.running_var + leaf.eps).sqrt())
                leaf.bias.copy_(leaf.running_mean)
    return True


def _can_be_identity(leaf: nn.Module) -> bool:
    if isinstance(leaf, _CONVOLUTIONS):
        same = [
            side % 2 == 1 and pad == dilation * (side - 1) // 2
            for side, pad, dilation in zip(
                leaf.kernel_size, leaf.padding, leaf.dilation, strict=True
            )
            if isinstance(pad, int)
        ]
        whole = len(same) == len(leaf.kernel_size) and all(same)
        return whole and set(leaf.stride) == {1} and leaf.in_channels == leaf.out_channels
    if isinstance(leaf, _BatchNorm):
        return leaf.affine and leaf.track_running_stats
    return isinstance(leaf, (nn.ReLU, *_WITHOUT_EFFECT))


def _pairs(child: nn.Module, parent: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield the modules that correspond; make inserted blocks the identity."""
    if type(child) is not type(parent) or not _alike(child, parent):
        return
    yield child, parent
    own, others = list(child.named_children()), dict(parent.named_children())
    if isinstance(child, _ORDERED) and len(own) != len(others):
        chain = isinstance(child, nn.Sequential)
        yield from _aligned([module for _, module in own], list(others.values()), chain)
        return
    for name, module in own:
        if name in others:
            yield from _pairs(module, others[name])


def _aligned(
    own: list[nn.Module], others: list[nn.Module], chain: bool
) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Pair the items of two lists of different length in order, by the best total likeness.

    In a ``chain`` those that are left over become the identity if they can.
    """
    best = [[0.0] * (len(others) + 1) for _ in range(len(own) + 1)]
    for i, j in itertools.product(range(len(own)), range(len(others))):
        paired = best[i][j] + _likeness(own[i], others[j])
        best[i + 1][j + 1] = max(paired, best[i][j + 1], best[i + 1][j])
    i, j = len(own), len(others)
    while i > 0:
        if best[i][j] == best[i - 1][j]:
            i -= 1
            if chain:
                become_identity(own[i])
        elif best[i][j] == best[i][j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            yield from _pairs(own[i], others[j])


def _likeness(child: nn.Module, parent: nn.Module) -> float:
    """Return 0 for modules of different kinds, else from 1 to 2: the share that is the parent's."""
    if [(type(m), getattr(m, "stride", None)) for m in child.modules()] != [
        (type(m), getattr(m, "stride", None)) for m in parent.modules()
    ]:
        return 0.0
    sizes = [
        [math.prod(p.shape[:2]) for p in module.parameters()] or [1] for module in (child, parent)
    ]
    pairs = zip(*sizes, strict=False)  # one can have a bias that the other has not
    return 1 + sum(min(pair) / max(pair) for pair in pairs) / len(sizes[0])


def _alike(child: nn.Module, parent: nn.Module) -> bool:
    """Whether weights of two leaves of one type mean the same."""
    if not isinstance(child, _CONVOLUTIONS):
        return True
    assert isinstance(parent, _CONVOLUTIONS)
    same = child.groups == parent.groups or (_depthwise(child) and _depthwise(parent))
    return same and (child.stride, child.dilation) == (parent.stride, parent.dilation)


def _depthwise(module: nn.Module) -> bool:
    return isinstance(module, _CONVOLUTIONS) and (
        module.groups == module.in_channels == module.out_channels > 1
    )


def _channels(
    child: nn.Module, pairs: Mapping[nn.Module, nn.Module], shape: tuple[int, ...]
) -> dict[nn.Module, Tensor]:
    """Return for each leaf with weights which channels of its input the parent has too.

    The child is run once with marks in place of numbers: 1 in the channels that a layer has from
    its parent, 0 in the new ones. Sums, concatenations, ReLUs and pools carry them along.
    """
    found: dict[nn.Module, Tensor] = {}

    def mark(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
        flat = given[0].transpose(0, 1).flatten(1)
        found[module] = (flat > 0).any(1).cpu()
        if isinstance(module, _BatchNorm):
            return given[0]
        if _depthwise(module):
            marks = found[module].to(made).view(1, -1, *[1] * (made.dim() - 2))
            return marks.expand_as(made)
        marks = torch.ones_like(made)
        if module in pairs:
            marks[:, len(pairs[module].weight) :] = 0  # type: ignore[arg-type]
        return marks

    leaves = [m for m in child.modules() if isinstance(m, (*_CONVOLUTIONS, nn.Linear, _BatchNorm))]
    hooks = [leaf.register_forward_hook(mark) for leaf in leaves]
    training = child.training
    try:
        with torch.no_grad():
            like = next(child.parameters())
            child.eval()(torch.ones(1, *shape, device=like.device, dtype=like.dtype))
    finally:
        child.train(training)
        for hook in hooks:
            hook.remove()
    return found


def _take(child: nn.Module, parent: nn.Module, known: Tensor | None) -> int:
    """Copy the weights of one leaf; return how many numbers of its parameters were the parent's."""
    others = dict(parent.named_parameters(recurse=False)) | dict(
        parent.named_buffers(recurse=False)
    )
    if isinstance(child, (*_CONVOLUTIONS, nn.Linear)):
        return _take_weights(child, others, known)
    taken = 0
    tensors = dict(child.named_parameters(recurse=False)) | dict(child.named_buffers(recurse=False))
    for name, tensor in tensors.items():
        other = others.get(name)
        if other is None:
            continue
        if tensor.shape == other.shape:
            tensor.copy_(other)
        elif known is not None and tensor.shape == known.shape and int(known.sum()) == len(other):
            tensor[known.to(tensor.device)] = other.to(tensor)
        else:
            continue
        taken += other.numel() if isinstance(tensor, nn.Parameter) else 0
    return taken


def _take_weights(
    child: nn.Conv1d | nn.Conv2d | nn.Linear, others: Mapping[str, Tensor], known: Tensor | None
) -> int:
    own, other = child.weight, others["weight"]
    sides, larger = other.shape[2:], own.shape[2:]
    gaps = [b - a for a, b in zip(sides, larger, strict=True)]
    if len(other) > len(own) or any(gap < 0 or gap % 2 for gap in gaps):
        return 0
    rows, columns = torch.arange(len(other)), torch.arange(own.shape[1])
    seen = known is not None and int(known.sum())
    if _depthwise(child):
        if seen != len(other):
            return 0
        assert known is not None
        rows = known.nonzero().flatten()
    elif own.shape[1] != other.shape[1]:
        if known is None or seen != other.shape[1]:
            return 0
        columns = known.nonzero().flatten()
    # What the parent has reads nothing but what it read there; kernels grow by zeros.
    middle = tuple(slice(g // 2, g // 2 + a) for g, a in zip(gaps, sides, strict=True))
    part = own.new_zeros(len(rows), len(columns), *larger)
    part[(slice(None),) * 2 + middle] = other.to(own)
    whole = own.new_zeros(len(rows), *own.shape[1:])
    whole[:, columns] = part
    own[rows] = whole
    if child.bias is not None and "bias" in others:
        child.bias[rows] = others["bias"].to(own)
        return other.numel() + len(rows)
    return other.numel()
