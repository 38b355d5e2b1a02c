"""LocalFileSystem: the workspace in a directory of this machine."""

import asyncio
import io
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from workstation import paths
from workstation.errors import InvalidArgument, LimitExceeded, Unsupported, WorkstationUnavailable
from workstation.interface import (
    Change,
    Entry,
    EntryKind,
    FileContent,
    FileSystemCapabilities,
    FileSystemLimits,
    ImportedArchive,
    Listing,
    QuotaKind,
    SearchEnd,
    SearchHit,
    SearchQuery,
    Usage,
)
from workstation.local import changing, copying, reading
from workstation.local.archives.members import require_archive_size
from workstation.local.archives.packing import Packing
from workstation.local.archives.spool import Spool
from workstation.local.archives.unpacking import unpack
from workstation.local.failures import failures
from workstation.local.openat2 import check_openat2
from workstation.local.quota import AdvisoryQuota
from workstation.local.searching import Search, check_query
from workstation.local.threads import Stop, Threads, clean_up
from workstation.local.tree import measure
from workstation.local.volume import is_own_volume
from workstation.local.watching import Watches, Watching, inotify_works
from workstation.local.workspace import Workspace, directory_beneath, owner_of

_INLINE = 64 << 10
"""Bytes that are read without a thread: that takes less time than handing the work over."""


