"""Tar archives that somebody may have changed, read from front to back: nothing that a header says is believed.

Python's own reader takes whatever a tar file may hold, and as much memory as a header asks for. This one knows what our own
writer makes: files, directories, symbolic links, and GNU's entry before another one that has its long name.
"""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from controlplane.backup.errors import Damaged, Unsafe

BLOCK = tarfile.BLOCKSIZE
LONGEST_NAME = 4096
"""Bytes, as the kernel takes for a path."""
_PIECE = 1 << 20
_TYPES = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE)


class Entry:
    """One thing in an archive; its content can be read once, before the next entry is asked for."""

    def __init__(self, header: tarfile.TarInfo, source: BinaryIO) -> None:
        self.name, self.target = header.name, header.linkname
        self.kind, self.size, self.mode, self.mtime = header.type, header.size, header.mode, header.mtime
        self._source, self._left = source, header.size if header.type == tarfile.REGTYPE else 0

    def read(self, most: int = _PIECE) -> bytes:
        """The next bytes of the content, b'' at its end; raises `Damaged` where the archive ends before that."""
        wanted = min(most, self._left)
        piece = self._source.read(wanted) if wanted else b""
        if wanted and not piece:
            raise _cut_off()
        self._left -= len(piece)
        return piece

    def skip(self) -> None:
        """Go on to the end of the content."""
        while self.read():
            pass
        if self.kind == tarfile.REGTYPE:
            _exactly(self._source, -self.size % BLOCK)


def entries(source: BinaryIO) -> Iterator[Entry]:
    """What is in an archive, to its very end; raises `Damaged` and `Unsafe`."""
    long: dict[bytes, str] = {}
    while (header := _header(source)) is not None:
        if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            long[header.type] = _long(source, header)
            continue
        if header.type not in _TYPES or header.size < 0:
            raise Unsafe(f"the archive holds {header.name[:200]!r}, which is no file, directory or link")
        header.name = long.pop(tarfile.GNUTYPE_LONGNAME, header.name)
        header.linkname = long.pop(tarfile.GNUTYPE_LONGLINK, header.linkname)
        entry = Entry(header, source)
        yield entry
        entry.skip()
    while piece := source.read(_PIECE):
        if piece.strip(b"\0"):
            raise Damaged("the archive goes on after its end")


def _header(source: BinaryIO) -> tarfile.TarInfo | None:
    """The next header; None at the end of the archive, which is two blocks of zeros."""
    block = _exactly(source, BLOCK)
    if not block.strip(b"\0"):
        if _exactly(source, BLOCK).strip(b"\0"):
            raise Damaged("the archive has a hole")
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise Damaged(f"the archive was changed, or is none: {error}") from error


def _long(source: BinaryIO, header: tarfile.TarInfo) -> str:
    if not 0 < header.size <= LONGEST_NAME + 1:  # with a zero behind it
        raise Unsafe(f"the archive holds a name of {header.size} bytes")
    padded = _exactly(source, header.size + -header.size % BLOCK)
    return padded[: header.size].rstrip(b"\0").decode("utf-8", "surrogateescape")


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.read(size - len(data))
        if not piece:
            raise _cut_off()
        data += piece
    return data


def _cut_off() -> Damaged:
    return Damaged("the file is no archive, or one that is cut off: copy it again, or take another backup")
