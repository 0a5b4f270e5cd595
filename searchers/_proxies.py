"""Zero-cost proxies: numbers of an untrained network that are to say how well it will train.

Abdelfattah, Mehrotra, Dudziak, Lane: Zero-Cost Proxies for Lightweight NAS, ICLR 2021, section 3,
and the papers named with each. Higher means better. Weights are those of convolutions and linear
layers, as there. Each leaves the network's parameters, buffers and mode as they were.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from search_space.cost import Cost, cost
from search_space.task import Task
from searchers._epochs import PASSES_OF_A_STEP

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)

# Added to eigenvalues (Mellor et al., score of version 1; Abdelfattah's code).
_EIGENVALUE = 1e-5


@dataclass(frozen=True)
class Batch:
    """What a proxy looks at: ``inputs`` and ``targets`` of one batch, as the task gives them.

    ``cost`` is the network's where it is known already: counting takes as long as a proxy.
    """

    task: Task
    inputs: Tensor
    targets: Tensor
    cost: Cost | None = None


def synflow(network: nn.Module, batch: Batch) -> float:
    """Sum over weights of |w dR/dw|, in logarithm; R is the sum of outputs of |network| on ones.

    Tanaka, Kunin, Yamins, Ganguli: Pruning neural networks without any data by iteratively
    conserving synaptic flow, NeurIPS 2020, section 6. Of a chain of linear layers each layer's sum
    is the sum of entries of the product of the absolute matrices. Batch norms are left out, as by
    Abdelfattah. The logarithm, log(1 + sum), keeps the order of candidates and the numbers within
    reach of methods that fit scores. In float64: products over a deep network leave float32.
    """
    positive = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        for parameter in positive.parameters():
            parameter.abs_()
    for module in positive.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_hook(lambda module, given, made: given[0])
    ones = torch.ones(1, *batch.inputs.shape[1:], dtype=torch.float64, device=batch.inputs.device)
    weights = _weights(positive)
    gradients = torch.autograd.grad(positive(ones).sum(), weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    return math.log1p(sum(float((w * g).detach().abs().sum()) for w, g in pairs if g is not None))


def jacob_cov(network: nn.Module, batch: Batch) -> float:
    """How little the gradients at different inputs are correlated, by the correlations' spectrum.

    Mellor, Turner, Storkey, Crowley: Neural Architecture Search without Training, version 1, 2020,
    section 3: minus the sum of log(v + k) + 1 / (v + k) over the eigenvalues v of the correlation
    matrix of the rows d(sum of outputs)/d(input), with k = 1e-5. Batch norm takes the batch's
    statistics, as there. NaN where an input has no influence on the output.
    """
    inputs = batch.inputs.detach().clone().requires_grad_()
    with _training(network):
        (jacobian,) = torch.autograd.grad(network(inputs).sum(), inputs, allow_unused=True)
    if jacobian is None:
        return math.nan
    correlation = torch.corrcoef(jacobian.flatten(1).double())
    if not torch.isfinite(correlation).all():
        return math.nan
    values = torch.linalg.eigvalsh(correlation).clamp_(min=0)
    return -float((torch.log(values + _EIGENVALUE) + 1 / (values + _EIGENVALUE)).sum())


def naswot(network: nn.Module, batch: Batch) -> float:
    """How differently inputs switch the ReLUs: log |det K|, K_ij the number of those that agree.

    Mellor, Turner, Storkey, Crowley: Neural Architecture Search without Training, ICML 2021,
    section 3. Batch norm takes the batch's statistics and ReLUs that are no module are not seen, as
    in their code. NaN where K is singular: two inputs of the same code, or no ReLU.
    """
    agreeing = torch.zeros(len(batch.inputs), len(batch.inputs), dtype=torch.float64)

    def count(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        on = (made.detach().flatten(1) > 0).double().cpu()
        agreeing.add_(on @ on.T + (1 - on) @ (1 - on).T)

    relus = [module for module in network.modules() if isinstance(module, nn.ReLU)]
    hooks = [module.register_forward_hook(count) for module in relus]
    try:
        with _training(network), torch.no_grad():
            network(batch.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    value = float(torch.linalg.slogdet(agreeing).logabsdet)
    return value if math.isfinite(value) else math.nan


def grad_norm(network: nn.Module, batch: Batch) -> float:
    """Sum over layers of the Euclidean norm of the loss's gradient by the layer's weights.

    Abdelfattah et al. 2021, section 3.2.
    """
    return sum(float(gradient.norm()) for _, gradient in _gradients(network, batch))


def snip(network: nn.Module, batch: Batch) -> float:
    """Sum over weights of |w dL/dw|: what the loss would change if the weight were removed.

    Lee, Ajanthan, Torr: SNIP, ICLR 2019, equation 4; summed by Abdelfattah et al. 2021.
    """
    return sum(float((w * gradient).abs().sum()) for w, gradient in _gradients(network, batch))


def grasp(network: nn.Module, batch: Batch) -> float:
    """Minus the sum over weights of w (H g): what removing weights would do to the gradient's norm.

    Wang, Zhang, Grosse: Picking Winning Tickets before Training by Preserving Gradient Flow, ICLR
    2020, equation 8; summed by Abdelfattah et al. 2021, whose temperature is 1.
    """
    with _training(network):
        weights = _weights(network)
        loss = batch.task.loss(network(batch.inputs), batch.targets)
        gradients = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        flow = [(g.detach() * g).sum() for g in gradients if g is not None and g.requires_grad]
        if not flow:
            return 0.0
        products = torch.autograd.grad(torch.stack(flow).sum(), weights, allow_unused=True)
    pairs = zip(weights, products, strict=True)
    return -sum(float((w.detach() * p).sum()) for w, p in pairs if p is not None)


def parameters(network: nn.Module, batch: Batch) -> float:
    """The number of trainable parameters, which is hard to beat (White et al. 2022)."""
    return float((batch.cost or cost(network, batch.task)).parameters)


def multiply_adds(network: nn.Module, batch: Batch) -> float:
    """The multiply-adds of one example's forward pass."""
    return float((batch.cost or cost(network, batch.task)).multiply_adds)