class LocalFileSystem:
    """A `FileSystem` over the directory `root`, open as an async context manager.

    The kernel keeps every path beneath `root`. Jailed programs may share the directory and change anything in it at any
    moment; when we are root, what is made here is given to the directory's owner, so that they can.

    `quota_bytes` and `quota_entries` are advisory: they hold for what goes through here, and notice the rest when
    measuring. Where the directory is a volume of its own, that volume's size is the quota instead.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        limits: FileSystemLimits | None = None,
        quota_bytes: int | None = None,
        quota_entries: int | None = None,
    ) -> None:
        self._root = Path(root)
        self._limits = limits or FileSystemLimits()
        self._quota_bytes = quota_bytes
        self._quota_entries = quota_entries
        self._own_volume = False
        self._watchable = False
        self._threads = Threads()
        self._watches = Watches(self._threads)
        self._opened: Workspace | None = None

    async def __aenter__(self) -> Self:
        """Open the root; raises `WorkstationUnavailable`, or `Unsupported` on a kernel without openat2 or /proc."""
        root = _open_root(self._root)
        try:
            with failures(b"."):
                self._own_volume = await asyncio.to_thread(is_own_volume, root)
                self._watchable = await asyncio.to_thread(inotify_works)
        except BaseException:
            os.close(root)
            raise
        self._threads = Threads()
        self._watches = Watches(self._threads)
        self._opened = Workspace(root, self._limits, self._advisory_quota(root), owner_of(root))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what runs, wait for it, close."""
        workspace = self._workspace
        self._opened = None
        self._watches.close()
        await self._threads.aclose()
        os.close(workspace.root)

    async def capabilities(self) -> FileSystemCapabilities:
        """Say what works here and within which limits."""
        return FileSystemCapabilities(watch=self._watchable, quota=self._quota_kind, limits=self._limits)

    async def stat(self, path: str) -> Entry:
        """Describe what has that name; see `FileSystem.stat`."""
        raw = self._resolve(path)
        workspace = self._workspace
        entry = reading.stat_entry(workspace, raw)
        if entry.kind is not EntryKind.SYMLINK:
            return entry
        return await self._threads.run(lambda _: reading.stat_link(workspace, raw))

    async def list(self, path: str = ".", *, after: str = "", limit: int | None = None) -> Listing:
        """List a directory, a page at a time; see `FileSystem.list`."""
        raw = self._resolve(path)
        most = self._limits.list_entries
        if limit is not None and not 1 <= limit <= most:
            raise InvalidArgument(f"limit is {limit}, not within 1 and {most}")
        workspace, start = self._workspace, paths.decode(after)
        return await self._threads.run(lambda stop: reading.list_directory(workspace, raw, start, limit or most, stop))

    async def read_file(
        self, path: str, *, offset: int = 0, length: int | None = None, expected_version: str | None = None
    ) -> FileContent:
        """Read a file or a range of it into memory; see `FileSystem.read_file`."""
        raw = self._resolve(path)
        _require_range(offset, length)
        most = self._limits.read_bytes
        with reading.reader(self._workspace, raw, offset, length, expected_version, most=most) as file:
            small = file.end - file.start <= _INLINE
            data = file.read_all() if small else await self._threads.run(file.read_all)
            file.finish()
            return FileContent(entry=file.entry, data=data, offset=offset)

    async def read(
        self, path: str, *, offset: int = 0, length: int | None = None, expected_version: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Stream a file or a range of it; see `FileSystem.read`."""
        parts = self.read_with_entry(path, offset=offset, length=length, expected_version=expected_version)
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, bytes):
                    yield part

    async def read_with_entry(
        self, path: str, *, offset: int = 0, length: int | None = None, expected_version: str | None = None
    ) -> AsyncGenerator[Entry | bytes]:
        """Stream a file's entry and then it, or a range of it; see `FileSystem.read_with_entry`."""
        raw = self._resolve(path)
        _require_range(offset, length)
        most, chunk = self._limits.file_bytes, self._limits.chunk_bytes
        with reading.reader(self._workspace, raw, offset, length, expected_version, most=most) as file:
            yield file.entry
            position = file.start
            while position < file.end:
                take = partial(file.read, position, chunk)
                piece = take() if file.end - position <= _INLINE else await self._threads.run(take)
                position += len(piece)
                yield piece
            file.finish()

    async def write(
        self,
        path: str,
        content: bytes | AsyncIterable[bytes],
        *,
        expected_version: str | None = None,
        parents: bool = False,
        durable: bool = True,
    ) -> Entry:
        """Replace a file's content at once; see `FileSystem.write`."""
        writing = changing.Writing(
            self._workspace, self._resolve(path), expected_version, parents=parents, durable=durable
        )
        if isinstance(content, bytes):
            return await self._threads.run(partial(writing.at_once, content))
        try:
            await self._threads.run(writing.start)
            await self._add_all(writing.add, content)
            return await self._threads.run(writing.finish)
        finally:
            await clean_up(writing.discard)

    async def append(self, path: str, data: bytes, *, parents: bool = False, durable: bool = True) -> Entry:
        """Add to the end of a file; see `FileSystem.append`."""
        raw, workspace = self._resolve(path), self._workspace
        most = self._limits.chunk_bytes
        if len(data) > most:
            raise LimitExceeded(f"append takes at most {most} bytes", limit="chunk_bytes", allowed=most)

        def work(stop: Stop) -> Entry:
            if parents:
                changing.make_directories(workspace, paths.split(raw)[0], stop)
            return changing.append(workspace, raw, data, durable=durable, stop=stop)

        return await self._threads.run(work)

    async def make_directory(self, path: str, *, parents: bool = False) -> Entry:
        """Make a directory; see `FileSystem.make_directory`."""
        raw, workspace = self._resolve(path), self._workspace
        if parents:
            return await self._threads.run(lambda stop: changing.make_directories(workspace, raw, stop))
        return await self._threads.run(lambda stop: changing.make_directory(workspace, raw, stop))

    async def move(self, source: str, target: str, *, replace: bool = False) -> Entry:
        """Give an entry another path; see `FileSystem.move`."""
        old, new, workspace = self._resolve(source), self._resolve(target), self._workspace
        return await self._threads.run(lambda _: changing.move(workspace, old, new, replace=replace))

    async def copy(self, source: str, target: str, *, replace: bool = False) -> Entry:
        """Copy an entry; see `FileSystem.copy`."""
        old, new, workspace = self._resolve(source), self._resolve(target), self._workspace
        return await self._threads.run(
            lambda stop: copying.copy(workspace, old, new, replace=replace, stop=stop), stop=self._tree_stop()
        )

    async def remove(self, path: str, *, recursive: bool = False, expected_version: str | None = None) -> int:
        """Remove an entry; see `FileSystem.remove`."""
        raw, workspace = self._resolve(path), self._workspace
        return await self._threads.run(
            lambda stop: changing.remove(workspace, raw, expected_version, recursive=recursive, stop=stop),
            stop=self._tree_stop(),
        )

    async def search(self, query: SearchQuery) -> AsyncGenerator[SearchHit | SearchEnd]:
        """Look for names and contents; see `FileSystem.search`."""
        check_query(query)
        base = self._resolve(query.path)
        with failures(base), directory_beneath(self._workspace.root, base) as top:
            search = Search(top, base, query, self._limits)
            while search.end is None:
                for hit in await self._threads.run(search.next_slice):
                    yield hit
            yield search.end

    async def watch(self, path: str = ".", *, recursive: bool = True) -> AsyncGenerator[Change]:
        """Stream changes in a directory; see `FileSystem.watch`."""
        watching = Watching(self._workspace, self._resolve(path), recursive=recursive)
        async with aclosing(self._watches.changes(watching)) as changes:
            async for change in changes:
                yield change

    async def export_archive(self, path: str = ".") -> AsyncGenerator[bytes]:
        """Stream files as a tar archive; see `FileSystem.export_archive`."""
        with closing(Packing(self._workspace, self._resolve(path))) as packing:
            while piece := await self._threads.run(packing.next_piece):
                yield piece

    async def import_archive(self, path: str, content: bytes | AsyncIterable[bytes]) -> ImportedArchive:
        """Unpack an archive into a directory; see `FileSystem.import_archive`."""
        raw, workspace = self._resolve(path), self._workspace
        if isinstance(content, bytes):
            require_archive_size(self._limits, raw, len(content))
            return await self._unpack(raw, io.BytesIO(content))
        spool = Spool(workspace, raw)
        try:
            await self._threads.run(spool.start)
            await self._add_all(spool.add, content)
            return await self._unpack(raw, spool.archive())
        finally:
            await clean_up(spool.close)

    async def usage(self) -> Usage:
        """Count what the workspace takes; see `FileSystem.usage`."""
        root = self._workspace.root
        quota_bytes, quota_entries = self._quota_bytes, self._quota_entries
        allocated, entries, truncated = await self._threads.run(lambda stop: measure(root, self._limits, stop))
        volume = os.fstatvfs(root)
        if self._own_volume:
            quota_bytes, quota_entries = volume.f_blocks * volume.f_frsize, volume.f_files or None
        return Usage(
            bytes=allocated,
            entries=entries,
            quota=self._quota_kind,
            quota_bytes=quota_bytes,
            quota_entries=quota_entries,
            available_bytes=volume.f_bavail * volume.f_frsize,
            truncated=truncated,
        )

    @property
    def _workspace(self) -> Workspace:
        if self._opened is None:
            raise WorkstationUnavailable("the workspace is not open")
        return self._opened

    @property
    def _quota_kind(self) -> QuotaKind:
        if self._own_volume:
            return QuotaKind.ENFORCED
        limited = self._quota_bytes is not None or self._quota_entries is not None
        return QuotaKind.ADVISORY if limited else QuotaKind.NONE

    def _advisory_quota(self, root: int) -> AdvisoryQuota:
        most = max(self._limits.tree_entries, self._quota_entries or 0)
        limits = replace(self._limits, tree_entries=most)  # else a larger quota of entries would never be used up

        def measured(stop: Stop) -> tuple[int, int]:
            allocated, entries, _ = measure(root, limits, stop)
            return allocated, entries

        if self._own_volume:
            return AdvisoryQuota(None, measured)
        return AdvisoryQuota(self._quota_bytes, measured, entries=self._quota_entries)

    def _resolve(self, path: str) -> bytes:
        return paths.resolve(path, limit=self._limits.path_bytes)

    def _tree_stop(self) -> Stop:
        return Stop(self._limits.tree_seconds, "tree_seconds")

    async def _unpack(self, path: bytes, archive: BinaryIO) -> ImportedArchive:
        workspace = self._workspace
        return await self._threads.run(lambda stop: unpack(workspace, path, archive, stop), stop=self._tree_stop())

    async def _add_all(self, add: Callable[[bytes, Stop], None], content: AsyncIterable[bytes]) -> None:
        """Write the pieces of a stream, small ones together: each write hands over to a thread."""
        most = self._limits.chunk_bytes
        buffer = bytearray()
        async for piece in content:
            if len(buffer) + len(piece) < most:
                buffer += piece
                continue
            if buffer:
                await self._threads.run(partial(add, bytes(buffer)))
                buffer.clear()
            await self._threads.run(partial(add, piece))
        await self._threads.run(partial(add, bytes(buffer)))


def _require_range(offset: int, length: int | None) -> None:
    if offset < 0 or (length is not None and length < 0):
        raise InvalidArgument(f"no range of a file: offset {offset}, length {length}")


def _open_root(path: Path) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        os.close(os.open("/proc/self/fd", flags))
    except OSError as error:
        raise Unsupported("/proc is not mounted, and files cannot be opened safely without it") from error
    try:
        root = os.open(path, flags)
    except OSError as error:
        raise WorkstationUnavailable(f"the workspace cannot be opened: {error}") from error
    try:
        check_openat2(root)
    except BaseException:
        os.close(root)
        raise
    return root
