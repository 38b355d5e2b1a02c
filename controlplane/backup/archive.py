"""The archive: a tar file whose members are packed by gzip each, with a manifest at its end that has the hash of each.

::

    empla-backup.json              who wrote it, for which schema
    database/<table>.copy.gz       the rows of each table, of one moment
    workspaces/<employee>.tar.gz   each employee's files
    browsers/<employee>.tar.gz     cookies and logins, when they were asked for
    compute/requirements.txt       which packages sandboxed programs may import
    manifest.json                  each of these: its length and hash, how much is in it
    manifest.sha256                the hash of the manifest

It is written from front to back, so that it can go to a pipe, and what it says of a member is known before the next one.
"""

import asyncio
import gzip
import hashlib
import io
import tarfile
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import BaseModel, ValidationError

from controlplane.backup.errors import Damaged, Newer, NoRoom, Unsafe
from controlplane.backup.manifest import FORMAT, HEADER, MANIFEST, MAX_JSON_BYTES, SEAL, Header, Manifest, Member
from controlplane.backup.tarstream import Entry, entries

_PIECE = 1 << 20
_LEVEL = 1
"""gzip's fastest: the next level takes twice as long for a twentieth less."""


class Packing(io.RawIOBase):
    """Takes what goes into a member, packs and counts it; `member` is what became of it, once the block has ended."""

    def __init__(self, packed: BinaryIO) -> None:
        self._gzip = gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=_LEVEL, mtime=0)
        self.unpacked = 0
        self.member = Member(name="", size=0, sha256="", unpacked=0)

    def writable(self) -> bool:
        """It can be."""
        return True

    def write(self, data: Any) -> int:
        """Pack some more; raises `NoRoom`."""
        try:
            self._gzip.write(data)
        except OSError as error:
            raise NoRoom(f"there is no room to pack it: {error}") from error
        self.unpacked += len(data)
        return len(data)

    def finish(self) -> None:
        """Write what is still held back; raises `NoRoom`."""
        try:
            self._gzip.close()
        except OSError as error:
            raise NoRoom(f"there is no room to pack it: {error}") from error

    def close(self) -> None:
        """Hold nothing back any more; what is not finished is thrown away."""
        with suppress(OSError):
            self._gzip.close()
        super().close()


@asynccontextmanager
async def writing(out: BinaryIO, spare: Path) -> AsyncIterator["Writer"]:
    """Write an archive to `out`; one that is not ended by its manifest reads as cut off."""
    writer = Writer(out, spare)
    try:
        yield writer
    finally:
        await asyncio.to_thread(writer.abandon)


class Writer:
    """Writes an archive to `out`; each member is packed in the directory `spare` first, for its length stands before it."""

    def __init__(self, out: BinaryIO, spare: Path) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - see `writing`
        self.spare = spare

    @asynccontextmanager
    async def packing(self, name: str) -> AsyncIterator[Packing]:
        """Add a member of what is written within the block."""
        packed = await asyncio.to_thread(tempfile.TemporaryFile, dir=self.spare)
        try:
            packing = await asyncio.to_thread(Packing, cast("BinaryIO", packed))
            try:
                yield packing
                await asyncio.to_thread(packing.finish)
            finally:
                await asyncio.to_thread(packing.close)
            packing.member = await asyncio.to_thread(self._add, name, cast("BinaryIO", packed), packing.unpacked)
        finally:
            await asyncio.to_thread(packed.close)

    def add(self, name: str, content: bytes) -> Member:
        """Add a member as it is."""
        return self._add(name, io.BytesIO(content), len(content))

    def abandon(self) -> None:
        """Have tarfile let go of `out`; nothing happens after `end`."""
        with suppress(OSError):
            self._tar.close()

    def end(self, manifest: Manifest) -> None:
        """End the archive with what is in it."""
        sealed = self.add(MANIFEST, manifest.model_dump_json(indent=1).encode())
        self.add(SEAL, f"{sealed.sha256}\n".encode())
        self._tar.close()

    def _add(self, name: str, content: BinaryIO, unpacked: int) -> Member:
        header = tarfile.TarInfo(name)
        header.size, header.mode, header.mtime = content.seek(0, io.SEEK_END), 0o600, int(time.time())
        content.seek(0)
        hashing = _Hashing(content)
        self._tar.addfile(header, cast("BinaryIO", hashing))
        return Member(name=name, size=header.size, sha256=hashing.digest, unpacked=unpacked)


