"""What an archive holds, in whatever format, and the bounded file that formats are read from."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import BinaryIO

from workstation.errors import ArchiveInvalid, LimitExceeded
from workstation.interface import FileSystemLimits
from workstation.local.threads import Stop
from workstation.paths import encode

BLOCK = 256 << 10
"""Bytes of content that are in memory at a time."""

_LARGEST_READ = 8 << 20  # zipfile takes the whole directory of an archive at once: about a hundred thousand entries


class MemberKind(Enum):
    """What a member becomes; `other` (a device, a FIFO, a volume's label) becomes nothing."""

    FILE = auto()
    DIRECTORY = auto()
    SYMLINK = auto()
    HARD_LINK = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive; `name` and `target` are what the archive says and not to be trusted.

    `data` yields the content in pieces, each with its offset in the file, and only until the next member is asked for.
    """

    name: bytes
    kind: MemberKind
    size: int
    mode: int
    modified: float
    target: bytes
    data: Iterator[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Source:
    """An archive's file and the terms on which it is read; `path` is what errors call it."""

    file: BinaryIO
    path: bytes
    limits: FileSystemLimits
    stop: Stop

    def read(self, count: int = -1) -> bytes:
        """Read as a file does, but not any amount."""
        self.stop.check()
        if count > _LARGEST_READ:
            raise self.invalid("its directory is too large")
        return self.file.read(count if count >= 0 else _LARGEST_READ)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the file."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self.file.tell()

    def seekable(self) -> bool:
        """It is."""
        return True

    def invalid(self, why: str, name: bytes | None = None) -> ArchiveInvalid:
        """The error that says why the archive, or the entry `name` of it, is not taken."""
        shown = encode(self.path)
        entry = "" if name is None else f", entry {encode(name[:4096])}"
        return ArchiveInvalid(f"the archive for {shown}{entry}: {why}", path=shown)

    def require_room(self, unpacked: int) -> None:
        """Raise `LimitExceeded` for an archive of which that many bytes came out."""
        require_archive_size(self.limits, self.path, unpacked)


def require_archive_size(limits: FileSystemLimits, path: bytes, size: int) -> None:
    """Raise `LimitExceeded` for an archive, of or for `path`, of more bytes than the limits allow."""
    allowed = limits.archive_bytes
    if size > allowed:
        message = f"the archive of {encode(path)} has more than {allowed} bytes"
        raise LimitExceeded(message, limit="archive_bytes", allowed=allowed)
