"""Files of data sets: find them where they lie, or download and check them."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import urllib.request
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from search_space.task import DataError

_log = logging.getLogger(__name__)
_TIMEOUT = 30.0  # seconds without a byte


class MissingDataError(DataError):
    """A file is not there and could not be downloaded; the message says what to put where."""


@dataclass(frozen=True)
class Remote:
    """A file on the net and the digest that proves its content.

    Args:
        addresses: where it lies; tried in turn.
        digest: ``md5:<hex>``, or ``git:<hex>`` for the name git gives to the content (SHA-1 of
            ``blob <size>``, a zero byte and the content).
    """

    addresses: tuple[str, ...]
    digest: str


def first_existing(paths: Iterable[Path]) -> Path | None:
    """Return the first of ``paths`` that is a file. Raises DataError where one is a folder."""
    paths = list(paths)
    for path in paths:
        if os.path.isdir(path):
            raise DataError(f"{path} is a directory; a file must be there")
    # os.path: a folder that may not be read counts as one without the file, not as an error here.
    return next((path for path in paths if os.path.isfile(path)), None)


def digest(path: Path, kind: str) -> str:
    """Return ``kind:<hex>`` of the content of ``path``; ``kind`` is ``md5`` or ``git``."""
    if kind == "git":
        sha = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        sha = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            sha.update(block)
    return f"{kind}:{sha.hexdigest()}"


def fetch(remote: Remote, path: Path) -> Path:
    """Download ``remote`` to ``path`` and return it. Nothing wrong or half ever stands there.

    Raises:
        MissingDataError: no address answered, the content is another one, or the folder cannot be
            written to; names each reason and says which file to put where.
    """
    reasons = []
    for address in remote.addresses:
        # Processes of one machine or of several may download to one folder at the same moment.
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            _download(address, part)
            kind = remote.digest.partition(":")[0]
            found, size = digest(part, kind), part.stat().st_size
            if found == remote.digest:
                os.replace(part, path)
                return path
            reasons.append(f"{address}: {size} bytes with {found}, expected {remote.digest}")
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{address}: {error or type(error).__name__}")
        finally:
            _remove(part)
    raise MissingDataError(
        f"{path} is missing and could not be downloaded ({'; '.join(reasons)}); "
        f"download {remote.addresses[0]} by hand and put it at {path}"
    )


def _download(address: str, path: Path) -> None:
    with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
        path.parent.mkdir(parents=True, exist_ok=True)
        _log.info("downloading %s to %s", address, path.parent)
        with path.open("xb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        _log.warning("could not remove %s", path)
