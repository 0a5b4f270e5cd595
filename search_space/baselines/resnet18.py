"""ResNet-18: four stages of two residual blocks, 64 to 512 filters; 11 million parameters.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, table 1.

At 224 x 224 it is the published network. Deviation: inputs of at most 4,096 positions meet a 3x3
convolution in place of the 7x7 convolution and the pool, both of stride 2.
"""

from torch import nn

from search_space.baselines._residual import residual_network
from search_space.task import Task


def build(task: Task) -> nn.Module:
    """Return the network for ``task``, with weights drawn from torch's global generator."""
    return residual_network(task, widths=(64, 128, 256, 512), blocks=2)
