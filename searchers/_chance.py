"""A stream of random numbers of one's own for code that draws from torch's global generators."""

from __future__ import annotations

import hashlib
from types import TracebackType
from typing import Any

import torch


class Chance:
    """Swaps its own state into torch's global generators within a ``with`` block.

    Weight initialisation, dropout and drop-path draw from the global generators. Inside the block
    they draw from this stream, seeded by ``seed``; outside the global state is as it was before.
    So two programs in one process, or one that was stopped in between, don't disturb each other.

    Args:
        seed: of the stream.
        device: its CUDA generator is swapped too, if it is one.
    """

    def __init__(self, seed: int, device: torch.device):
        self.cuda = device if device.type == "cuda" else None
        self._outer: list[torch.Tensor] = []
        # Not torch.manual_seed: it seeds every device of the process.
        devices = [torch.device("cpu")] if self.cuda is None else [torch.device("cpu"), device]
        self._inner = [torch.Generator(d).manual_seed(seed).get_state() for d in devices]

    def __enter__(self) -> None:
        self._outer = self._read()
        self._write(self._inner)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inner = self._read()
        self._write(self._outer)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the stream."""
        return {"states": list(self._inner)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position that :meth:`state_dict` returned on the same kind of device."""
        self._inner = [tensor.cpu() for tensor in state["states"]]

    def _read(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        return states if self.cuda is None else [*states, torch.cuda.get_rng_state(self.cuda)]

    def _write(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self.cuda is not None and len(states) > 1:
            torch.cuda.set_rng_state(states[1], self.cuda)


def stream(seed: int, name: str) -> torch.Generator:
    """Return a generator of its own for one use of chance, so that no use shifts another's."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
