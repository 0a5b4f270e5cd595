"""Zero-cost proxies: against closed forms in float64, and as scores of candidates."""

from __future__ import annotations

import copy
import dataclasses
import math
import random

import pytest
import torch
from torch import Tensor, nn

from search_space.metric import Metric
from search_space.spaces import SPACES
from search_space.task import Task
from searchers._proxies import PROXIES, Batch
from searchers.estimators import ESTIMATORS

CPU = torch.device("cpu")
N, INPUTS, OUTPUTS = 6, 4, 3


@pytest.fixture
def task(make_task) -> Task:
    return make_task((1, INPUTS), "regression", n=N)


@pytest.fixture
def batch(task) -> Batch:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(N, INPUTS, generator=generator, dtype=torch.float64)
    return Batch(task, inputs, torch.randn(N, OUTPUTS, generator=generator, dtype=torch.float64))


def linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator))
    return layer


def value(name: str, network: nn.Module, batch: Batch) -> float:
    return PROXIES[name].of(network, batch)


def residual(layer: nn.Linear, batch: Batch) -> Tensor:
    """The gradient of the mean squared error of a linear layer, by hand."""
    error = batch.inputs @ layer.weight.detach().T - batch.targets
    return 2 / error.numel() * error.T @ batch.inputs


def test_synflow_of_a_chain_is_its_product_once_for_each_layer(batch):
    layers = [linear(INPUTS, 5, 1), linear(5, 7, 2), linear(7, OUTPUTS, 3)]
    norm = nn.BatchNorm1d(7).double()
    norm.running_mean.fill_(3.0)  # batch norms are left out: their state must not show
    network = nn.Sequential(layers[0], nn.ReLU(), layers[1], norm, layers[2])
    product = torch.eye(INPUTS, dtype=torch.float64)
    for layer in layers:
        product = layer.weight.detach().abs() @ product
    wanted = math.log1p(3 * float(product.sum()))
    assert value("synflow", network, batch) == pytest.approx(wanted, rel=1e-12)