class _Hashing:
    """Hashes what is read through it."""

    def __init__(self, source: BinaryIO | Entry) -> None:
        self._source, self._hash = source, hashlib.sha256()

    def read(self, size: int = _PIECE) -> bytes:
        piece = self._source.read(size)
        self._hash.update(piece)
        return piece

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


class Content(io.RawIOBase):
    """A member that is read: hashed as it is, and packed or not."""

    def __init__(self, entry: Entry) -> None:
        self.name, self.size = entry.name, entry.size
        self._hashing = _Hashing(entry)

    def readable(self) -> bool:
        """It can be."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the packed bytes; raises `Damaged` where they end too early."""
        piece = self._hashing.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def digest(self) -> str:
        """The hash of all of it, read to its end."""
        while self._hashing.read():
            pass
        return self._hashing.digest

    def unpacked(self, most: int) -> "Unpacked":
        """What is packed in it, which must be `most` bytes."""
        return Unpacked(self, most)


class Unpacked(io.RawIOBase):
    """What is packed in a member; never more than the manifest says, however small what is packed was."""

    def __init__(self, content: Content, most: int) -> None:
        self._name, self._left = content.name, most
        self._gzip = gzip.GzipFile(fileobj=io.BufferedReader(content, _PIECE), mode="rb")

    def readable(self) -> bool:
        """It can be."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack some more; raises `Damaged` and `Unsafe`."""
        try:
            piece = self._gzip.read1(min(len(buffer), self._left + 1))
        except (OSError, EOFError, zlib.error) as error:
            raise Damaged(f"{self._name} cannot be unpacked: {error}") from error
        self._left -= len(piece)
        if self._left < 0:
            raise Unsafe(f"{self._name} unpacks to more than the archive says")
        buffer[: len(piece)] = piece
        return len(piece)

    def finish(self) -> None:
        """Read to the end; raises `Damaged` unless all that the archive says was there."""
        while self.read(_PIECE):
            pass
        if self._left:
            raise Damaged(f"{self._name} unpacks to less than the archive says")


def contents(source: BinaryIO) -> Iterator[Content]:
    """The members of an archive in its order, the header first; raises `Damaged`, `Newer` and `Unsafe`."""
    seen: set[str] = set()
    for entry in entries(source):
        if entry.kind != tarfile.REGTYPE or entry.name in seen:
            raise Unsafe(f"the archive holds {entry.name[:200]!r}, which no backup holds, or not twice")
        if not seen and entry.name != HEADER:
            raise Damaged("this is no backup: it does not begin as one does")
        seen.add(entry.name)
        yield Content(entry)
    if SEAL not in seen:
        raise Damaged("the archive is cut off: copy it again, or take another backup")


def read_header(content: Content) -> tuple[Header, Member]:
    """Who wrote the archive; raises `Newer` when this program cannot read it."""
    raw, member = _read_small(content)
    try:
        written = _Format.model_validate_json(raw).format
        if written > FORMAT:
            raise Newer(f"the backup has the format {written}, this version reads {FORMAT}: use the one that wrote it")
        return Header.model_validate_json(raw), member
    except ValidationError as error:
        raise Damaged(f"the archive's {HEADER} was changed: {error.error_count()} fields are wrong") from error


class _Format(BaseModel):
    """What every version will understand of a header."""

    format: int


def read_manifest(content: Content) -> tuple[Manifest, str]:
    """What the archive says is in it, and the hash of that; raises `Damaged`."""
    raw, member = _read_small(content)
    try:
        return Manifest.model_validate_json(raw), member.sha256
    except ValidationError as error:
        raise Damaged(f"the archive's {MANIFEST} was changed: {error.error_count()} fields are wrong") from error


def read_small(content: Content) -> bytes:
    """A member that is not packed; raises `Unsafe` when it is too large to be one."""
    return _read_small(content)[0]


def _read_small(content: Content) -> tuple[bytes, Member]:
    if content.size > MAX_JSON_BYTES:
        raise Unsafe(f"the archive's {content.name} has {content.size} bytes")
    raw = content.read()
    return raw, Member(name=content.name, size=content.size, sha256=content.digest(), unpacked=len(raw))
