"""FileSystemServicer: any FileSystem, served over gRPC."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc
from workstation.errors import InvalidArgument, WorkstationError
from workstation.interface import Entry, FileSystem
from workstation.remote.files.messages import (
    PIECE_BYTES,
    capabilities_message,
    change_message,
    entry_message,
    find_message,
    imported_message,
    listing_message,
    range_of,
    search_of,
    usage_message,
)

HEAR_OUT_SECONDS = 5.0
"""How long a client may take to stop an upload that is refused."""


class FileSystemServicer(workstation_pb2_grpc.FileSystemServicer):
    """Serves `files`, registered by `pieces.add_to_server`; its errors are left to who stands before it."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    async def Capabilities(self, request: pb.FileCapabilitiesRequest, context: Any) -> pb.FileCapabilities:
        return capabilities_message(await self._files.capabilities())

    async def Stat(self, request: pb.FileStatRequest, context: Any) -> pb.FileEntry:
        return entry_message(await self._files.stat(request.path))

    async def List(self, request: pb.FileListRequest, context: Any) -> pb.FileListing:
        limit = request.limit if request.HasField("limit") else None
        return listing_message(await self._files.list(request.path, after=request.after, limit=limit))

    async def Read(  # type: ignore[override]  # with bytes in place of some messages
        self, request: pb.FileReadRequest, context: Any
    ) -> AsyncGenerator[pb.FileReadResponse | bytes]:
        parts = self._parts(request)
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, Entry):
                    yield pb.FileReadResponse(entry=entry_message(part))
                    continue
                for piece in _short(part):
                    yield piece

    async def ReadFile(self, request: pb.FileReadRequest, context: Any) -> pb.FileContent:
        async with aclosing(self._parts(request)) as parts:
            entry = await anext(parts)
            assert isinstance(entry, Entry)
            if range_of(request, entry)[1] > PIECE_BYTES:
                return pb.FileContent(entry=entry_message(entry))
            pieces = [part async for part in parts if isinstance(part, bytes)]
        return pb.FileContent(entry=entry_message(entry), data=b"".join(pieces))

    async def Write(self, request_iterator: AsyncIterator[pb.FileWriteRequest | bytes], context: Any) -> pb.FileEntry:
        async with _heard_out(request_iterator, context):
            start = _start_of(await anext(request_iterator, None))
            entry = await self._files.write(
                start.path,
                _content(request_iterator),
                expected_version=start.expected_version if start.HasField("expected_version") else None,
                parents=start.parents,
                durable=start.durable if start.HasField("durable") else True,
            )
        return entry_message(entry)

    async def Append(self, request: pb.FileAppendRequest, context: Any) -> pb.FileEntry:
        entry = await self._files.append(request.path, request.data, parents=request.parents, durable=request.durable)
        return entry_message(entry)

    async def MakeDirectory(self, request: pb.FileMakeDirectoryRequest, context: Any) -> pb.FileEntry:
        return entry_message(await self._files.make_directory(request.path, parents=request.parents))

    async def Move(self, request: pb.FileMoveRequest, context: Any) -> pb.FileEntry:
        return entry_message(await self._files.move(request.source, request.target, replace=request.replace))

    async def Copy(self, request: pb.FileCopyRequest, context: Any) -> pb.FileEntry:
        return entry_message(await self._files.copy(request.source, request.target, replace=request.replace))

    async def Remove(self, request: pb.FileRemoveRequest, context: Any) -> pb.FileRemoveResponse:
        expected = request.expected_version if request.HasField("expected_version") else None
        count = await self._files.remove(request.path, recursive=request.recursive, expected_version=expected)
        return pb.FileRemoveResponse(entries=count)

    async def Search(self, request: pb.FileSearchRequest, context: Any) -> AsyncGenerator[pb.FileSearchResponse]:
        async with aclosing(self._files.search(search_of(request))) as finds:
            async for find in finds:
                yield find_message(find)

    async def Watch(self, request: pb.FileWatchRequest, context: Any) -> AsyncGenerator[pb.FileChange]:
        async with aclosing(self._files.watch(request.path, recursive=request.recursive)) as changes:
            async for change in changes:
                yield change_message(change)

    async def ExportArchive(  # type: ignore[override]  # likewise
        self, request: pb.FileExportArchiveRequest, context: Any
    ) -> AsyncGenerator[bytes]:
        async with aclosing(self._files.export_archive(request.path)) as pieces:
            async for piece in pieces:
                for short in _short(piece):
                    yield short

    async def ImportArchive(
        self, request_iterator: AsyncIterator[pb.FileImportArchiveRequest | bytes], context: Any
    ) -> pb.FileImportedArchive:
        async with _heard_out(request_iterator, context):
            start = _start_of(await anext(request_iterator, None))
            imported = await self._files.import_archive(start.path, _content(request_iterator))
        return imported_message(imported)

    async def Usage(self, request: pb.FileUsageRequest, context: Any) -> pb.FileUsage:
        return usage_message(await self._files.usage())

    def _parts(self, request: pb.FileReadRequest) -> AsyncGenerator[Entry | bytes]:
        return self._files.read_with_entry(
            request.path,
            offset=request.offset,
            length=request.length if request.HasField("length") else None,
            expected_version=request.expected_version if request.HasField("expected_version") else None,
        )


def _short(data: bytes) -> list[bytes]:
    """The data in pieces that the wire takes."""
    if len(data) <= PIECE_BYTES:
        return [data]
    return [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]


@asynccontextmanager
async def _heard_out(parts: AsyncIterator[Any], context: Any) -> AsyncGenerator[None]:
    """Let the refusal of an upload arrive: have the client stop before the call ends, and drop what it still sends.

    A client of grpc.aio whose message meets the end of its call is told of an internal error, and never of the status.
    """
    try:
        yield
    except WorkstationError:
        await context.send_initial_metadata(())
        with suppress(TimeoutError):
            async with asyncio.timeout(HEAR_OUT_SECONDS):
                async for _ in parts:
                    pass
        raise


def _start_of(part: Any) -> Any:
    if part is None or isinstance(part, bytes) or part.WhichOneof("part") != "start":
        raise InvalidArgument("the first part of an upload is its `start`")
    return part.start


async def _content(parts: AsyncIterator[Any]) -> AsyncGenerator[bytes]:
    """The content of an upload; raises `InvalidArgument` where it breaks off, so that nothing comes of it."""
    async for part in parts:
        if isinstance(part, bytes):
            yield part
        elif part.WhichOneof("part") == "end":
            return
        else:
            raise InvalidArgument("after its `start` an upload has `data`, and `end` last")
    raise InvalidArgument("the upload broke off before its `end`")
