"""What a network needs to run: the memory of a forward pass, and its time on this CPU.

Both are of one example in evaluation mode. Memory is exact: every tensor that the pass makes is
followed until it is freed, on torch's meta device, so nothing is computed. Latency is measured: on
one thread, three passes to warm up, then the median of at least eleven and of at least 50 ms.
"""

from __future__ import annotations

import copy
import statistics
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from search_space.task import Task

_WARM_UP = 3
_RUNS = 11
_SECONDS = 0.05


def peak_memory(network: nn.Module, task: Task) -> int:
    """Return the most bytes that weights, input and activations take up at one time.

    Weights and activations in the network's own types, one example, no gradients. What a kernel
    needs for itself while it runs is not counted: it differs between machines.
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    fixed = [*shadow.parameters(), *shadow.buffers()]
    with torch.no_grad(), _Memory(fixed) as memory:
        shadow(torch.zeros(1, *task.shape, device="meta"))
    return memory.peak


def latency(network: nn.Module, task: Task) -> float:
    """Return the seconds of a forward pass on this CPU, with weights of no meaning.

    The network may lie on any device, the meta device too, and is left as it was.
    """
    copied = copy.deepcopy(network).to_empty(device="cpu").eval()
    for tensor in (*copied.parameters(), *copied.buffers()):
        tensor.detach().fill_(0.5 if tensor.is_floating_point() else 0)  # no slow denormal numbers
    inputs = torch.ones(1, *task.shape)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(_WARM_UP):
                copied(inputs)
            times: list[float] = []
            while len(times) < _RUNS or sum(times) < _SECONDS:
                begun = time.perf_counter()
                copied(inputs)
                times.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times)


class _Memory(TorchDispatchMode):
    """Follows the storages of all tensors that operations return, from birth to death."""

    def __init__(self, fixed: Sequence[Tensor]):
        super().__init__()
        self.now = self.peak = 0
        self._users: Counter[int] = Counter()
        for tensor in fixed:
            self._follow(tensor)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if self._users[place] == 0:
            self.now += size
            self.peak = max(self.peak, self.now)
        self._users[place] += 1
        weakref.finalize(tensor, self._leave, place, size)

    def _leave(self, place: int, size: int) -> None:
        self._users[place] -= 1
        if self._users[place] == 0:
            self.now -= size
