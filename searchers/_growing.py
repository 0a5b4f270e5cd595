"""Adam for a module whose parameters come into being as it is used, with a state of plain values.

Kingma, Ba: Adam, ICLR 2015; torch's own, to which parameters are added when they have a gradient
for the first time. Each has its own count of steps, so a late one starts like an early one did.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from searchers import _plain


class GrowingAdam:
    """Lowers losses by Adam on the parameters of ``module`` that there are at each step."""

    def __init__(self, module: nn.Module, learning_rate: float):
        self.module, self.learning_rate = module, learning_rate
        self._forget()

    def step(self, loss: Tensor) -> None:
        """Take one step down the gradient of ``loss``."""
        self.module.zero_grad(set_to_none=True)
        loss.backward()
        fresh = {n: p for n, p in self.module.named_parameters() if n not in self.names}
        if fresh:
            self.adam.add_param_group({"params": list(fresh.values())})
            self.names |= fresh.keys()
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the count of steps and the moments of each parameter that has any, by name."""
        return {
            name: {kind: _plain.of_tensor(value) for kind, value in self.adam.state[p].items()}
            for name, p in self.module.named_parameters()
            if p in self.adam.state
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; the module has its parameters already."""
        self._forget()
        for name, parameter in self.module.named_parameters():
            if name in state:
                self.adam.add_param_group({"params": [parameter]})
                moments = {kind: _plain.to_tensor(value) for kind, value in state[name].items()}
                self.adam.state[parameter] = moments
                self.names.add(name)

    def _forget(self) -> None:
        # torch asks for at least one parameter; this one never has a gradient.
        self.adam = torch.optim.Adam([nn.Parameter(torch.empty(0))], lr=self.learning_rate)
        self.names: set[str] = set()
