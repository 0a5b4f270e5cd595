"""A folder on a disk or on S3, through one interface (pyarrow's filesystems)."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from pyarrow import fs


class Folder:
    """Files under a URL: a path, or ``s3://bucket/prefix``.

    Writing makes a file visible whole or not at all: an S3 put is atomic, and on a disk a
    temporary file beside the target is renamed.
    """

    def __init__(self, url: str):
        self.url = url
        if not url or ("://" in url and not url.startswith(("s3://", "file://"))):
            raise ValueError("it must be a folder, or s3://bucket/prefix")
        if "://" in url:
            self.system, self.root = fs.FileSystem.from_uri(url)
            if not self.root:
                raise ValueError("it names no bucket; it must be s3://bucket/prefix")
        else:
            self.system, self.root = fs.LocalFileSystem(), str(Path(url).expanduser().resolve())
        self.local = isinstance(self.system, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """Return the path of ``name`` within the filesystem."""
        return f"{self.root}/{name}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing one that is there. Raises OSError."""
        target = self.path(name)
        self.system.create_dir(target.rpartition("/")[0], recursive=True)
        where = target
        if self.local:
            folder, _, last = target.rpartition("/")
            where = f"{folder}/.{last}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
        with self.system.open_output_stream(where) as stream:
            stream.write(content)
        if where != target:
            os.replace(where, target)

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises OSError."""
        with self.system.open_input_stream(self.path(name)) as stream:
            return stream.read()

    def names(self, folder: str) -> list[str]:
        """List the files right in ``folder``, sorted, without those that are being written."""
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        found = self.system.get_file_info(selector)
        names = [f.base_name for f in found if f.type == fs.FileType.File]
        return sorted(name for name in names if not name.startswith("."))

    def remove(self, name: str) -> None:
        """Delete a file or a whole folder; nothing happens where there is none."""
        info = self.system.get_file_info(self.path(name))
        if info.type == fs.FileType.Directory:
            self.system.delete_dir(info.path)
        elif info.type == fs.FileType.File:
            self.system.delete_file(info.path)
