"""Directory trees in which jailed programs may have planted anything: written into an archive, and made again from one.

Each name is opened beneath the directory before it and never followed, each file is looked at again once it is open.
"""

import errno
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from controlplane.backup.errors import NoRoom, Unsafe
from controlplane.backup.tarstream import LONGEST_NAME, Entry, entries

MAX_HOLES = 1 << 30
"""Bytes that a file may claim to have and not take up: one of exabytes costs whoever plants it nothing."""
TRIES = 3
_IN_MEMORY = 8 << 20
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_IMPOSSIBLE = (errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What making an entry fails with that is there twice, comes before its directory, or lies behind a link."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Counted:
    """What became of a tree: how much is in the archive, what is not, and what was written to while it was read."""

    entries: int = 0
    left_out: int = 0
    changed: int = 0


def write_tree(root: Path, out: BinaryIO, spare: Path) -> Counted:
    """Write what is beneath `root` as a tar archive; pipes, sockets, devices and what cannot be read are left out.

    Large files are copied to the directory `spare` first. Raises `NoRoom`, and what writing to `out` raises.
    """
    counted = Counted()
    top = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)  # the operator may have put a link to another disk there
    try:
        device = os.fstat(top).st_dev
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive:
            waiting: list[tuple[str, ...]] = [()]
            while waiting:
                waiting += _write_directory(archive, top, waiting.pop(), _Taker(device, spare, counted))
    finally:
        os.close(top)
    return counted


def _write_directory(
    archive: tarfile.TarFile, top: int, place: tuple[str, ...], taker: "_Taker"
) -> list[tuple[str, ...]]:
    """Write what is in one directory; returns the directories in it."""
    inside = []
    for name, directory in _names(top, place, taker.counted):
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(taker.spare)) as content:
            header = taker.take(directory, (*place, name), content)
            if header is None:
                taker.counted.left_out += 1
                continue
            content.seek(0)
            archive.addfile(header, content)  # not where errors are those of what is read: this writes
        taker.counted.entries += 1
        if header.isdir():
            inside.append((*place, name))
    return inside


def _names(top: int, place: tuple[str, ...], counted: Counted) -> Iterator[tuple[str, int]]:
    """The names in a directory that can be opened, each with the directory."""
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(_opened(top, place))
            with os.scandir(directory) as found:
                names = sorted(entry.name for entry in found)
        except OSError:  # gone meanwhile, of another account, or something else by now
            counted.left_out += 1
            return
        for name in names:
            yield name, directory


@contextmanager
def _opened(top: int, place: tuple[str, ...]) -> Iterator[int]:
    """A directory beneath `top`, reached by real directories only."""
    directory = os.dup(top)
    try:
        for name in place:
            below = os.open(name, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
        yield directory
    finally:
        os.close(directory)


@dataclass(frozen=True, slots=True)
class _Taker:
    """Takes one thing of a tree after the other, if it is on `device` and of a kind that is taken along."""

    device: int
    spare: Path
    counted: Counted

    def take(self, directory: int, place: tuple[str, ...], content: IO[bytes]) -> tarfile.TarInfo | None:
        """The header of what is there, with the content of a file put into `content`; None: it is left out."""
        try:
            status = os.stat(place[-1], dir_fd=directory, follow_symlinks=False)
            header = tarfile.TarInfo("/".join(place))
            header.mode, header.mtime = status.st_mode & 0o777, int(status.st_mtime)
            if status.st_dev != self.device or len(os.fsencode(header.name)) > LONGEST_NAME:
                return None
            if stat.S_ISREG(status.st_mode):
                return header if self._take_file(directory, header, content) else None
            if stat.S_ISLNK(status.st_mode):
                header.type, header.linkname = tarfile.SYMTYPE, os.readlink(place[-1], dir_fd=directory)
                return header
            header.type = tarfile.DIRTYPE
            return header if stat.S_ISDIR(status.st_mode) else None
        except OSError:  # gone meanwhile, of another account, or something else by now
            return None

    def _take_file(self, directory: int, header: tarfile.TarInfo, content: IO[bytes]) -> bool:
        file = os.open(header.name.rpartition("/")[2], _FILE, dir_fd=directory)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_size - status.st_blocks * 512 > MAX_HOLES:
                return False
            header.size, steady = _read(file, content)
        finally:
            os.close(file)
        self.counted.changed += not steady
        return True


def _read(file: int, content: IO[bytes]) -> tuple[int, bool]:
    """Read a file as it is at one moment: again if it was written to meanwhile, but not for ever."""
    for _ in range(TRIES):
        content.seek(0)
        content.truncate()
        before = os.fstat(file)
        size = _copy(file, content, before.st_size)
        after = os.fstat(file)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return size, True
    return size, False


def _copy(file: int, content: IO[bytes], most: int) -> int:
    """Copy no more than there was at first: whoever appends as fast as this reads gains nothing."""
    size = 0
    while piece := os.pread(file, min(_PIECE, most - size), size):
        try:
            content.write(piece)
        except OSError as error:
            raise NoRoom(f"a file of a workspace cannot be copied: {error}") from error
        size += len(piece)
    return size


def check_tree(source: BinaryIO) -> int:
    """Read an archive of a tree to its end; returns how many entries it has. Raises `Damaged` and `Unsafe`."""
    count = 0
    for entry in entries(source):
        _parts(entry)
        count += 1
    return count


def read_tree(source: BinaryIO, root: Path) -> None:
    """Make a tree again in the empty directory `root`, into which nobody else writes; raises `Damaged` and `Unsafe`."""
    top = os.open(root, _DIRECTORY)
    directories: list[Entry] = []
    try:
        for entry in entries(source):
            _make(top, entry)
            if entry.kind == tarfile.DIRTYPE:
                directories.append(entry)
        for entry in reversed(directories):  # what is in them is there by now, which an own mode may forbid
            with _opened(top, _parts(entry)) as directory:
                os.fchmod(directory, entry.mode & 0o777)
                os.utime(directory, (entry.mtime, entry.mtime))
    finally:
        os.close(top)


def _make(top: int, entry: Entry) -> None:
    *parents, name = _parts(entry)
    try:
        with _opened(top, tuple(parents)) as directory:
            if entry.kind == tarfile.DIRTYPE:
                os.mkdir(name, 0o700, dir_fd=directory)
            elif entry.kind == tarfile.SYMTYPE:
                os.symlink(entry.target, name, dir_fd=directory)
            else:
                _make_file(directory, name, entry)
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        raise Unsafe(f"the archive holds {entry.name[:200]!r} in a place where no backup has it: {error}") from error


def _make_file(directory: int, name: str, entry: Entry) -> None:
    with os.fdopen(os.open(name, _NEW, 0o600, dir_fd=directory), "wb") as file:
        while piece := entry.read():
            file.write(piece)
        file.flush()
        os.fchmod(file.fileno(), entry.mode & 0o777)
        os.utime(file.fileno(), (entry.mtime, entry.mtime))


def _parts(entry: Entry) -> tuple[str, ...]:
    """The names on the way to an entry; raises `Unsafe` for a way that leads anywhere else than down."""
    parts = tuple(entry.name.removesuffix("/").split("/"))
    if "\0" in entry.name + entry.target or any(part in ("", ".", "..") for part in parts):
        raise Unsafe(f"the archive holds the path {entry.name[:200]!r}, which leads out of its place")
    return parts
