"""Unpacking an archive that somebody else made, out of sight, and moving the result in place.

Every member is made by a path below the temporary directory with links refused, so that neither a link in the archive
nor one that jailed code plants meanwhile leads anywhere else.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from workstation.errors import AlreadyExists, LimitExceeded
from workstation.interface import ImportedArchive
from workstation.local.archives.members import Member, MemberKind, Source
from workstation.local.archives.tars import tar_members
from workstation.local.archives.zips import is_zip, zip_members
from workstation.local.failures import failures
from workstation.local.openat2 import rename_new
from workstation.local.replacing import Replacement, bytes_alone, require_size
from workstation.local.threads import Stop
from workstation.local.workspace import Workspace, directory_beneath, stat_named
from workstation.paths import encode, join, split

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CONTRADICTIONS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_LATEST = 1 << 33  # seconds; file systems differ in which times they take, this is the year 2242


def unpack(workspace: Workspace, path: bytes, archive: BinaryIO, stop: Stop) -> ImportedArchive:
    """Unpack `archive` into the directory `path`, which is made if it is missing."""
    exists = _is_directory(workspace, path)
    source = Source(archive, path, workspace.limits, stop)
    with failures(path), Replacement(workspace, join(path, b"archive") if exists else path, stop) as made:
        os.mkdir(made.temporary, dir_fd=made.parent)
        with directory_beneath(made.parent, made.temporary, links=False, listing=True) as bottom:
            workspace.give(bottom)
            unpacking = _Unpacking(workspace, source, bottom)
            try:
                for member in zip_members(source) if is_zip(source) else tar_members(source):
                    unpacking.add(member)
                if exists:
                    _move_all(workspace, bottom, made.parent, path)
            except BaseException:
                workspace.quota.forget()
                raise
        if not exists:
            made.publish(replace=False)
    return unpacking.summary()


class _Unpacking:
    """Makes members below the empty directory descriptor `bottom`."""

    def __init__(self, workspace: Workspace, source: Source, bottom: int) -> None:
        self._workspace = workspace
        self._source = source
        self._bottom = bottom
        self._members = self._entries = self._bytes = self._left_out = 0

    def summary(self) -> ImportedArchive:
        return ImportedArchive(entries=self._entries, bytes=self._bytes, left_out=self._left_out)

    def add(self, member: Member) -> None:
        """Make one member and the directories above it."""
        self._members += 1
        self._require("tree_entries", self._members)
        names = self._names(member.name, member)
        if not names:  # `./`, the directory itself
            return
        path = join(self._source.path, b"/".join(names))
        self._require("tree_depth", len(names))
        self._require("path_bytes", len(path))
        with failures(path):
            self._make(b"/".join(names), path, member)

    def _make(self, below: bytes, path: bytes, member: Member) -> None:
        directory, name = split(below)
        try:
            with self._directory(directory) as parent:
                if member.kind is MemberKind.DIRECTORY:
                    self._make_directory(parent, name)
                elif member.kind is MemberKind.FILE:
                    self._make_file(parent, name, path, member)
                elif member.kind is MemberKind.HARD_LINK:
                    self._make_hard_link(parent, name, below, member)
                elif member.kind is MemberKind.SYMLINK and not _leads_out(split(path)[0], member.target):
                    self._make_symlink(parent, name, member)
                else:
                    self._left_out += 1
        except OSError as error:
            if error.errno in _CONTRADICTIONS:
                raise self._source.invalid("it contradicts an entry before it", member.name) from error
            raise

    @contextmanager
    def _directory(self, path: bytes) -> Iterator[int]:
        """The directory `path`, which archives need not mention, as a descriptor."""
        with ExitStack() as opened:
            try:
                parent = opened.enter_context(directory_beneath(self._bottom, path, links=False))
            except FileNotFoundError:
                names = path.split(b"/")
                for depth in range(1, len(names) + 1):
                    self._source.stop.check()
                    above, name = split(b"/".join(names[:depth]))
                    with directory_beneath(self._bottom, above, links=False) as parent:
                        self._make_directory(parent, name)
                parent = opened.enter_context(directory_beneath(self._bottom, path, links=False))
            yield parent

    def _make_directory(self, parent: int, name: bytes) -> None:
        status = stat_named(parent, name)
        if status is not None and stat.S_ISDIR(status.st_mode):
            return
        self._claim()
        os.mkdir(name, dir_fd=parent)
        self._workspace.give_named(parent, name)

    def _make_file(self, parent: int, name: bytes, path: bytes, member: Member) -> None:
        require_size(self._workspace, path, member.size)
        self._replace(parent, name)
        self._claim()
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            self._workspace.give(fd)
            for offset, piece in member.data:
                self._workspace.quota.take(len(piece), path, self._source.stop)
                _write(fd, piece, offset)
                self._bytes += len(piece)
            os.ftruncate(fd, member.size)
            os.fchmod(fd, member.mode & 0o777)
            if 0 <= member.modified < _LATEST:
                os.utime(fd, (member.modified, member.modified))
        finally:
            os.close(fd)

    def _make_hard_link(self, parent: int, name: bytes, below: bytes, member: Member) -> None:
        """Give a file of this archive a second name; nothing else may get one."""
        target = b"/".join(self._names(member.target, member))
        if target == below:
            return
        directory, source_name = split(target)
        try:
            with directory_beneath(self._bottom, directory, links=False) as source:
                status = os.stat(source_name, dir_fd=source, follow_symlinks=False)
                if not stat.S_ISREG(status.st_mode):
                    raise self._source.invalid("a hard link to what is no file", member.name)
                self._replace(parent, name)
                self._claim()
                os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as error:
            raise self._source.invalid("a hard link to what is not in the archive before it", member.name) from error

    def _make_symlink(self, parent: int, name: bytes, member: Member) -> None:
        if not member.target or b"\0" in member.target:
            raise self._source.invalid("a symbolic link to nowhere", member.name)
        self._replace(parent, name)
        self._claim()
        os.symlink(member.target, name, dir_fd=parent)
        self._workspace.give_named(parent, name)

    def _replace(self, parent: int, name: bytes) -> None:
        """Make way for a member: of two with one name, as after `tar --append`, the last counts."""
        status = stat_named(parent, name)
        if status is not None:
            os.unlink(name, dir_fd=parent)
            self._workspace.quota.give(bytes_alone(status), entries=1)
            self._entries -= 1

    def _claim(self) -> None:
        self._require("tree_entries", self._entries + 1)
        self._workspace.quota.take(0, self._source.path, self._source.stop, entries=1)
        self._entries += 1

    def _names(self, path: bytes, member: Member) -> list[bytes]:
        """The names in a path of the archive; raises `ArchiveInvalid` unless they can only lead down."""
        names = [name for name in path.split(b"/") if name not in (b"", b".")]
        if path.startswith(b"/") or b".." in names or b"\0" in path:
            raise self._source.invalid("a path that leads out of the archive, or a NUL in it", member.name)
        return names

    def _require(self, limit: str, count: int) -> None:
        allowed = getattr(self._workspace.limits, limit)
        if count > allowed:
            message = f"the archive for {encode(self._source.path)} is too much: {limit} is {allowed}"
            raise LimitExceeded(message, limit=limit, allowed=allowed)


def _is_directory(workspace: Workspace, path: bytes) -> bool:
    with failures(path):
        try:
            with directory_beneath(workspace.root, path):
                return True
        except FileNotFoundError:
            return False


def _move_all(workspace: Workspace, source: int, target: int, path: bytes) -> None:
    """Move what is in the directory `source` to `target`, if none of the names is taken there."""
    names = sorted(map(os.fsencode, os.listdir(source)))
    with workspace.changes:
        for name in names:
            if stat_named(target, name) is not None:
                shown = encode(join(path, name))
                raise AlreadyExists(f"there is something at {shown} already", path=shown)
        for name in names:
            with failures(join(path, name)):
                rename_new(source, name, target, name)


def _leads_out(directory: bytes, target: bytes) -> bool:
    """Whether a link in `directory` points out of the workspace, as far as its text says.

    The kernel refuses to follow such a link for us whatever its text says.
    """
    depth = 0 if directory == b"." else directory.count(b"/") + 1
    for name in target.split(b"/"):
        depth += {b"..": -1, b".": 0, b"": 0}.get(name, 1)
        if depth < 0:
            return True
    return target.startswith(b"/")


def _write(fd: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(fd, rest, offset)
        rest, offset = rest[count:], offset + count
