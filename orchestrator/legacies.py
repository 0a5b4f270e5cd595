"""Legacies: what finished candidates leave for those after them, such as weights, by job key."""

from __future__ import annotations

import io

import torch

from orchestrator._files import Folder
from search_space.task import DataError
from searchers.estimators._base import Legacy


class Legacies:
    """Tensors under ``<store>/legacies/<job key>.pt``, read with ``weights_only=True``.

    They are written before a job's result is, and stay: another plan may share the job.
    """

    def __init__(self, store: str):
        self.folder = Folder(store)

    def save(self, key: str, legacy: Legacy) -> None:
        """Write what a job leaves, replacing what an earlier attempt left. Raises OSError."""
        content = io.BytesIO()
        torch.save(legacy, content)
        self.folder.write(f"legacies/{key}.pt", content.getvalue())

    def load(self, key: str) -> Legacy:
        """Return what a job left.

        Raises:
            DataError: it is not there or cannot be read.
        """
        name = f"legacies/{key}.pt"
        try:
            content = io.BytesIO(self.folder.read(name))
            return torch.load(content, weights_only=True, map_location="cpu")
        except Exception as error:  # torch raises many types for a damaged file
            raise DataError(
                f"{self.folder.path(name)} cannot be read ({type(error).__name__}): a candidate "
                "was to begin with what another left there; run the study in a new store"
            ) from error
