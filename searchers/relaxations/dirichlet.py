"""Dirichlet: each step draws the mixture of an edge from a distribution that the search learns.

Chen, Wang, Cheng, Tang, Hsieh: DrNAS: Dirichlet Neural Architecture Search, ICLR 2021, section 2:
weights ~ Dirichlet(elu(alpha) + 1), pathwise gradients (Jankowiak, Obermeyer 2018).

Deviations: the weights to choose by are the mean of the distribution, where the authors' code
takes softmax(alpha): within an edge the order is the same, between edges it may differ. The
paper's distance to the symmetric distribution is the decay of alpha, which belongs to the search,
as does its progressive widening.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Dirichlet as Distribution

from searchers._base import StrictParams
from searchers.relaxations._base import Relaxation


class Dirichlet(Relaxation):
    """Draws on the simplex; the larger the alphas of an edge, the less they scatter."""

    class Params(StrictParams):
        """Dirichlet has no parameters."""

    def expected(self, alpha: Tensor) -> Tensor:
        return log_concentration(alpha).softmax(dim=-1)

    def draw(self, alpha: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        # In float64 also the draws of small concentrations are other numbers than 0. Unchecked:
        # a search that diverged, to NaN, is a result and not an error.
        concentration = log_concentration(alpha.to("cpu", torch.float64)).exp()
        distribution = Distribution(concentration, validate_args=False)
        # The sampler of torch takes no generator: lend ours to it.
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(generator.get_state())
            weights = distribution.rsample().to(alpha)
            generator.set_state(torch.get_rng_state())
        return weights.where(~alpha.isnan(), alpha)  # which the sampler hides


def log_concentration(alpha: Tensor) -> Tensor:
    """Return log(elu(alpha) + 1), which is 0, for the uniform distribution, where alpha is."""
    # Not by elu, which is so near -1 for a very negative alpha that the sum rounds to 0.
    return torch.where(alpha > 0, alpha.clamp(min=0).log1p(), alpha)
