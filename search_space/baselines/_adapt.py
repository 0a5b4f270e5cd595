"""Published 2-D networks made to fit a task: 1-D or 2-D inputs, any channels, any size.

One rule for all networks chooses the stem. Inputs of at most 4,096 positions
(:data:`search_space.heads.POSITIONS`) meet a 3x3 convolution of stride 1, as published networks for
CIFAR do. Larger ones meet the 7x7 convolution of stride 2 of the networks for ImageNet, and after
it as many of their pools of stride 2 as bring the positions down to that. At 224 x 224 this is one
pool: the published stem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from search_space.heads import Head, halvings
from search_space.task import Task

Initialise = Callable[[Tensor], object]

_CONVOLUTION: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORMALISATION: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
_DROPOUT: dict[int, type[nn.Module]] = {1: nn.Dropout1d, 2: nn.Dropout2d}
_MAX: dict[int, Callable[..., Tensor]] = {1: functional.max_pool1d, 2: functional.max_pool2d}
_AVERAGE: dict[int, Callable[..., Tensor]] = {1: functional.avg_pool1d, 2: functional.avg_pool2d}


class Pool(nn.Module):
    """A max or average pool over 1-D or 2-D maps that takes maps of any size, 1 x 1 included.

    The window is cut to the map where the map is smaller. A pool without padding keeps what is
    left at the edge, so odd sizes are halved upwards; on sizes that its stride divides it does
    what the ``published`` one does.
    """

    def __init__(self, published: nn.MaxPool2d | nn.AvgPool2d):
        super().__init__()
        self.kernel, self.stride, self.padding = (
            n if isinstance(n, int) else n[0]
            for n in (published.kernel_size, published.stride, published.padding)
        )
        self.average = isinstance(published, nn.AvgPool2d)

    def forward(self, x: Tensor) -> Tensor:
        kernel = [min(self.kernel, size + 2 * self.padding) for size in x.shape[2:]]
        pool = (_AVERAGE if self.average else _MAX)[len(kernel)]
        return pool(x, kernel, self.stride, self.padding, ceil_mode=self.padding == 0)


def first_convolution(task: Task, channels: int) -> nn.Conv2d:
    """Return a stem's convolution, in 2-D and without bias: 3x3, or 7x7 that halves the input."""
    if halvings(task.spatial) == 0:
        return nn.Conv2d(task.channels, channels, 3, padding=1, bias=False)
    return nn.Conv2d(task.channels, channels, 7, stride=2, padding=3, bias=False)


def first_pools(task: Task, pool: Callable[[], nn.Module]) -> nn.Sequential:
    """Return the pools of stride 2 that bring an input down after :func:`first_convolution`."""
    return nn.Sequential(*(pool() for _ in range(halvings(task.spatial) - 1)))


def fitted(body: nn.Module, task: Task, channels: int, initialise: Initialise) -> nn.Sequential:
    """Return ``body`` made to fit the inputs of ``task``, and a head for its outputs.

    For dense outputs that is a fully convolutional network without skip connections (FCN-32s of
    Long et al., CVPR 2015): fine detail does not pass the smallest maps.

    Args:
        body: 2-D network up to its last feature maps; best built on the meta device, since none of
            its weights are kept. Takes ``task.channels`` channels.
        channels: of the last feature maps.
        initialise: sets the weights of a convolution in place, from torch's global generator;
            biases start at zero.
    """
    return nn.Sequential(_fitted(body, len(task.spatial), initialise), Head(task, channels))


def _fitted(module: nn.Module, ndim: int, initialise: Initialise) -> nn.Module:
    if isinstance(module, nn.Conv2d):
        return _convolution(module, ndim, initialise)
    if isinstance(module, nn.BatchNorm2d):
        options = {"eps": module.eps, "momentum": module.momentum}
        return _NORMALISATION[ndim](module.num_features, **options)
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return Pool(module)
    if isinstance(module, nn.Dropout2d):
        return _DROPOUT[ndim](module.p)
    for name, child in module.named_children():
        setattr(module, name, _fitted(child, ndim, initialise))
    return module


def _convolution(published: nn.Conv2d, ndim: int, initialise: Initialise) -> nn.Module:
    options: dict[str, Any] = {
        name: getattr(published, name)[:ndim]
        for name in ("kernel_size", "stride", "padding", "dilation")
    }
    # The default start would be drawn for nothing: it takes as long as the one that follows.
    convolution = skip_init(
        _CONVOLUTION[ndim],
        published.in_channels,
        published.out_channels,
        groups=published.groups,
        bias=published.bias is not None,
        device=torch.get_default_device(),
        **options,
    )
    initialise(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
