"""GoogLeNet: nine inception modules, each four parallel branches; 6 million parameters.

Szegedy et al.: Going Deeper with Convolutions, CVPR 2015, table 1; after torchvision's definition,
which has batch normalisation, and a 3x3 convolution where the paper has a 5x5 one
(https://github.com/pytorch/vision/issues/906).

Deviations: no auxiliary classifiers. Inputs of at most 4,096 positions meet a 3x3 convolution in
place of the 7x7 convolution and the first pool, both of stride 2. Weights start as in the authors'
Caffe release (variance one over the fan-in).
"""

from functools import partial

import torch
from torch import nn
from torchvision.models import GoogLeNet

from search_space.baselines._adapt import first_convolution, first_pools, fitted
from search_space.task import Task

DROPOUT = 0.4  # table 1


def build(task: Task) -> nn.Module:
    """Return the network for ``task``, with weights drawn from torch's global generator."""
    with torch.device("meta"):
        layers = dict(GoogLeNet(aux_logits=False, init_weights=False).named_children())
        layers["conv1"].conv = first_convolution(task, 64)
        pool = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)
        layers["maxpool1"] = first_pools(task, pool)
        for name in ("avgpool", "dropout", "fc"):
            del layers[name]
        # Dropping a channel before the average over positions is dropping its average.
        body = nn.Sequential(*layers.values(), nn.Dropout2d(DROPOUT))
    xavier = partial(nn.init.kaiming_uniform_, nonlinearity="linear")
    return fitted(body, task, 1024, xavier)
