"""Watching directories with inotify(7), which never follows a link and never loses a change without saying so.

Changes wait in the kernel's queue, which is bounded, until the consumer asks for more; a slow one costs no memory of
ours and gets `overflow`. A new directory is watched first and looked at then, so that what was made in it meanwhile is
reported.
"""

import asyncio
import ctypes
import errno
import os
from collections.abc import AsyncGenerator
from contextlib import suppress

from inotify_simple import INotify, flags

from workstation.errors import Unsupported, WorkstationUnavailable
from workstation.interface import Change, ChangeKind, EntryKind
from workstation.local.failures import failures
from workstation.local.openat2 import open_beneath
from workstation.local.replacing import is_temporary
from workstation.local.threads import Stop, Threads, clean_up
from workstation.local.tree import Walk
from workstation.local.workspace import Workspace, kind_of
from workstation.paths import encode, join

_GONE = flags.DELETE | flags.MOVED_FROM
_NEW = flags.CREATE | flags.MOVED_TO
_CHANGED = flags.MODIFY | flags.CLOSE_WRITE | flags.ATTRIB  # a mapped file shows only when it is closed
_TOP_GONE = flags.DELETE_SELF | flags.MOVE_SELF
_MASK = _GONE | _NEW | _CHANGED | flags.ONLYDIR | flags.EXCL_UNLINK
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_NOT_WATCHED = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.ENAMETOOLONG)
_NO_INOTIFY = (errno.ENOSYS, errno.EPERM, errno.EACCES)
_inotify_init = ctypes.CDLL(None, use_errno=True).inotify_init1


def inotify_works() -> bool:
    """Whether the kernel (or a seccomp filter) lets us watch anything."""
    descriptor = _inotify_init(os.O_CLOEXEC)  # not INotify: the first one of a process has programs find the C library
    if descriptor < 0:
        return ctypes.get_errno() not in _NO_INOTIFY
    os.close(descriptor)
    return True


class Watching:
    """One watch: `open` and `read` in a thread, `read` whenever `fileno` is readable and until `ended`, then `close`."""

    def __init__(self, workspace: Workspace, path: bytes, *, recursive: bool) -> None:
        self.ended = False
        self._workspace = workspace
        self._top = path
        self._recursive = recursive
        self._inotify: INotify | None = None
        self._directories: dict[int, bytes] = {}
        self._changes = _Changes(encode(path), workspace.limits.watch_changes)

    def open(self, stop: Stop) -> list[Change]:
        """Begin to watch; raises what says why that is impossible."""
        self._changes.add(ChangeKind.BEGUN, self._top)
        with failures(self._top):
            self._inotify = _open_inotify()
            try:
                self._follow_top(stop)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise WorkstationUnavailable("no watch is left: raise fs.inotify.max_user_watches") from error
                raise
        return self._changes.take()

    def fileno(self) -> int:
        """The descriptor that is readable when there are changes."""
        return int(self._opened.fileno())

    def read(self, stop: Stop) -> list[Change]:
        """The changes that wait."""
        with failures(self._top):
            for wd, mask, _, name in self._opened.read(timeout=0):
                stop.check()
                if not self.ended:
                    self._take(wd, mask, os.fsencode(name), stop)
        return self._changes.take()

    def close(self) -> None:
        """Watch no more; the kernel may take some milliseconds for it."""
        if self._inotify is not None:
            self._inotify.close()

    @property
    def _opened(self) -> INotify:
        assert self._inotify is not None
        return self._inotify

    def _take(self, wd: int, mask: int, name: bytes, stop: Stop) -> None:
        directory = self._directories.get(wd)
        if mask & flags.Q_OVERFLOW:
            self._start_over(stop)
        elif directory is None:
            pass  # a directory that is gone, or was looked at again under its new name
        elif mask & (flags.IGNORED | flags.UNMOUNT):
            del self._directories[wd]
            self._take_own(directory)
        elif not name:
            if mask & _TOP_GONE:
                self._take_own(directory)
        elif not is_temporary(name):
            self._take_named(join(directory, name), mask, stop)

    def _take_own(self, directory: bytes) -> None:
        """A watched directory says that it is gone, which the one above it reports, unless there is none."""
        if directory == self._top:
            self._changes.add(ChangeKind.REMOVED, directory)
            self.ended = True

    def _take_named(self, path: bytes, mask: int, stop: Stop) -> None:
        if mask & _GONE:
            self._changes.add(ChangeKind.REMOVED, path)
            if mask & flags.ISDIR:
                self._forget(path)
        elif mask & _NEW:
            self._changes.add(ChangeKind.CREATED, path)
            if mask & flags.ISDIR and self._recursive and self._add(path):
                self._follow(path, stop, report=True)
        else:
            self._changes.add(ChangeKind.MODIFIED, path)

    def _follow_top(self, stop: Stop) -> None:
        """Watch the whole of it; raises the kernel's error if not even the top can be watched."""
        self._add_watch(self._top, _MASK | (_TOP_GONE if self._top != b"." else flags.DELETE_SELF))
        if self._recursive:
            self._follow(self._top, stop, report=False)

    def _follow(self, directory: bytes, stop: Stop, *, report: bool) -> None:
        """Watch what is below a watched directory, each directory before it is looked at; report what there is."""
        try:
            top = open_beneath(self._workspace.root, directory, _DIRECTORY, links=False)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return
            raise
        try:
            self._look_through(Walk(top, self._workspace.limits, stop), directory, report=report)
        finally:
            os.close(top)

    def _look_through(self, walk: Walk, directory: bytes, *, report: bool) -> None:
        for found in walk:
            if any(map(is_temporary, found.path.split(b"/"))):
                continue
            path = join(directory, found.path)
            if report:
                self._changes.add(ChangeKind.CREATED, path)
            if kind_of(found.status) is EntryKind.DIRECTORY:
                self._add(path)
        if walk.cut_by or walk.unreadable:
            self._changes.overflow()

    def _add(self, directory: bytes) -> bool:
        """Watch a directory; whether it is there and was not watched under that name. Says so if it cannot be."""
        if len(self._directories) >= self._workspace.limits.watch_directories:
            self._changes.overflow()
            return False
        try:
            return self._add_watch(directory, _MASK)
        except OSError as error:
            if error.errno in _NOT_WATCHED:
                self._changes.overflow()
            elif error.errno not in _NOT_THERE:
                raise
            return False

    def _add_watch(self, directory: bytes, mask: int) -> bool:
        fd = open_beneath(self._workspace.root, directory, _DIRECTORY, links=False)
        try:
            wd = self._opened.add_watch(f"/proc/self/fd/{fd}", mask)
        finally:
            os.close(fd)
        known, self._directories[wd] = self._directories.get(wd), directory
        return known != directory

    def _forget(self, path: bytes) -> None:
        """Stop watching a directory that is gone from `path`, and those below it."""
        below = path + b"/"
        for wd in [wd for wd, known in self._directories.items() if known == path or known.startswith(below)]:
            del self._directories[wd]
            self._drop(wd)

    def _drop(self, wd: int) -> None:
        with suppress(OSError):  # removed together with its directory
            self._opened.rm_watch(wd)

    def _start_over(self, stop: Stop) -> None:
        """After the kernel lost events, directories may have come, gone and changed names."""
        before, self._directories = self._directories, {}
        self._changes.overflow()
        try:
            self._follow_top(stop)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            self._take_own(self._top)
        for wd in before.keys() - self._directories.keys():
            self._drop(wd)


