"""Calls about files: the control plane that leads answers them, for it has the workspaces."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from controlplane.calls.calls import Calls
from controlplane.errors import Conflict
from controlplane.files import CALL_SECONDS
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc

FIRST_SECONDS = 60.0
"""For what comes before its time begins: a leader is known, the workspace is ready."""
LONGEST_SECONDS = CALL_SECONDS + FIRST_SECONDS
_STUB = control_pb2_grpc.ControlPlaneStub


class FileCalls(Calls):
    """List, read, write and remove what is in a workspace."""

    async def ListFiles(self, request: pb.ListFilesRequest, context: Any) -> pb.ListFilesResponse:
        there: pb.ListFilesResponse | None = await self._parts.forwarding.by_leader(
            _STUB, "ListFiles", request, context, longest=LONGEST_SECONDS
        )
        if there is not None:
            return there
        record = await self._find(request.employee)
        return await self._parts.files.list(record, request.path, request.after)

    async def ReadFile(self, request: pb.ReadFileRequest, context: Any) -> AsyncIterator[pb.FileChunk]:
        forwarding = self._parts.forwarding
        if leader := await forwarding.leader(context):
            chunks = forwarding.streamed(leader, _STUB, "ReadFile", request, context)
        else:
            chunks = self._parts.files.read(await self._find(request.employee), request)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def WriteFile(self, request_iterator: AsyncIterator[pb.WriteFileRequest], context: Any) -> pb.File:
        if leader := await self._parts.forwarding.leader(context):
            there: pb.File = await self._there(leader, "WriteFile", request_iterator, context)
            return there
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                first = await anext(aiter(request_iterator), None)
        except TimeoutError:
            first = None
        if first is None:
            raise Conflict("the upload broke off before it began", reason="UPLOAD_BROKEN_OFF")
        return await self._parts.files.write(await self._find(first.employee), first, request_iterator)

    async def RemoveFile(self, request: pb.RemoveFileRequest, context: Any) -> pb.RemoveFileResponse:
        if leader := await self._parts.forwarding.leader(context):
            there: pb.RemoveFileResponse = await self._there(leader, "RemoveFile", request, context)
            return there
        record = await self._find(request.employee)
        await self._parts.files.remove(record, request.path, recursive=request.recursive)
        return pb.RemoveFileResponse()

    async def _there(self, leader: str, method: str, request: Any, context: Any) -> Any:
        """What the control plane that leads answers, which gives up by itself what takes too long."""
        forwarding = self._parts.forwarding
        return await forwarding.forwarded(leader, _STUB, method, request, context, longest=LONGEST_SECONDS)
