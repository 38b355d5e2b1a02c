"""A Compute for those who call it over gRPC."""

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc
from workstation.errors import ExecNotFound, InvalidArgument, SessionLost
from workstation.interface import Compute, ExecStatus
from workstation.remote.compute import messages
from workstation.remote.compute.readers import ReaderKey, Readers

_READER = re.compile(r"[A-Za-z0-9_-]{0,64}")


class ComputeServicer(workstation_pb2_grpc.ComputeServicer):
    """Serves `compute`; an async context manager, to be open as long as calls come.

    `instance` names this process, and never another one; without it there is a name that nobody can know beforehand.
    """

    def __init__(self, compute: Compute, instance: str = "") -> None:
        self._compute, self._readers = compute, Readers()
        self._instance = instance or uuid4().hex

    async def __aenter__(self) -> Self:
        await self._readers.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the runs that somebody may have come back to."""
        await self._readers.__aexit__(kind, error, trace)

    async def Capabilities(self, request: pb.ComputeCapabilitiesRequest, context: Any) -> pb.ComputeCapabilities:
        return messages.capabilities_message(await self._compute.capabilities(), self._instance)

    async def Start(self, request: pb.ExecStartRequest, context: Any) -> pb.ExecStatus:
        if request.instance not in ("", self._instance):
            raise ExecNotFound("the process that was to start it is gone", target=request.exec_id[:64])
        status = await self._compute.start(request.exec_id, messages.exec_spec_of(request.spec))
        return messages.exec_status_message(status)

    async def Follow(self, request: pb.ExecFollowRequest, context: Any) -> AsyncGenerator[pb.ExecFollowResponse]:
        stream = self._compute.follow(
            request.exec_id, stdout_offset=request.stdout_offset, stderr_offset=request.stderr_offset
        )
        sent = 0
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, ExecStatus):
                    yield pb.ExecFollowResponse(status=messages.exec_status_message(event))
                    return
                yield pb.ExecFollowResponse(output=messages.output_message(event))
                sent += len(event.data)
                if 0 < request.most_bytes <= sent:
                    return

    async def WriteStdin(self, request: pb.ExecWriteStdinRequest, context: Any) -> pb.ExecWriteStdinResponse:
        offset = await self._compute.write_stdin(request.exec_id, request.data, offset=request.offset, eof=request.eof)
        return pb.ExecWriteStdinResponse(offset=offset)

    async def Signal(self, request: pb.ExecSignalRequest, context: Any) -> pb.ExecSignalResponse:
        await self._compute.signal(request.exec_id, messages.signal_of(request.signal))
        return pb.ExecSignalResponse()

    async def Wait(self, request: pb.ExecWaitRequest, context: Any) -> pb.ExecStatus:
        timeout = request.timeout if request.HasField("timeout") else None
        return messages.exec_status_message(await self._compute.wait(request.exec_id, timeout=timeout))

    async def List(self, request: pb.ExecListRequest, context: Any) -> pb.ExecListResponse:
        known = await self._compute.list()
        rest = _after(known, request.after) if request.after else known
        part = list(_part(rest))
        return pb.ExecListResponse(executions=part, more=len(part) < len(rest))

    async def Cancel(self, request: pb.ExecCancelRequest, context: Any) -> pb.ExecStatus:
        return messages.exec_status_message(await self._compute.cancel(request.exec_id))

    async def OpenSession(self, request: pb.SessionOpenRequest, context: Any) -> pb.Session:
        session = await self._compute.open_session(request.session_id, messages.session_spec_of(request.spec))
        return messages.session_message(session, self._instance)

    async def RunInSession(self, request: pb.SessionRunRequest, context: Any) -> AsyncGenerator[pb.SessionEvent]:
        session_id, run_id, code = request.session_id, request.run_id, request.code
        if request.instance not in ("", self._instance):
            raise SessionLost("the process that the session lived with is gone", target=session_id[:64])
        if not _READER.fullmatch(request.reader):
            raise InvalidArgument("reader is no id")
        hold = request.hold_seconds if request.reader else 0.0
        timeout = request.timeout if request.HasField("timeout") else None
        begin = partial(self._compute.run_in_session, session_id, run_id, code, timeout=timeout)
        key = ReaderKey(session_id, run_id, request.reader or object())
        async with aclosing(self._readers.read(key, code, hold, begin)) as batches:
            async for batch in batches:
                for message in messages.session_event_messages(batch):
                    yield message

    async def LeaveRun(self, request: pb.SessionLeaveRunRequest, context: Any) -> pb.SessionLeaveRunResponse:
        self._readers.leave(ReaderKey(request.session_id, request.run_id, request.reader))
        return pb.SessionLeaveRunResponse()

    async def CloseSession(self, request: pb.SessionCloseRequest, context: Any) -> pb.SessionCloseResponse:
        await self._compute.close_session(request.session_id)
        return pb.SessionCloseResponse()


def _after(known: Sequence[ExecStatus], exec_id: str) -> Sequence[ExecStatus]:
    for index, status in enumerate(known):
        if status.exec_id == exec_id:
            return known[index + 1 :]
    raise ExecNotFound("the list no longer has the one to go on after", target=exec_id[:64])


def _part(statuses: Sequence[ExecStatus]) -> Iterator[pb.ExecStatus]:
    """As many as one message should have, and at least one."""
    size = 0
    for status in statuses:
        message = messages.exec_status_message(status)
        size += message.ByteSize()
        if size > messages.LISTED_BYTES and size > message.ByteSize():
            return
        yield message
