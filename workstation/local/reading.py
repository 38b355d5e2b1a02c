"""Reading: ranges of files, entries, and pages of directories."""

import heapq
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from workstation.errors import FileBusy, FileTooLarge
from workstation.interface import Entry, Listing
from workstation.local.failures import failures
from workstation.local.openat2 import open_beneath
from workstation.local.threads import Stop
from workstation.local.workspace import (
    Workspace,
    describe,
    describe_named,
    directory_beneath,
    open_file,
    require_version,
)
from workstation.paths import encode, join


@dataclass(frozen=True, slots=True)
class Reader:
    """An open file and the range of it, `start` to `end`, that is to be read."""

    fd: int
    path: bytes
    status: os.stat_result
    start: int
    end: int
    expected_version: str | None

    @property
    def entry(self) -> Entry:
        """The file as it was when it was opened."""
        return describe(self.path, self.status)

    def read(self, offset: int, most: int, stop: Stop | None = None) -> bytes:
        """Some bytes of the range from `offset`; raises `FileBusy` when the file ends before the range does."""
        if stop is not None:
            stop.check()
        with failures(self.path):
            data = os.pread(self.fd, min(most, self.end - offset), offset)
        if not data:
            shown = encode(self.path)
            raise FileBusy(f"{shown} shrinks while it is read", path=shown)
        return data

    def read_all(self, stop: Stop | None = None) -> bytes:
        """The whole range."""
        pieces = []
        offset = self.start
        while offset < self.end:
            piece = self.read(offset, 8 << 20, stop)
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """Raise `VersionConflict` unless the file stayed the expected version."""
        if self.expected_version is not None:
            require_version(os.fstat(self.fd), self.expected_version, self.path)


@contextmanager
def reader(
    workspace: Workspace, path: bytes, offset: int, length: int | None, expected_version: str | None, *, most: int
) -> Iterator[Reader]:
    """Open a file for reading a range of at most `most` bytes; raises `FileTooLarge` for more."""
    with failures(path):
        fd = open_file(workspace.root, path)
    try:
        status = os.fstat(fd)
        require_version(status, expected_version, path)
        end = status.st_size if length is None else min(status.st_size, offset + length)
        start = min(offset, end)
        if end - start > most:
            shown = encode(path)
            raise FileTooLarge(f"{shown}: {end - start} bytes at once, at most {most}", path=shown, allowed=most)
        yield Reader(fd, path, status, start, end, expected_version)
    finally:
        os.close(fd)


def stat_entry(workspace: Workspace, path: bytes) -> Entry:
    """Describe an entry; of a link its target is left out."""
    with failures(path):
        fd = open_beneath(workspace.root, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return describe(path, os.fstat(fd))
    finally:
        os.close(fd)


def stat_link(workspace: Workspace, path: bytes) -> Entry:
    """Describe an entry, of a link its target too."""
    with failures(path), workspace.place(path) as (parent, name):
        return describe_named(parent, name, path)


def list_directory(workspace: Workspace, path: bytes, after: bytes, count: int, stop: Stop) -> Listing:
    """List the first `count` names after `after`; those that vanish meanwhile are left out."""
    with failures(path), directory_beneath(workspace.root, path, listing=True) as fd:
        names = heapq.nsmallest(count + 1, _names_after(fd, after, stop))
        entries = []
        for name in names[:count]:
            stop.check()
            try:
                entries.append(describe_named(fd, name, join(path, name)))
            except FileNotFoundError:
                continue
        return Listing(entries=tuple(entries), truncated=len(names) > count)


def _names_after(fd: int, after: bytes, stop: Stop) -> Iterator[bytes]:
    with os.scandir(fd) as names:
        for entry in names:
            stop.check()
            if (name := os.fsencode(entry.name)) > after:
                yield name
