"""An archive as it comes: tar and zip are read in one go, at a pace that the sender must not hold up."""

import io
import os
from typing import BinaryIO

from workstation.local.archives.members import require_archive_size
from workstation.local.failures import failures
from workstation.local.replacing import temporary_name
from workstation.local.threads import Stop
from workstation.local.workspace import Workspace

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SLICE = 8 << 20


class Spool:
    """A file without a name on the workspace's volume, counted in its quota: `start`, `add`, `archive`, then `close`."""

    def __init__(self, workspace: Workspace, path: bytes) -> None:
        self._workspace = workspace
        self._path = path
        self._file: io.FileIO | None = None
        self._archive: BinaryIO | None = None
        self._size = 0

    def start(self, stop: Stop) -> None:
        """Make the file."""
        stop.check()
        name, root = temporary_name(), self._workspace.root
        with failures(self._path):
            self._file = io.FileIO(os.open(name, _CREATE, 0o600, dir_fd=root), "r+")
            os.unlink(name, dir_fd=root)

    def add(self, data: bytes, stop: Stop) -> None:
        """Write more of the archive."""
        assert self._file is not None
        require_archive_size(self._workspace.limits, self._path, self._size + len(data))
        self._workspace.quota.take(len(data), self._path, stop)
        self._size += len(data)
        rest = memoryview(data)
        with failures(self._path):
            while rest:
                stop.check()
                rest = rest[self._file.write(rest[:_SLICE]) :]

    def archive(self) -> BinaryIO:
        """The whole of it, from the start."""
        assert self._file is not None
        with failures(self._path):
            self._file.seek(0)
        self._archive = io.BufferedReader(self._file)
        return self._archive

    def close(self) -> None:
        """Free what it takes."""
        if self._archive is not None:
            self._archive.close()
        if self._file is not None:
            self._file.close()
            self._workspace.quota.give(self._size)
