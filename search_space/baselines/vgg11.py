"""VGG-11 with batch normalisation: eight 3x3 convolutions, a pool after every stage, no shortcuts.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
table 1, column A; batch normalisation as in torchvision's ``vgg11_bn``.

Deviations: global average and one linear layer take the place of the three linear layers and their
dropout, which hold 123 of the published 133 million parameters and fit one input size only. There
is no stem to choose: the network was published with stride 1 and five pools, and is used so for
CIFAR too. Inputs larger than those it was made for are averaged down first, as images are.
"""

from functools import partial

import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from search_space.baselines._adapt import fitted
from search_space.heads import halvings
from search_space.task import Task

# At 224 x 224, which the network was made for, other networks' stems halve twice.
PUBLISHED_HALVINGS = 2


def build(task: Task) -> nn.Module:
    """Return the network for ``task``, with weights drawn from torch's global generator."""
    with torch.device("meta"):
        shrink = [nn.AvgPool2d(2) for _ in range(halvings(task.spatial) - PUBLISHED_HALVINGS)]
        features = make_layers(cfgs["A"], batch_norm=True)
        features[0] = nn.Conv2d(task.channels, 64, 3, padding=1)
        body = nn.Sequential(*shrink, *features)
    he = partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu")
    return fitted(body, task, 512, he)