def test_synflow_counts_weights_without_a_path_to_the_output_as_nothing(batch):
    class Stump(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dead, self.alive = linear(INPUTS, 5, 1), linear(INPUTS, 2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.alive(x) + 0 * self.dead(x).sum()

    network = Stump()
    wanted = math.log1p(float(network.alive.weight.detach().abs().sum()))
    assert value("synflow", network, batch) == pytest.approx(wanted, rel=1e-12)


def test_jacob_cov_of_a_linear_network_is_that_of_correlations_of_one(batch):
    network = nn.Sequential(linear(INPUTS, 5, 1), linear(5, OUTPUTS, 2))
    k = 1e-5  # the gradients are the same at every input: eigenvalues N and N - 1 times 0
    wanted = -(math.log(N + k) + 1 / (N + k)) - (N - 1) * (math.log(k) + 1 / k)
    # An eigenvalue off by 1e-15, as rounding makes it, moves 1 / (v + k) by 1e-5 of 1e5.
    assert value("jacob_cov", network, batch) == pytest.approx(wanted, rel=1e-9)


def test_jacob_cov_of_uncorrelated_gradients_is_that_of_eigenvalues_of_one(task):
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square() / 2  # its gradient is the input

    hadamard = torch.tensor(
        [[1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64
    )  # rows of mean zero, orthogonal to one another
    k = 1e-5
    wanted = -3 * (math.log(1 + k) + 1 / (1 + k))
    found = value("jacob_cov", Square(), Batch(task, hadamard, hadamard))
    assert found == pytest.approx(wanted, rel=1e-12)


def test_naswot_is_the_determinant_of_the_numbers_of_agreeing_relus(batch):
    network = nn.Sequential(
        linear(INPUTS, 9, 1), nn.ReLU(), linear(9, 8, 2), nn.ReLU(), linear(8, OUTPUTS, 3)
    )
    first = batch.inputs @ network[0].weight.detach().T
    second = first.clamp(min=0) @ network[2].weight.detach().T
    codes = [[*(row > 0).tolist()] for row in torch.cat([first, second], dim=1)]
    agreeing = [[sum(a == b for a, b in zip(c, d, strict=True)) for d in codes] for c in codes]
    wanted = math.log(float(torch.linalg.det(torch.tensor(agreeing, dtype=torch.float64)).abs()))
    assert value("naswot", network, batch) == pytest.approx(wanted, rel=1e-9)


def test_gradient_norm_and_snip_of_a_linear_layer_are_those_by_hand(batch):
    layer = linear(INPUTS, OUTPUTS, 1)
    gradient = residual(layer, batch)
    norm = float(gradient.square().sum().sqrt())
    assert value("grad_norm", layer, batch) == pytest.approx(norm, rel=1e-12)
    wanted = float((layer.weight.detach() * gradient).abs().sum())
    assert value("snip", layer, batch) == pytest.approx(wanted, rel=1e-12)


def test_grasp_of_a_linear_layer_is_that_of_its_constant_hessian(batch):
    layer = linear(INPUTS, OUTPUTS, 1)
    # Each row of the weights sees 2 / (N outputs) X'X.
    product = residual(layer, batch) @ (2 / (N * OUTPUTS) * batch.inputs.T @ batch.inputs)
    wanted = -float((layer.weight.detach() * product).sum())
    assert value("grasp", layer, batch) == pytest.approx(wanted, rel=1e-12)


def test_gradients_of_a_deep_network_are_autograd_s_layer_by_layer(batch):
    network = nn.Sequential(
        linear(INPUTS, 5, 1), nn.BatchNorm1d(5).double(), nn.ReLU(), linear(5, OUTPUTS, 2)
    )
    again = copy.deepcopy(network).train()
    batch.task.loss(again(batch.inputs), batch.targets).backward()
    weights = [again[0].weight, again[3].weight]
    norm = sum(float(w.grad.norm()) for w in weights)
    assert value("grad_norm", network.eval(), batch) == pytest.approx(norm, rel=1e-12)
    moved = sum(float((w * w.grad).detach().abs().sum()) for w in weights)
    assert value("snip", network, batch) == pytest.approx(moved, rel=1e-12)


@pytest.mark.parametrize("name", list(PROXIES))
def test_a_proxy_leaves_the_network_as_it_was(make_task, name):
    task = make_task((1, 8, 8))
    space = SPACES.load("darts")(nodes=2)
    network = space.build(space.sample(random.Random(1)), task, channels=2, layers=2).eval()
    before = copy.deepcopy(network.state_dict())
    PROXIES[name].of(network, Batch(task, *task.batch(task.train, torch.arange(8))))
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


def program(task: Task, genotype: str | None = None, **params: object):
    space, cls = SPACES.load("nasbench201")(), ESTIMATORS.load("zero_cost")
    chosen = space.parse(genotype) if genotype else space.sample(random.Random(3))
    estimator = cls(cls.Params(**{"channels": 4, "layers": 3, "batch_size": 5, **params}))
    made = estimator.program(space, chosen, task.without_test(), seed=1, device=CPU)
    return made, estimator.compute(space, chosen, task)


def test_the_first_proxy_is_the_score_and_all_are_recorded(make_task, drive):
    names = ("grad_norm", "synflow", "parameters", "multiply_adds")
    made, compute = program(make_task((1, 8, 8)), proxies=names)
    trace = drive(made)
    found = {row.name: row.value for row in trace.measurements}
    assert list(found) == list(names)
    assert trace.outcome.score == found["grad_norm"]
    assert found["parameters"] == trace.outcome.parameters
    assert found["multiply_adds"] == trace.outcome.multiply_adds
    # 3 passes of 5 examples, and of one.
    assert trace.outcome.compute == compute == trace.outcome.multiply_adds * (3 * 5 + 3)


def test_a_program_that_is_interrupted_between_proxies_ends_alike(make_task, drive, differences):
    task = make_task((1, 8, 8))

    def make():
        return program(task, proxies=("snip", "naswot", "grasp"))[0]

    assert differences(drive(make()).end, drive(make(), fresh=make).end) == []


def test_where_a_low_metric_is_good_so_is_a_low_score(make_task, drive):
    task = make_task((1, 8, 8), "regression")
    metric = Metric("RMSE", False, lambda a, b: float((a - b).square().mean().sqrt()))
    lower = dataclasses.replace(task, output=dataclasses.replace(task.output, metric=metric))
    high, low = (drive(program(t)[0]).outcome.score for t in (task, lower))
    assert high > 0
    assert low == -high


def test_a_network_that_does_not_see_its_input_has_diverged(make_task, drive):
    cut = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    made, _ = program(make_task((1, 8, 8)), cut, proxies=("jacob_cov",), layers=1)
    outcome = drive(made).outcome
    assert outcome.diverged
    assert math.isnan(outcome.score)


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"proxies": ()}, "proxies"),
        ({"proxies": ("sinflow",)}, "did you mean 'synflow'"),
        ({"proxies": ("snip", "snip")}, "may stand once"),
        ({"batch_size": 1}, "batch_size"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params, fault):
    with pytest.raises(ValueError, match=fault):
        ESTIMATORS.load("zero_cost").Params(**params)
