"""Libraries that only some methods need: imported when one is made, and named if missing."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A library is not installed that an optional extra of this package brings."""


def require(library: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``library``, which the extra called ``extra`` installs and ``purpose`` needs.

    Raises:
        MissingExtraError: it is not installed; says how to. What is missing or broken inside of
            it stays its own error.
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise MissingExtraError(
            f"{purpose} needs {library}, which is not installed; on every machine of the cluster: "
            f"pip install 'nas-orchestrator[{extra}]'",
            name=library,
        ) from None
