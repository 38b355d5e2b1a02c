"""Reading tar archives, plain or gzipped: tarfile parses the headers, within bounds that it does not know itself."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

from workstation.local.archives.members import BLOCK, Member, MemberKind, Source

_LARGEST_HEADER = 1 << 20  # all that describes one member: long names, attributes, a map of holes
_GZIP = b"\x1f\x8b"
_DAMAGED = (tarfile.TarError, ValueError, OverflowError, IndexError, RecursionError)
"""What tarfile raises for headers that make no sense."""


def tar_members(source: Source) -> Iterator[Member]:
    """Yield the members; raises `ArchiveInvalid` and `LimitExceeded`."""
    stream = _Stream(source)
    file: Any = stream  # a file as far as headers need one
    tar = _Tar(fileobj=file, encoding="utf-8", errors="surrogateescape")
    while (header := _next_header(tar, source)) is not None:
        yield Member(
            name=_raw(header.name),
            kind=_kind(header),
            size=header.size,
            mode=header.mode,
            modified=header.mtime,
            target=_raw(header.linkname),
            data=_content(stream, header, source),
        )
    stream.finish()


class _Stream:
    """The bytes of the archive, decompressed and counted; only forwards. What tarfile takes for its file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._file: Any = source
        if source.read(len(_GZIP)) == _GZIP:
            self._file = gzip.GzipFile(fileobj=source, mode="rb")
        source.seek(0)
        self._position = 0
        self._header_left = 0

    def begin_header(self) -> None:
        self._header_left = _LARGEST_HEADER

    def read(self, count: int) -> bytes:
        """Read for tarfile, which would take a header of any size."""
        if not 0 <= count <= self._header_left:
            raise self._source.invalid("a header is too large")
        self._header_left -= count
        return self._take(count)

    def content(self, count: int) -> bytes:
        """Read some of a member's content."""
        data = self._take(min(count, BLOCK))
        if not data:
            raise self._source.invalid("it is cut short")
        return data

    def seek(self, offset: int) -> None:
        if offset < self._position:
            raise self._source.invalid("members overlap")
        while self._position < offset:
            self.content(offset - self._position)

    def tell(self) -> int:
        return self._position

    def finish(self) -> None:
        """Read to the end, where gzip has its checksum."""
        while self._take(BLOCK):
            pass

    def _take(self, count: int) -> bytes:
        try:
            data: bytes = self._file.read(count)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise self._source.invalid(f"it is damaged or cut short ({error})") from error
        self._position += len(data)
        self._source.require_room(self._position)
        return data


class _Tar(tarfile.TarFile):
    """TarFile takes a damaged header for the end of the archive, keeps all members, and reads ahead; this one does not."""

    def next(self) -> None:
        """Nothing, to the constructor, which asks."""

    def header(self) -> tarfile.TarInfo:
        """The next header; raises what says why there is none."""
        stream: Any = self.fileobj
        stream.seek(self.offset)
        stream.begin_header()
        self.pax_headers = {}  # what a header says of all that follow would have to be kept, however much it is
        return tarfile.TarInfo.fromtarfile(self)


def _next_header(tar: _Tar, source: Source) -> tarfile.TarInfo | None:
    try:
        header = tar.header()
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return None
    except tarfile.EmptyHeaderError as error:  # type: ignore[attr-defined]
        raise source.invalid("it is empty or cut short") from error
    except _DAMAGED as error:
        raise source.invalid(f"it is damaged, or not a tar archive ({error})") from error
    if header.size < 0 or (header.size == 0 and header.pax_headers.get("size", "0") != "0"):
        raise source.invalid("a size that is none", _raw(header.name))  # tarfile takes what is no number for zero
    return header


def _content(stream: _Stream, header: tarfile.TarInfo, source: Source) -> Iterator[tuple[int, bytes]]:
    stream.seek(header.offset_data)
    position = 0
    parts: Any = [(0, header.size)] if header.sparse is None else header.sparse
    for start, count in parts:
        if count == 0:  # an unused place in the map
            continue
        end = start + count
        if not position <= start <= end <= header.size:
            raise source.invalid("its map of holes makes no sense", _raw(header.name))
        position = start
        while position < end:
            piece = stream.content(end - position)
            yield position, piece
            position += len(piece)


def _kind(header: tarfile.TarInfo) -> MemberKind:
    if header.isreg():
        return MemberKind.FILE
    if header.isdir():
        return MemberKind.DIRECTORY
    if header.issym():
        return MemberKind.SYMLINK
    return MemberKind.HARD_LINK if header.islnk() else MemberKind.OTHER


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
