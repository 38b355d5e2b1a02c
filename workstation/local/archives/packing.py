"""Packing files into a tar archive, piece by piece, while jailed code may change them."""

import logging
import os
import tarfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack

from workstation.errors import FileBusy, InvalidPath, LimitExceeded, NotFound, PermissionDenied, WrongKind
from workstation.interface import EntryKind
from workstation.local.archives.members import BLOCK, require_archive_size
from workstation.local.copying import link_target
from workstation.local.failures import failures
from workstation.local.openat2 import open_beneath
from workstation.local.replacing import is_temporary, require_size
from workstation.local.threads import Stop
from workstation.local.tree import Found, Walk
from workstation.local.workspace import Workspace, directory_beneath, kind_of, open_file
from workstation.paths import encode, join, split

log = logging.getLogger(__name__)

_END = bytes(2 * tarfile.BLOCKSIZE)


class Packing:
    """One archive of `path`: call `next_piece` in a thread until it is empty, then `close`."""

    def __init__(self, workspace: Workspace, path: bytes) -> None:
        self._workspace = workspace
        self._path = path
        self._resources = ExitStack()
        self._blocks = self._archive()
        self._buffer = bytearray()
        self._walk: Walk | None = None
        self._bytes = self._left_out = 0

    def next_piece(self, stop: Stop) -> bytes:
        """At most `chunk_bytes` more of the archive; nothing at its end."""
        if self._walk is not None:
            self._walk.stop = stop
        most = self._workspace.limits.chunk_bytes
        while len(self._buffer) < most and (block := next(self._blocks, b"")):
            stop.check()
            self._bytes += len(block)
            require_archive_size(self._workspace.limits, self._path, self._bytes)
            self._buffer += block
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    def close(self) -> None:
        """Close what is open."""
        self._blocks.close()
        self._resources.close()

    def _archive(self) -> Generator[bytes]:
        with failures(self._path):
            handle = open_beneath(self._workspace.root, self._path, os.O_PATH)
            self._resources.callback(os.close, handle)
            if kind_of(os.fstat(handle)) is EntryKind.DIRECTORY:
                yield from self._tree(handle)
            else:
                yield from self._file(self._workspace.root, self._path, split(self._path)[1], self._path, links=True)
        yield _END

    def _tree(self, top: int) -> Iterator[bytes]:
        self._walk = Walk(top, self._workspace.limits, Stop())
        for found in self._walk:
            if not any(map(is_temporary, found.path.split(b"/"))):
                yield from self._entry(top, found)
        self._require_all(self._walk)
        if self._left_out:
            log.info("an archive lacks %d FIFOs, sockets or devices below %s", self._left_out, encode(self._path))

    def _entry(self, top: int, found: Found) -> Iterator[bytes]:
        path = join(self._path, found.path)
        try:
            with failures(path):
                kind = kind_of(found.status)
                if kind is EntryKind.FILE:
                    yield from self._file(top, found.path, found.path, path, links=False)
                elif kind is EntryKind.DIRECTORY:
                    yield _header(found.path, found.status, tarfile.DIRTYPE)
                elif kind is EntryKind.SYMLINK:
                    yield _header(found.path, found.status, tarfile.SYMTYPE, target=_target(top, found, path))
                else:
                    self._left_out += 1
        except NotFound:  # gone since the walk saw it
            return
        except (WrongKind, InvalidPath) as error:  # something else by now, or something on the way there
            raise FileBusy(f"{encode(path)} changes while it is read", path=encode(path)) from error

    def _file(self, root: int, path: bytes, name: bytes, shown: bytes, *, links: bool) -> Iterator[bytes]:
        fd = open_file(root, path, links=links)
        try:
            status = os.fstat(fd)
            require_size(self._workspace, shown, status.st_size)
            yield _header(name, status, tarfile.REGTYPE, size=status.st_size)
            left = status.st_size
            while left:
                block = os.read(fd, min(BLOCK, left))
                if not block:
                    raise FileBusy(f"{encode(shown)} shrinks while it is read", path=encode(shown))
                left -= len(block)
                yield block
            if padding := -status.st_size % tarfile.BLOCKSIZE:
                yield bytes(padding)
        finally:
            os.close(fd)

    def _require_all(self, walk: Walk) -> None:
        shown = encode(self._path)
        if walk.unreadable:
            raise PermissionDenied(f"{walk.unreadable} directories below {shown} cannot be read", path=shown)
        for limit in sorted(walk.cut_by):
            allowed = getattr(self._workspace.limits, limit)
            raise LimitExceeded(f"{shown} is too much to archive: {limit} is {allowed}", limit=limit, allowed=allowed)


def _target(top: int, found: Found, path: bytes) -> bytes:
    directory, name = split(found.path)
    with directory_beneath(top, directory, links=False) as parent:
        return link_target(parent, name, path)


def _header(name: bytes, status: os.stat_result, kind: bytes, *, size: int = 0, target: bytes = b"") -> bytes:
    """A member's header, for whom it belongs to here means nothing elsewhere."""
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.type = kind
    info.size = size
    info.mode = status.st_mode & 0o777
    info.mtime = int(status.st_mtime)
    info.linkname = target.decode("utf-8", "surrogateescape")
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
