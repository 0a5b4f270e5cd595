"""Checkpoints of running jobs: the last two of each, in a folder named by the job's key.

They need nothing of Tune's: whoever starts a job finds what an earlier run left of it.
"""

from __future__ import annotations

import io
import logging
from typing import Any

import torch

from orchestrator._files import Folder

_LOG = logging.getLogger(__name__)

# The one before the last serves where the last turns out damaged.
KEPT = 2


class Checkpoints:
    """Complete states of jobs under ``<store>/checkpoints/<job key>/``.

    States hold tensors and plain values only and are read with ``weights_only=True``: nothing
    that comes out of a bucket is unpickled.
    """

    def __init__(self, store: str):
        self.folder = Folder(store)

    def save(self, key: str, number: int, state: dict[str, Any]) -> None:
        """Write a state; ``number`` grows with the work done. Raises OSError."""
        content = io.BytesIO()
        torch.save(state, content)
        self.folder.write(f"checkpoints/{key}/{number:09d}.pt", content.getvalue())
        for name in self.folder.names(f"checkpoints/{key}")[:-KEPT]:
            self.folder.remove(f"checkpoints/{key}/{name}")

    def load(self, key: str) -> dict[str, Any] | None:
        """Return the newest state that can be read, or None."""
        for name in reversed(self.folder.names(f"checkpoints/{key}")):
            content = io.BytesIO(self.folder.read(f"checkpoints/{key}/{name}"))
            try:
                return torch.load(content, weights_only=True, map_location="cpu")
            except Exception as error:  # torch raises many types for a damaged file
                _LOG.warning("left out a damaged checkpoint: %s/%s (%s)", key, name, error)
        return None

    def forget(self, key: str) -> None:
        """Delete the states of a job whose result is in the store."""
        self.folder.remove(f"checkpoints/{key}")
