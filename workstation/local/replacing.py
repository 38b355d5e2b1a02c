"""What is built beside its place and appears there at once: nobody sees half a file or half a tree."""

import os
import re
import secrets
import stat
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from workstation.errors import FileTooLarge
from workstation.interface import ABSENT, Entry
from workstation.local.openat2 import rename_new
from workstation.local.threads import Stop
from workstation.local.tree import remove_tree
from workstation.local.workspace import (
    Workspace,
    describe_named,
    require_file,
    require_version,
    stat_named,
    version_conflict,
)
from workstation.paths import encode

_TEMPORARY = re.compile(rb"\.empla-[0-9a-f]{16}\.tmp")
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Replacement:
    """Something that grows as `temporary` in the directory `parent` until `publish` gives it its name.

    `discard`, or leaving the block, leaves nothing behind that was not published, nor a claim on the quota.
    """

    def __init__(self, workspace: Workspace, path: bytes, stop: Stop) -> None:
        self.workspace = workspace
        self.path = path
        self._stop = stop
        self._claimed = (0, 0)
        self.parent = -1
        self.name = b""
        self.temporary = temporary_name()
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def open(self) -> None:
        """Open the directory and claim an entry in it; a subclass creates `temporary` there."""
        self.parent, self.name = self._resources.enter_context(self.workspace.place(self.path))
        self._check()
        self.claim(0, self._stop, entries=1)
        self._resources.callback(self._return_claim)
        self._resources.callback(self._remove_temporary)

    def claim(self, count: int, stop: Stop, *, entries: int = 0) -> None:
        """Claim bytes and entries until this is published or discarded; raises `QuotaExceeded`."""
        self.workspace.quota.take(count, self.path, stop, entries=entries)
        self._claimed = self._claimed[0] + count, self._claimed[1] + entries

    def publish(self, *, replace: bool) -> Entry:
        """Give it its name; without `replace`, FileExistsError if that is taken."""
        with self.workspace.changes:
            return self._rename(replace=replace)

    def discard(self) -> None:
        """Close everything and remove what was not published; harmless after `publish` and when called again."""
        self._resources.close()

    def _rename(self, *, replace: bool) -> Entry:
        replaced = stat_named(self.parent, self.name)
        if replace:
            os.rename(self.temporary, self.name, src_dir_fd=self.parent, dst_dir_fd=self.parent)
        else:
            rename_new(self.parent, self.temporary, self.parent, self.name)
        self._claimed = (0, 0)
        if replaced is not None:
            self.workspace.quota.give(bytes_alone(replaced), entries=1)
        return describe_named(self.parent, self.name, self.path)

    def _check(self) -> os.stat_result | None:
        """What has the name now; a subclass raises unless that may be replaced."""
        return stat_named(self.parent, self.name)

    def _return_claim(self) -> None:
        self.workspace.quota.give(self._claimed[0], entries=self._claimed[1])

    def _remove_temporary(self) -> None:
        status = stat_named(self.parent, self.temporary)
        if status is None:
            return
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(status.st_mode):
                remove_tree(self.parent, self.temporary, Stop())
            else:
                os.unlink(self.temporary, dir_fd=self.parent)


class FileReplacement(Replacement):
    """A file that grows by `write`; `expected_version` is checked when it opens and again when it is published."""

    def __init__(self, workspace: Workspace, path: bytes, stop: Stop, expected_version: str | None = None) -> None:
        super().__init__(workspace, path, stop)
        self.fd = -1
        self._expected = expected_version
        self._size = 0

    def open(self) -> None:
        """Create the temporary file; raises `WrongKind` unless a file, or nothing, has the name now."""
        super().open()
        self.fd = os.open(self.temporary, _CREATE, 0o666, dir_fd=self.parent)
        self._resources.callback(os.close, self.fd)
        self.workspace.give(self.fd)

    def write(self, data: bytes, stop: Stop) -> None:
        """Add `data`; raises `FileTooLarge` or `QuotaExceeded` before any of it is written."""
        require_size(self.workspace, self.path, self._size + len(data))
        self.claim(len(data), stop)
        self._size += len(data)
        rest = memoryview(data)
        while rest:
            stop.check()
            rest = rest[os.write(self.fd, rest[: 8 << 20]) :]

    def publish(self, *, replace: bool = True, mode: int | None = None, durable: bool = False) -> Entry:
        """Give it its name and `mode`, by default that of the file it replaces; `durable` waits for the disk."""
        if durable:
            os.fsync(self.fd)
        with self.workspace.changes:
            current = self._check()
            if mode is None and current is not None:
                mode = current.st_mode
            if mode is not None:
                os.fchmod(self.fd, mode & 0o777)
            entry = self._rename_expected(replace=replace)
        if durable:
            sync_directory(self.parent)
        return entry

    def _rename_expected(self, *, replace: bool) -> Entry:
        if self._expected != ABSENT:
            return self._rename(replace=replace)
        try:
            return self._rename(replace=False)
        except FileExistsError as error:  # jailed code was faster than the check before
            raise version_conflict(stat_named(self.parent, self.name), ABSENT, self.path) from error

    def _check(self) -> os.stat_result | None:
        current = super()._check()
        require_version(current, self._expected, self.path)
        if current is not None:
            require_file(current, self.path)
        return current


def temporary_name() -> bytes:
    """A name for what is not complete yet."""
    return f".empla-{secrets.token_hex(8)}.tmp".encode()


def is_temporary(name: bytes) -> bool:
    """Whether this is how we name what is not complete yet; such names are neither watched nor archived."""
    return _TEMPORARY.fullmatch(name) is not None


def bytes_alone(status: os.stat_result) -> int:
    """What goes from the disk with this name: nothing while the file has another, and never more than was claimed."""
    alone = status.st_nlink == 1 and stat.S_ISREG(status.st_mode)
    return min(status.st_size, status.st_blocks * 512) if alone else 0


def require_size(workspace: Workspace, path: bytes, size: int) -> None:
    """Raise `FileTooLarge` if the limits do not allow a file of `size` bytes."""
    allowed = workspace.limits.file_bytes
    if size > allowed:
        shown = encode(path)
        raise FileTooLarge(f"{shown} would have more than {allowed} bytes", path=shown, allowed=allowed)


def sync_directory(parent: int) -> None:
    """Wait until the names in a directory are on the disk."""
    fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
