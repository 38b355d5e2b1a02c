"""Copies of files, links and whole trees."""

import errno
import os
import stat

from workstation.errors import AlreadyExists, FileBusy, LimitExceeded, NotFound, PermissionDenied
from workstation.interface import Entry, EntryKind
from workstation.local.failures import failures
from workstation.local.replacing import FileReplacement, Replacement, require_size
from workstation.local.threads import Stop
from workstation.local.tree import Found, Walk
from workstation.local.workspace import (
    Workspace,
    directory_beneath,
    kind_of,
    open_named_file,
    stat_named,
)
from workstation.paths import encode, join, split

_SLICE = 8 << 20


def copy(workspace: Workspace, source: bytes, target: bytes, *, replace: bool, stop: Stop) -> Entry:
    """Copy whatever `source` is to the path `target`."""
    if not replace:
        _require_free(workspace, target)
    with failures(source), workspace.place(source) as (parent, name):
        status = stat_named(parent, name)
        if status is None:
            raise NotFound(f"there is no {encode(source)}", path=encode(source))
        kind = kind_of(status)
        if kind is EntryKind.DIRECTORY:
            return _copy_tree(workspace, source, target, replace=replace, stop=stop)
        if kind is EntryKind.SYMLINK:
            return _copy_link(workspace, link_target(parent, name, source), target, replace=replace, stop=stop)
        fd = open_named_file(parent, name, source, os.O_RDONLY)
        try:
            return _copy_file(workspace, fd, source, target, replace=replace, stop=stop)
        finally:
            os.close(fd)


def _require_free(workspace: Workspace, path: bytes) -> None:
    with failures(path), workspace.place(path) as (parent, name):
        if stat_named(parent, name) is not None:
            raise AlreadyExists(f"there is something at {encode(path)} already", path=encode(path))


def _copy_file(workspace: Workspace, fd: int, source: bytes, target: bytes, *, replace: bool, stop: Stop) -> Entry:
    with failures(target), FileReplacement(workspace, target, stop) as copy_of:
        status = os.fstat(fd)
        require_size(workspace, target, status.st_size)
        copy_of.claim(status.st_blocks * 512, stop)
        _copy_data(fd, copy_of.fd, source, stop)
        return copy_of.publish(replace=replace, mode=status.st_mode)


def _copy_link(workspace: Workspace, points_to: bytes, target: bytes, *, replace: bool, stop: Stop) -> Entry:
    with failures(target), Replacement(workspace, target, stop) as copy_of:
        os.symlink(points_to, copy_of.temporary, dir_fd=copy_of.parent)
        workspace.give_named(copy_of.parent, copy_of.temporary)
        return copy_of.publish(replace=replace)


def _copy_tree(workspace: Workspace, source: bytes, target: bytes, *, replace: bool, stop: Stop) -> Entry:
    with (
        directory_beneath(workspace.root, source) as top,
        failures(target),
        Replacement(workspace, target, stop) as copy_of,
    ):
        os.mkdir(copy_of.temporary, dir_fd=copy_of.parent)
        with directory_beneath(copy_of.parent, copy_of.temporary, links=False) as bottom:
            workspace.give(bottom)
            _TreeCopy(workspace, source, top, bottom, stop).run()
        return copy_of.publish(replace=replace)


class _TreeCopy:
    """Copies what is below the directory descriptor `top` into the empty one `bottom`."""

    def __init__(self, workspace: Workspace, source: bytes, top: int, bottom: int, stop: Stop) -> None:
        self._workspace = workspace
        self._source = source
        self._top = top
        self._bottom = bottom
        self._stop = stop
        self._made = os.fstat(bottom)

    def run(self) -> None:
        walk = Walk(self._top, self._workspace.limits, self._stop, skip=self._made)
        try:
            for found in walk:
                self._stop.check()
                self._copy(found)
        except BaseException:
            self._workspace.quota.forget()
            raise
        self._require_all(walk)

    def _copy(self, found: Found) -> None:
        directory, name = split(found.path)
        with (
            directory_beneath(self._top, directory, links=False) as source,
            directory_beneath(self._bottom, directory, links=False) as target,
        ):
            kind = kind_of(found.status)
            path = join(self._source, found.path)
            self._workspace.quota.take(0, path, self._stop, entries=1)
            if kind is EntryKind.DIRECTORY:
                os.mkdir(name, dir_fd=target)
                self._workspace.give_named(target, name)
            elif kind is EntryKind.SYMLINK:
                points_to = link_target(source, name, path)
                os.symlink(points_to, name, dir_fd=target)
                self._workspace.give_named(target, name)
            else:
                self._copy_file(source, target, name, path)

    def _copy_file(self, source: int, target: int, name: bytes, path: bytes) -> None:
        reading = open_named_file(source, name, path, os.O_RDONLY)
        try:
            status = os.fstat(reading)
            require_size(self._workspace, path, status.st_size)
            self._workspace.quota.take(status.st_blocks * 512, path, self._stop)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            writing = os.open(name, flags, 0o600, dir_fd=target)
            try:
                self._workspace.give(writing)
                _copy_data(reading, writing, path, self._stop)
                os.fchmod(writing, stat.S_IMODE(status.st_mode) & 0o777)  # whatever the umask is
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def _require_all(self, walk: Walk) -> None:
        shown = encode(self._source)
        if walk.unreadable:
            raise PermissionDenied(f"{walk.unreadable} directories below {shown} cannot be read", path=shown)
        for limit in sorted(walk.cut_by):
            allowed = getattr(self._workspace.limits, limit)
            raise LimitExceeded(f"{shown} is too much to copy: {limit} is {allowed}", limit=limit, allowed=allowed)


def link_target(parent: int, name: bytes, path: bytes) -> bytes:
    """Where the link `name` in `parent` points; raises `FileBusy` when it is none any more."""
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what was a link a moment ago is none any more
            raise
        raise FileBusy(f"{encode(path)} changes while it is read", path=encode(path)) from error


def _copy_data(source: int, target: int, path: bytes, stop: Stop) -> None:
    """Copy what `source` holds; where it has holes, `target` gets holes."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    start = _next_data(source, 0)
    while start is not None and start < size:
        end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            stop.check()
            count = os.sendfile(target, source, start, min(_SLICE, end - start))
            if count == 0:
                raise FileBusy(f"{encode(path)} shrinks while it is copied", path=encode(path))
            start += count
        start = _next_data(source, start)


def _next_data(fd: int, offset: int) -> int | None:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing but a hole follows
            raise
        return None