@dataclass(frozen=True)
class Proxy:
    """A proxy and what it costs: ``passes`` forward passes of the batch, or of one example."""

    of: Callable[[nn.Module, Batch], float]
    passes: int
    whole_batch: bool = True


# A backward pass counts as two forward passes, also through the graph of a gradient.
PROXIES: dict[str, Proxy] = {
    "synflow": Proxy(synflow, PASSES_OF_A_STEP, whole_batch=False),
    "jacob_cov": Proxy(jacob_cov, PASSES_OF_A_STEP),
    "naswot": Proxy(naswot, 1),
    "grad_norm": Proxy(grad_norm, PASSES_OF_A_STEP),
    "snip": Proxy(snip, PASSES_OF_A_STEP),
    "grasp": Proxy(grasp, 3 * PASSES_OF_A_STEP),
    "parameters": Proxy(parameters, 0),
    "multiply_adds": Proxy(multiply_adds, 0),
}
"""Name in a plan -> proxy."""


def _weights(network: nn.Module) -> list[Tensor]:
    return [module.weight for module in network.modules() if isinstance(module, _WEIGHTED)]


def _gradients(network: nn.Module, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every layer's weight with the loss's gradient by it."""
    with _training(network):
        weights = _weights(network)
        loss = batch.task.loss(network(batch.inputs), batch.targets)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    yield from ((w.detach(), gradient) for w, gradient in pairs if gradient is not None)


@contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    """Put the network in training mode, and back with the buffers that it had."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    before = network.training
    network.train()
    try:
        yield
    finally:
        network.train(before)
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])
