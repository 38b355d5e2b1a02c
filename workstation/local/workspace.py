"""The workspace as the kernel sees it: a directory descriptor, and the ways to reach entries beneath it.

Everything that touches a file goes through here. Nothing but a regular file or a directory is ever opened for reading
or writing: a descriptor that only names the entry (O_PATH) is looked at first, then opened through /proc/self/fd, so
that what was looked at is what is opened, and a FIFO, a device or a lease that jailed code planted cannot make us
wait.
"""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from workstation.errors import NotFound, VersionConflict, WrongKind
from workstation.interface import ABSENT, Entry, EntryKind, FileSystemLimits
from workstation.local.openat2 import open_beneath
from workstation.local.quota import AdvisoryQuota
from workstation.paths import encode, split

_KINDS = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.SYMLINK}
_INT64_MAX = (1 << 63) - 1
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_LIST_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Workspace:
    """A root descriptor, the limits, the quota, and the lock in which versions are compared and names changed.

    `owner` is whom everything made here is given to, as uid and gid; None when that is ourselves.
    """

    root: int
    limits: FileSystemLimits
    quota: AdvisoryQuota
    owner: tuple[int, int] | None = None
    changes: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def place(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """The directory that holds `path`, as a descriptor, and the last name: what a change acts on."""
        if path == b".":
            raise WrongKind("the workspace itself cannot be changed, only what is in it", path=".")
        directory, name = split(path)
        try:
            parent = open_beneath(self.root, directory, _DIRECTORY)
        except FileNotFoundError as error:
            shown = encode(path)
            raise NotFound(f"there is no {shown}, for there is no directory {encode(directory)}", path=shown) from error
        try:
            yield parent, name
        finally:
            os.close(parent)

    def give(self, fd: int) -> None:
        """Give the owner what we have just made; the descriptor may be an O_PATH one."""
        if self.owner is not None:
            os.chown(f"/proc/self/fd/{fd}", *self.owner)

    def give_named(self, parent: int, name: bytes) -> None:
        """Give the owner the directory or link that we have just made as `name` in `parent`.

        Jailed code may have put something else there by now. That is in the workspace as well, unless it is a file with
        several names, of which one may be outside: such a file keeps its owner.
        """
        if self.owner is None:
            return
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
                self.give(fd)
        finally:
            os.close(fd)


def owner_of(root: int) -> tuple[int, int] | None:
    """Whom files beneath `root` must be given to: its owner, when that is another account and we are root."""
    status = os.fstat(root)
    owner = status.st_uid, status.st_gid
    return owner if os.geteuid() == 0 and owner != (0, os.getegid()) else None


@contextmanager
def directory_beneath(root: int, path: bytes, *, links: bool = True, listing: bool = False) -> Iterator[int]:
    """A descriptor of the directory `path`, for use as a parent, or with `listing` for reading its names."""
    fd = open_beneath(root, path, _LIST_DIRECTORY if listing else _DIRECTORY, links=links)
    try:
        yield fd
    finally:
        os.close(fd)


def open_file(root: int, path: bytes, flags: int = os.O_RDONLY, *, links: bool = True) -> int:
    """Open an existing regular file beneath `root`; raises `WrongKind` for anything else, without having opened it.

    `links=False` refuses symbolic links on the way and at the end.
    """
    handle = open_beneath(root, path, os.O_PATH | (0 if links else os.O_NOFOLLOW), links=links)
    return _reopen_file(handle, path, flags)


def open_named_file(parent: int, name: bytes, path: bytes, flags: int) -> int:
    """Open the regular file `name` in `parent`, never through a link; `path` is what errors call it."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    return _reopen_file(handle, path, flags)


def stat_named(parent: int, name: bytes) -> os.stat_result | None:
    """What has `name` in `parent`, a link itself, or None."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def describe_named(parent: int, name: bytes, path: bytes) -> Entry:
    """The entry `name` in `parent` under the path `path`; FileNotFoundError if there is none."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        return describe(path, status)
    # the name may mean something else by now: a link's target is read from the very entry that is described
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        status = os.fstat(handle)
        target = os.readlink(b"", dir_fd=handle) if stat.S_ISLNK(status.st_mode) else None
        return describe(path, status, target)
    finally:
        os.close(handle)


def describe(path: bytes, status: os.stat_result, target: bytes | None = None) -> Entry:
    """Put what the kernel says of an entry into the contract's terms."""
    return Entry(
        path=encode(path),
        kind=kind_of(status),
        size=status.st_size,
        allocated=status.st_blocks * 512,
        version=version_of(status),
        # times are the jailed program's to set, and some file systems keep any 64-bit number of seconds
        modified_ns=max(-_INT64_MAX, min(status.st_mtime_ns, _INT64_MAX)),
        mode=status.st_mode & 0o777,
        links=status.st_nlink,
        target=None if target is None else encode(target),
    )


def kind_of(status: os.stat_result) -> EntryKind:
    """Which kind of entry the kernel describes."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), EntryKind.OTHER)


def version_of(status: os.stat_result) -> str:
    """The version of an entry: the change time catches what sets the modification time back."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}-{status.st_size:x}"


def require_file(status: os.stat_result, path: bytes) -> None:
    """Raise `WrongKind` unless it is a regular file."""
    if not stat.S_ISREG(status.st_mode):
        shown, kind = encode(path), kind_of(status)
        what = "a FIFO, socket or device" if kind is EntryKind.OTHER else f"a {kind}"
        raise WrongKind(f"{shown} is {what}, not a file", path=shown)


def require_version(status: os.stat_result | None, expected: str | None, path: bytes) -> None:
    """Raise `VersionConflict` unless what is there (None: nothing) is the expected version; None expects anything."""
    actual = ABSENT if status is None else version_of(status)
    if expected is not None and expected != actual:
        raise version_conflict(status, expected, path)


def version_conflict(status: os.stat_result | None, expected: str, path: bytes) -> VersionConflict:
    """The conflict of an expected version with what is there; None when that is nothing, or gone again."""
    shown = encode(path)
    found = "exists" if expected == ABSENT else "is gone" if status is None else "has changed"
    actual = None if status is None else version_of(status)
    return VersionConflict(f"{shown} {found} meanwhile", path=shown, expected=expected, actual=actual)


def _reopen_file(handle: int, path: bytes, flags: int) -> int:
    try:
        require_file(os.fstat(handle), path)
        return os.open(f"/proc/self/fd/{handle}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(handle)
