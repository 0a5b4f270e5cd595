"""Tiny ResNet: ten layers, an eighth of ResNet-18's filters, one block a stage; 77,000 parameters.

The "tiny ResNet" of the Harvard AC297r capstone on architecture search for scientific data sets
(2019): 77,273 parameters on graphene kirigami, one input channel and one target, where it came as
far as ResNet-18 and the networks that were searched. Blocks after He et al., CVPR 2016. The stem
is that of ``resnet18``.
"""

from torch import nn

from search_space.baselines._residual import residual_network
from search_space.task import Task


def build(task: Task) -> nn.Module:
    """Return the network for ``task``, with weights drawn from torch's global generator."""
    return residual_network(task, widths=(8, 16, 32, 64), blocks=1)
