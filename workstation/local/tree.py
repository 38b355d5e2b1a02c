"""Going through directory trees that jailed code may have built: bounded, link-free, with few descriptors open."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from workstation.interface import FileSystemLimits
from workstation.local.openat2 import open_beneath
from workstation.local.threads import Stop
from workstation.local.workspace import directory_beneath
from workstation.paths import join, split

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_BATCH = 10_000  # directories taken from one look at a directory
_LONGEST = 3800  # bytes of a path below one descriptor; the kernel takes 4095, and a name has at most 255


@dataclass(frozen=True, slots=True)
class Found:
    """An entry met on a walk: its path below the walk's top and what the kernel says of it."""

    path: bytes
    status: os.stat_result


@dataclass(slots=True)
class Walk:
    """All entries below the directory descriptor `top`, directories before what they hold, names in byte order.

    Each directory is opened by its path from `top` with links refused, so depth costs no descriptors and a swapped-in
    link ends in an error, not elsewhere. The entry that `skip` describes is left out, as is what vanishes meanwhile.
    Afterwards `cut_by` names the limits that cut the walk short and `unreadable` counts directories that could not be
    opened.
    """

    top: int
    limits: FileSystemLimits
    stop: Stop
    skip: os.stat_result | None = None
    cut_by: set[str] = field(default_factory=set)
    unreadable: int = 0
    seen: int = 0

    def __iter__(self) -> Iterator[Found]:
        pending = [(b".", 1)]
        while pending:
            self.stop.check()
            directory, depth = pending.pop()
            children = self._children(directory)
            yield from children
            below = [child.path for child in children if stat.S_ISDIR(child.status.st_mode)]
            pending.extend((path, depth + 1) for path in reversed(below) if self._may_enter(path, depth + 1))

    def _may_enter(self, path: bytes, depth: int) -> bool:
        if depth > self.limits.tree_depth:
            self.cut_by.add("tree_depth")
        elif len(path) > _LONGEST:
            self.cut_by.add("path_bytes")
        else:
            return True
        return False

    def _children(self, directory: bytes) -> list[Found]:
        try:
            with (
                directory_beneath(self.top, directory, links=False, listing=True) as fd,
                os.scandir(fd) as names,
            ):
                children = list(self._bounded(directory, names))
        except OSError as error:
            if error.errno in _GONE:
                return []
            if error.errno not in (errno.EACCES, errno.EPERM):
                raise
            self.unreadable += 1
            return []
        return sorted(children, key=lambda child: child.path)

    def _bounded(self, directory: bytes, names: Iterator[os.DirEntry[str]]) -> Iterator[Found]:
        for name in names:
            if self.seen >= self.limits.tree_entries:
                self.cut_by.add("tree_entries")
                return
            if self.seen % 256 == 0:
                self.stop.check()
            try:
                status = name.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if self.skip is not None and os.path.samestat(status, self.skip):
                continue
            self.seen += 1
            yield Found(join(directory, os.fsencode(name.name)), status)


def measure(root: int, limits: FileSystemLimits, stop: Stop) -> tuple[int, int, bool]:
    """Count what the tree at `root` takes: bytes on disk, each hard-linked file once; entries; whether there is more."""
    walk = Walk(root, limits, stop)
    allocated = 0
    linked: set[tuple[int, int]] = set()
    for found in walk:
        status = found.status
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if identity in linked:
                continue
            linked.add(identity)
        allocated += status.st_blocks * 512
    return allocated, walk.seen, bool(walk.cut_by or walk.unreadable)


def remove_tree(parent: int, name: bytes, stop: Stop) -> int:
    """Remove the directory `name` in `parent` with all below it, however deep; returns how many entries went.

    Against a program that adds faster than this removes, only the bound in `stop` helps.
    """
    _grant(parent, name)
    with directory_beneath(parent, name, links=False) as top:
        removed = _Emptying(top, stop).run()
    os.rmdir(name, dir_fd=parent)
    return removed + 1


class _Emptying:
    """Empties the directory `top`, deepest first, by paths from it; deeper than a path reaches, from a directory below."""

    def __init__(self, top: int, stop: Stop) -> None:
        self._top = top
        self._stop = stop
        self._removed = 0

    def run(self) -> int:
        """Do it; returns how many entries went. A directory is looked at until no directory is found in it."""
        stack = [b"."]
        while stack:
            self._stop.check()
            path = stack[-1]
            if below := self._clear(path):
                stack.extend(below)
            elif path == b"." or self._remove(path):
                stack.pop()
        return self._removed

    def _clear(self, path: bytes) -> list[bytes]:
        """Remove what is no directory from `path`; returns the directories in it, the first of them if they are many."""
        below: list[bytes] = []
        try:
            with directory_beneath(self._top, path, links=False, listing=True) as fd, os.scandir(fd) as names:
                for entry in names:
                    self._stop.check()
                    name = os.fsencode(entry.name)
                    if not entry.is_dir(follow_symlinks=False):
                        self._removed += _unlink(fd, name)
                    elif len(path) > _LONGEST:
                        self._removed += remove_tree(fd, name, self._stop)
                    elif len(below) < _BATCH:
                        _grant(fd, name)
                        below.append(join(path, name))
        except OSError as error:
            if error.errno not in _GONE:
                raise
        return below

    def _remove(self, path: bytes) -> bool:
        """Remove a directory that was empty a moment ago; False if it is not any more."""
        directory, name = split(path)
        try:
            with directory_beneath(self._top, directory, links=False) as parent:
                os.rmdir(name, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            if error.errno not in _GONE:
                raise
        else:
            self._removed += 1
        return True


def _unlink(parent: int, name: bytes) -> bool:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True


def _grant(parent: int, name: bytes) -> None:
    """Give ourselves access to a directory that its owner, jailed code, may have locked."""
    handle = open_beneath(parent, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, links=False)
    try:
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)
