"""Changes to the workspace, each as one blocking function that runs in a thread."""

import errno
import os
import stat

from workstation.errors import AlreadyExists, NotFound, WrongKind
from workstation.interface import Entry, EntryKind
from workstation.local.failures import failures
from workstation.local.openat2 import rename_new
from workstation.local.replacing import FileReplacement, bytes_alone, require_size, sync_directory
from workstation.local.threads import Stop
from workstation.local.tree import remove_tree
from workstation.local.workspace import (
    Workspace,
    describe,
    describe_named,
    directory_beneath,
    kind_of,
    open_named_file,
    require_version,
    stat_named,
)
from workstation.paths import encode, split

_APPEND = os.O_WRONLY | os.O_APPEND
_CREATE = _APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Writing:
    """One `write`: `start`, `add` piece by piece, `finish`, and `discard` whatever happened; or `at_once`."""

    def __init__(
        self, workspace: Workspace, path: bytes, expected_version: str | None, *, parents: bool, durable: bool
    ) -> None:
        self._workspace = workspace
        self._path = path
        self._parents = parents
        self._durable = durable
        self._expected = expected_version
        self._file: FileReplacement | None = None

    def start(self, stop: Stop) -> None:
        """Open a file beside the one to be replaced."""
        if self._parents:
            make_directories(self._workspace, split(self._path)[0], stop)
        self._file = FileReplacement(self._workspace, self._path, stop, self._expected)
        with failures(self._path):
            self._file.open()

    def add(self, data: bytes, stop: Stop) -> None:
        """Write more content."""
        assert self._file is not None
        with failures(self._path):
            self._file.write(data, stop)

    def finish(self, stop: Stop) -> Entry:
        """Put the new file in place."""
        assert self._file is not None
        stop.check()
        with failures(self._path):
            return self._file.publish(durable=self._durable)

    def discard(self) -> None:
        """Leave nothing behind that is not in place."""
        if self._file is not None:
            with failures(self._path):
                self._file.discard()

    def at_once(self, data: bytes, stop: Stop) -> Entry:
        """Do all of it."""
        try:
            self.start(stop)
            self.add(data, stop)
            return self.finish(stop)
        finally:
            self.discard()


def append(workspace: Workspace, path: bytes, data: bytes, *, durable: bool, stop: Stop) -> Entry:
    """Add `data` to the end of a file, which is made if missing."""
    with failures(path), workspace.place(path) as (parent, name):
        missing = stat_named(parent, name) is None
        with workspace.quota.claim(path, stop, count=len(data), entries=missing):
            fd, created = _open_for_append(parent, name, path)
            try:
                if created:
                    workspace.give(fd)
                require_size(workspace, path, os.fstat(fd).st_size + len(data))
                with workspace.changes:
                    _write_all(fd, data)
                if durable:
                    os.fsync(fd)
                    if created:
                        sync_directory(parent)
                return describe(path, os.fstat(fd))
            finally:
                os.close(fd)


def make_directory(workspace: Workspace, path: bytes, stop: Stop) -> Entry:
    """Make one directory."""
    with failures(path), workspace.place(path) as (parent, name):
        _make(workspace, parent, name, path, stop)
        return describe_named(parent, name, path)


def make_directories(workspace: Workspace, path: bytes, stop: Stop) -> Entry:
    """Make a directory and those missing above it; links on the way count as where they lead."""
    with failures(path):
        try:
            return _describe_directory(workspace, path)
        except FileNotFoundError:
            for end in _ends_of_names(path):
                stop.check()
                _make_missing(workspace, path[:end], stop)
            return _describe_directory(workspace, path)


def move(workspace: Workspace, source: bytes, target: bytes, *, replace: bool) -> Entry:
    """Rename within the workspace."""
    with failures(source), workspace.place(source) as (source_parent, source_name):
        status = stat_named(source_parent, source_name)
        if status is None:
            raise NotFound(f"there is no {encode(source)}", path=encode(source))
        with failures(target), workspace.place(target) as (target_parent, target_name), workspace.changes:
            replaced = stat_named(target_parent, target_name)
            if not replace:
                rename_new(source_parent, source_name, target_parent, target_name)
            elif not (source_name == target_name and os.path.sameopenfile(source_parent, target_parent)):
                os.rename(source_name, target_name, src_dir_fd=source_parent, dst_dir_fd=target_parent)
                if replaced is not None and os.path.samestat(status, replaced):
                    # two names of one file: rename(2) leaves both and calls it a success
                    os.unlink(source_name, dir_fd=source_parent)
            if replaced is not None:
                workspace.quota.forget()
            return describe_named(target_parent, target_name, target)


def remove(workspace: Workspace, path: bytes, expected_version: str | None, *, recursive: bool, stop: Stop) -> int:
    """Remove an entry; returns how many went."""
    with failures(path), workspace.place(path) as (parent, name), workspace.changes:
        status = stat_named(parent, name)
        require_version(status, expected_version, path)
        if status is None:
            raise NotFound(f"there is no {encode(path)}", path=encode(path))
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=parent)
            workspace.quota.give(bytes_alone(status), entries=1)
            return 1
        if not recursive:
            os.rmdir(name, dir_fd=parent)
            workspace.quota.give(0, entries=1)
            return 1
    with failures(path), workspace.place(path) as (parent, name):
        try:
            return remove_tree(parent, name, stop)
        finally:
            workspace.quota.forget()


def _open_for_append(parent: int, name: bytes, path: bytes) -> tuple[int, bool]:
    """The file for appending, and whether it was made; a name that comes and goes is tried a few times."""
    for _ in range(8):
        try:
            return open_named_file(parent, name, path, _APPEND), False
        except FileNotFoundError:
            pass
        try:
            return os.open(name, _CREATE, 0o666, dir_fd=parent), True
        except FileExistsError:
            pass
    raise AlreadyExists(f"{encode(path)} keeps coming and going", path=encode(path))


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _ends_of_names(path: bytes) -> list[int]:
    return [*(index for index, byte in enumerate(path) if byte == ord("/")), len(path)]


def _make_missing(workspace: Workspace, path: bytes, stop: Stop) -> None:
    with workspace.place(path) as (parent, name):
        try:
            _make(workspace, parent, name, path, stop)
        except FileExistsError:
            status = stat_named(parent, name)
            if status is not None and kind_of(status) not in (EntryKind.DIRECTORY, EntryKind.SYMLINK):
                raise WrongKind(f"{encode(path)} is not a directory", path=encode(path)) from None


def _make(workspace: Workspace, parent: int, name: bytes, path: bytes, stop: Stop) -> None:
    if stat_named(parent, name) is not None:  # no room is needed, and none might be left
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with workspace.quota.claim(path, stop, entries=1):
        os.mkdir(name, dir_fd=parent)
    workspace.give_named(parent, name)


def _describe_directory(workspace: Workspace, path: bytes) -> Entry:
    with directory_beneath(workspace.root, path) as fd:
        return describe(path, os.fstat(fd))
