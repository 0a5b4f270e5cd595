"""DenseNet-BC: 100 layers, each fed by all earlier ones of its stage; 0.8 million parameters.

Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017: growth
rate k = 12, depth L = 100, bottlenecks, compression 0.5 (table 2: 0.8 M parameters on CIFAR).

Deviations: no dropout, which the paper uses only where it does not augment. Inputs of more than
4,096 positions meet the stem of the paper's networks for ImageNet (table 1), with 24 filters.
"""

from functools import partial

import torch
from torch import nn
from torchvision.models import DenseNet

from search_space.baselines._adapt import first_convolution, first_pools, fitted
from search_space.heads import halvings
from search_space.task import Task

GROWTH = 12
LAYERS = 16  # of a stage, two convolutions each: 3 x 2 x 16, stem, two transitions, classifier: 100


def build(task: Task) -> nn.Module:
    """Return the network for ``task``, with weights drawn from torch's global generator."""
    with torch.device("meta"):
        published = DenseNet(GROWTH, (LAYERS,) * 3, num_init_features=2 * GROWTH)
        features = published.features
        features.conv0 = first_convolution(task, 2 * GROWTH)
        features.pool0 = first_pools(task, partial(nn.MaxPool2d, 3, stride=2, padding=1))
        if halvings(task.spatial) == 0:
            # Where the first convolution is all of the stem, the first dense layer normalises.
            del features.norm0, features.relu0
        body = nn.Sequential(features, nn.ReLU(inplace=True))
    return fitted(body, task, published.classifier.in_features, nn.init.kaiming_normal_)
