"""RemoteFileSystem: the files of a workstation in another process."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing

from empla.v1 import workstation_pb2 as pb
from workstation.errors import FileBusy, FileTooLarge, LimitExceeded, NotFound, VersionConflict, WrongKind
from workstation.interface import (
    Change,
    ChangeKind,
    Entry,
    FileContent,
    FileSystemCapabilities,
    ImportedArchive,
    Listing,
    SearchEnd,
    SearchHit,
    SearchQuery,
    Usage,
)
from workstation.remote.connection import ANSWER_SECONDS, Connection
from workstation.remote.files.messages import (
    PIECE_BYTES,
    capabilities_of,
    change_of,
    entry_of,
    find_of,
    imported_of,
    listing_of,
    name_text,
    number,
    path_text,
    range_of,
    read_message,
    search_message,
    text,
    unknown,
    usage_of,
)
from workstation.remote.files.pieces import stub
from workstation.remote.files.uploads import upload

FLUSH_SECONDS = 600.0
"""How long a workstation may take to get what it has received to its disk."""


class RemoteFileSystem:
    """A `FileSystem` at the other end of a connection.

    When the connection breaks, reading goes on where it was, watching begins anew with `overflow`, and what changes
    nothing is asked for again. Changes are not: `WorkstationUnavailable` says that one may have been made.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = stub(connection.channel)
        self._known: FileSystemCapabilities | None = None

    async def capabilities(self) -> FileSystemCapabilities:
        """Say what works there and within which limits."""
        request = pb.FileCapabilitiesRequest()
        answer: pb.FileCapabilities = await self._connection.ask(self._stub.Capabilities, request, again=True)
        self._known = capabilities_of(answer)
        return self._known

    async def stat(self, path: str) -> Entry:
        """Describe what has that name; see `FileSystem.stat`."""
        request = pb.FileStatRequest(path=path_text(path))
        return entry_of(await self._connection.ask(self._stub.Stat, request, again=True))

    async def list(self, path: str = ".", *, after: str = "", limit: int | None = None) -> Listing:
        """List a directory, a page at a time; see `FileSystem.list`."""
        most = None if limit is None else number(limit)
        request = pb.FileListRequest(path=path_text(path), after=name_text(after), limit=most)
        return listing_of(await self._connection.ask(self._stub.List, request, again=True))

    async def read_file(
        self, path: str, *, offset: int = 0, length: int | None = None, expected_version: str | None = None
    ) -> FileContent:
        """Read a file or a range of it into memory; see `FileSystem.read_file`."""
        request = read_message(path, offset, length, expected_version)
        most = (await self._capabilities()).limits.read_bytes
        answer: pb.FileContent = await self._connection.ask(self._stub.ReadFile, request, again=True)
        entry, data = entry_of(answer.entry), answer.data
        _require_readable(request, entry, most)
        if not answer.HasField("data"):
            entry, data = await self._collected(request, most)
        return FileContent(entry=entry, data=data, offset=offset)

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
        request = read_message(path, offset, length, expected_version)
        async with aclosing(self._parts(request)) as parts:
            async for part in parts:
                yield part
        if expected_version is not None:
            await self._require_version(path, expected_version)

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
        expected = None if expected_version is None else text(expected_version)
        start = pb.FileWriteStart(path=path_text(path), expected_version=expected, parents=parents, durable=durable)
        method = self._stub.Write
        return entry_of(
            await upload(self._connection, method, pb.FileWriteRequest, start, content, seconds=FLUSH_SECONDS)
        )

    async def append(self, path: str, data: bytes, *, parents: bool = False, durable: bool = True) -> Entry:
        """Add to the end of a file; see `FileSystem.append`."""
        path = path_text(path)
        if len(data) > PIECE_BYTES:
            most = (await self._capabilities()).limits.chunk_bytes
            raise LimitExceeded(f"append takes at most {most} bytes", limit="chunk_bytes", allowed=most)
        request = pb.FileAppendRequest(path=path, data=data, parents=parents, durable=durable)
        return entry_of(await self._connection.ask(self._stub.Append, request, seconds=FLUSH_SECONDS))

    async def make_directory(self, path: str, *, parents: bool = False) -> Entry:
        """Make a directory; see `FileSystem.make_directory`."""
        request = pb.FileMakeDirectoryRequest(path=path_text(path), parents=parents)
        return entry_of(await self._connection.ask(self._stub.MakeDirectory, request))

    async def move(self, source: str, target: str, *, replace: bool = False) -> Entry:
        """Give an entry another path; see `FileSystem.move`."""
        request = pb.FileMoveRequest(source=path_text(source), target=path_text(target), replace=replace)
        return entry_of(await self._connection.ask(self._stub.Move, request))

    async def copy(self, source: str, target: str, *, replace: bool = False) -> Entry:
        """Copy an entry; see `FileSystem.copy`."""
        request = pb.FileCopyRequest(source=path_text(source), target=path_text(target), replace=replace)
        return entry_of(await self._connection.ask(self._stub.Copy, request, seconds=await self._tree_seconds()))

    async def remove(self, path: str, *, recursive: bool = False, expected_version: str | None = None) -> int:
        """Remove an entry; see `FileSystem.remove`."""
        expected = None if expected_version is None else text(expected_version)
        request = pb.FileRemoveRequest(path=path_text(path), recursive=recursive, expected_version=expected)
        answer: pb.FileRemoveResponse = await self._connection.ask(
            self._stub.Remove, request, seconds=await self._tree_seconds()
        )
        return answer.entries

    async def search(self, query: SearchQuery) -> AsyncGenerator[SearchHit | SearchEnd]:
        """Look for names and contents; see `FileSystem.search`."""
        message = search_message(query)
        given: set[tuple[str, int | None]] = set()
        before: frozenset[tuple[str, int | None]] = frozenset()

        def request() -> pb.FileSearchRequest:
            nonlocal before
            before = frozenset(given)  # what is found again after a broken connection is not given again
            return message

        answers: AsyncGenerator[pb.FileSearchResponse] = self._connection.stream(self._stub.Search, request)
        async with aclosing(answers):
            async for answer in answers:
                find = find_of(answer)
                if isinstance(find, SearchHit):
                    place = find.entry.path, find.line
                    if place in before:
                        continue
                    given.add(place)
                yield find

    async def watch(self, path: str = ".", *, recursive: bool = True) -> AsyncGenerator[Change]:
        """Stream changes in a directory; see `FileSystem.watch`."""
        request = pb.FileWatchRequest(path=path_text(path), recursive=recursive)
        answers: AsyncGenerator[pb.FileChange] = self._connection.stream(self._stub.Watch, lambda: request)
        top = ""
        try:
            async with aclosing(answers):
                async for answer in answers:
                    change = change_of(answer)
                    if change.kind is ChangeKind.BEGUN:
                        if top:
                            change = Change(kind=ChangeKind.OVERFLOW, path=top)
                        top = change.path
                    yield change
        except (NotFound, WrongKind):
            if not top:
                raise
            yield Change(kind=ChangeKind.REMOVED, path=top)  # while the connection was broken

    async def export_archive(self, path: str = ".") -> AsyncGenerator[bytes]:
        """Stream files as a tar archive; see `FileSystem.export_archive`."""
        request = pb.FileExportArchiveRequest(path=path_text(path))
        answers: AsyncGenerator[bytes] = self._connection.stream(self._stub.ExportArchive, lambda: request, again=False)
        async with aclosing(answers):
            async for answer in answers:
                yield answer

    async def import_archive(self, path: str, content: bytes | AsyncIterable[bytes]) -> ImportedArchive:
        """Unpack an archive into a directory; see `FileSystem.import_archive`."""
        start = pb.FileImportArchiveStart(path=path_text(path))
        seconds = await self._tree_seconds()
        method = self._stub.ImportArchive
        return imported_of(
            await upload(self._connection, method, pb.FileImportArchiveRequest, start, content, seconds=seconds)
        )

    async def usage(self) -> Usage:
        """Count what the workspace takes; see `FileSystem.usage`."""
        seconds = await self._tree_seconds()
        return usage_of(
            await self._connection.ask(self._stub.Usage, pb.FileUsageRequest(), seconds=seconds, again=True)
        )

    async def _capabilities(self) -> FileSystemCapabilities:
        return self._known or await self.capabilities()

    async def _tree_seconds(self) -> float:
        """How long an answer may take that goes through a tree."""
        return (await self._capabilities()).limits.tree_seconds + ANSWER_SECONDS

    async def _collected(self, request: pb.FileReadRequest, most: int) -> tuple[Entry, bytes]:
        async with aclosing(self._parts(request)) as parts:
            entry = await anext(parts)
            assert isinstance(entry, Entry)
            _require_readable(request, entry, most)
            return entry, b"".join([part async for part in parts if isinstance(part, bytes)])

    async def _parts(self, asked: pb.FileReadRequest) -> AsyncGenerator[Entry | bytes]:
        """Entry and bytes, over as many connections as it takes; all of one version if it takes several."""
        request = pb.FileReadRequest()
        request.CopyFrom(asked)
        answers: AsyncGenerator[pb.FileReadResponse | bytes] = self._connection.stream(self._stub.Read, lambda: request)
        begun = False
        try:
            async with aclosing(answers):
                async for answer in answers:
                    if not isinstance(answer, bytes):
                        entry = entry_of(answer.entry)
                        _require_the_same(request, entry)
                        if not begun:
                            yield entry
                        begun = True
                    elif begun:
                        request.offset += len(answer)
                        request.length -= len(answer)
                        yield answer
                if not begun:
                    raise unknown("way to send a file")
        except VersionConflict as error:
            if not begun or asked.HasField("expected_version"):
                raise
            message = f"{error.path} changed while the connection to the workstation was broken"
            raise FileBusy(message, path=error.path) from error

    async def _require_version(self, path: str, version: str) -> None:
        """Look once more: the last bytes may have been on their way for long."""
        try:
            await self.read_file(path, length=0, expected_version=version)
        except NotFound as error:
            raise VersionConflict(str(error), path=error.path, expected=version, actual=None) from error


def _require_the_same(request: pb.FileReadRequest, entry: Entry) -> None:
    """Make the request one for the file as it is."""
    request.offset, request.length = range_of(request, entry)
    request.expected_version = entry.version


def _require_readable(request: pb.FileReadRequest, entry: Entry, most: int) -> None:
    size = range_of(request, entry)[1]
    if size > most:
        raise FileTooLarge(f"{entry.path}: {size} bytes at once, at most {most}", path=entry.path, allowed=most)
