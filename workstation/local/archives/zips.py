"""Reading zip archives: plain and deflated members, whose decompressors need little memory."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from workstation.local.archives.members import BLOCK, Member, MemberKind, Source

_MAGIC = (b"PK\3\4", b"PK\5\6")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_LONGEST_TARGET = 4095
_DAMAGED = (zipfile.BadZipFile, ValueError, EOFError, OverflowError, RuntimeError, struct.error, zlib.error)
"""What zipfile raises for bytes that make no sense."""


def is_zip(source: Source) -> bool:
    """Whether this is a zip archive; one that begins with a program is not taken for one."""
    source.seek(0)
    magic = source.read(len(_MAGIC[0]))
    source.seek(0)
    return magic in _MAGIC


def zip_members(source: Source) -> Iterator[Member]:
    """Yield the members; raises `ArchiveInvalid` and `LimitExceeded`."""
    file: Any = source
    with _damage(source):
        archive = zipfile.ZipFile(file)
    unpacked = 0
    for info in archive.infolist():
        name = info.filename.encode("utf-8", "surrogateescape")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise source.invalid("it is encrypted or compressed in a way that is not supported", name)
        unpacked += info.file_size  # no more than that is read of it
        source.require_room(unpacked)
        yield _member(archive, info, name, source)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: bytes, source: Source) -> Member:
    mode = info.external_attr >> 16
    kind = _kind(info, mode)
    data = _content(archive, info, name, source)
    return Member(
        name=name,
        kind=kind,
        size=info.file_size,
        mode=mode & 0o777 or 0o644,
        modified=_modified(info),
        target=b"".join(piece for _, piece in data) if kind is MemberKind.SYMLINK else b"",
        data=data,
    )


def _kind(info: zipfile.ZipInfo, mode: int) -> MemberKind:
    """What the member is; zips of other systems than Unix say less, and then the mode has no kind."""
    if info.is_dir():
        return MemberKind.DIRECTORY
    if stat.S_ISLNK(mode):
        return MemberKind.SYMLINK if info.file_size <= _LONGEST_TARGET else MemberKind.OTHER
    return MemberKind.FILE if stat.S_IFMT(mode) in (0, stat.S_IFREG) else MemberKind.OTHER


def _content(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: bytes, source: Source
) -> Iterator[tuple[int, bytes]]:
    offset = 0
    with _damage(source, name), archive.open(info) as file:
        while piece := file.read(BLOCK):
            yield offset, piece
            offset += len(piece)
        if offset != info.file_size:
            raise source.invalid("it is cut short", name)


def _modified(info: zipfile.ZipInfo) -> float:
    try:
        return datetime(*info.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return -1.0


@contextmanager
def _damage(source: Source, name: bytes | None = None) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise source.invalid(f"it is damaged ({error})", name) from error