class Watches:
    """All watches of a FileSystem; closing wakes those that wait."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    async def changes(self, watching: Watching) -> AsyncGenerator[Change]:
        """Stream what a watch sees."""
        try:
            for change in await self._threads.run(watching.open):
                yield change
            while not watching.ended:
                await self._wait(watching)
                for change in await self._threads.run(watching.read):
                    yield change
        finally:
            await clean_up(watching.close)

    def close(self) -> None:
        """Wake those that wait, for them to find that all is closed."""
        self._closed = True
        for ready in self._waiting:
            _tell(ready)

    async def _wait(self, watching: Watching) -> None:
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        self._waiting.add(ready)
        loop.add_reader(watching.fileno(), _tell, ready)
        try:
            await ready
        finally:
            loop.remove_reader(watching.fileno())
            self._waiting.discard(ready)


class _Changes:
    """The changes of one look at the queue, equal ones in a row once; those over the limit become one `overflow`."""

    def __init__(self, top: str, most: int) -> None:
        self._top = top
        self._most = most
        self._changes: list[Change] = []

    def add(self, kind: ChangeKind, path: bytes) -> None:
        change = Change(kind=kind, path=encode(path))
        if len(self._changes) >= self._most:
            self.overflow()
        elif self._changes[-1:] != [change]:
            self._changes.append(change)

    def overflow(self) -> None:
        change = Change(kind=ChangeKind.OVERFLOW, path=self._top)
        if self._changes[-1:] != [change]:
            self._changes.append(change)

    def take(self) -> list[Change]:
        changes, self._changes = self._changes, []
        return changes


def _open_inotify() -> INotify:
    try:
        return INotify(nonblocking=True)
    except OSError as error:
        if error.errno == errno.EMFILE:
            message = "no inotify instance is left: raise fs.inotify.max_user_instances, or the limit of open files"
            raise WorkstationUnavailable(message) from error
        if error.errno in _NO_INOTIFY:
            raise Unsupported("inotify is forbidden here, and changes cannot be watched without it") from error
        raise


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
