"""RemoteCompute: a Compute in another process."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc
from workstation.errors import (
    ExecEnded,
    ExecNotFound,
    LimitExceeded,
    SessionLost,
    SessionNotFound,
    WorkstationFailed,
    WorkstationUnavailable,
)
from workstation.interface import (
    ComputeCapabilities,
    EndReason,
    ExecEnd,
    ExecSignal,
    ExecSpec,
    ExecStatus,
    Output,
    OutputStream,
    RunEnd,
    Session,
    SessionEvent,
    SessionSpec,
)
from workstation.remote.compute import messages
from workstation.remote.compute.messages import being_text, int64
from workstation.remote.compute.readers import HOLD_SECONDS
from workstation.remote.connection import Connection

LEAVE_SECONDS = 2.0
FOLLOWED_BYTES = 1 << 20
"""Output that is on its way to a slow follower, at most; the rest expires where it is kept."""
_REMEMBERED = 1000
_LOST = ExecEnd(reason=EndReason.LOST, message="the workstation that ran it is gone, and with it how it ended")


class RemoteCompute:
    """A `Compute` over a `Connection`; calls go on where they were when that breaks.

    All but `signal` may be made again. What runs in a process is gone with it: when another one answers at the same
    address, executions that this object began end as `lost`, and so do runs. `instance` names the process that is expected
    there; without one it is asked for its name before it first starts something.
    """

    def __init__(self, connection: Connection, instance: str = "") -> None:
        self._connection = connection
        self._stub = workstation_pb2_grpc.ComputeStub(connection.channel)
        self._known_instance = instance
        self._begun: OrderedDict[str, tuple[str, ExecStatus]] = OrderedDict()
        self._sessions: OrderedDict[str, str] = OrderedDict()

    async def capabilities(self) -> ComputeCapabilities:
        """Say what works there; see `Compute.capabilities`."""
        answer = await self._ask(self._stub.Capabilities, pb.ComputeCapabilitiesRequest())
        self._known_instance = answer.instance
        return messages.capabilities_of(answer)

    async def start(self, exec_id: str, spec: ExecSpec) -> ExecStatus:
        """Start a program; see `Compute.start`. Its end is `lost` when its process is gone before it answers."""
        with being_text("the id"):
            request = pb.ExecStartRequest(exec_id=exec_id)
        request.spec.CopyFrom(messages.exec_spec_message(spec))
        await self._require(request.ByteSize(), "argument_bytes")
        status, request.instance = None, await self._instance()
        method = _Counted(self._stub.Start)
        while status is None:
            try:
                status = messages.exec_status_of(await self._ask(method, request))
            except ExecNotFound:
                # Another process answers, and has started nothing. The first one may have, if it was asked.
                if method.count > 1:
                    status = ExecStatus(exec_id=exec_id, argv=spec.argv, started_ns=time.time_ns(), end=_LOST)
                else:
                    request.instance, method = await self._instance(anew=True), _Counted(self._stub.Start)
        _remember(self._begun, exec_id, (request.instance, status))
        return status

    async def follow(
        self, exec_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncGenerator[Output | ExecStatus]:
        """Stream both outputs; see `Compute.follow`."""
        offsets = {OutputStream.STDOUT: int64(stdout_offset), OutputStream.STDERR: int64(stderr_offset)}
        with being_text("the id"):
            request = pb.ExecFollowRequest(exec_id=exec_id, most_bytes=FOLLOWED_BYTES)
        try:
            while True:
                begin = tuple(offsets.values())
                async with aclosing(self._follow(request, offsets)) as events:
                    async for event in events:
                        yield event
                        if isinstance(event, ExecStatus):
                            return
                if tuple(offsets.values()) == begin:
                    raise WorkstationFailed(f"what {exec_id} wrote ended without how it ended")
        except ExecNotFound:
            lost = await self._lost(exec_id)
            if lost is None:
                raise
            yield replace(lost, stdout_bytes=offsets[OutputStream.STDOUT], stderr_bytes=offsets[OutputStream.STDERR])

    async def _follow(
        self, request: pb.ExecFollowRequest, offsets: dict[OutputStream, int]
    ) -> AsyncGenerator[Output | ExecStatus]:
        """A part of what is followed; `offsets` go along."""

        def reached() -> pb.ExecFollowRequest:
            request.stdout_offset, request.stderr_offset = offsets.values()
            return request

        stream: AsyncGenerator[pb.ExecFollowResponse] = self._connection.stream(self._stub.Follow, reached)
        async with aclosing(stream) as answers:
            async for answer in answers:
                if answer.HasField("status"):
                    yield self._seen(messages.exec_status_of(answer.status))
                    return
                output = messages.output_of(answer.output)
                offsets[output.stream] = output.offset + len(output.data)
                yield output

    async def write_stdin(self, exec_id: str, data: bytes, *, offset: int, eof: bool = False) -> int:
        """Give input; see `Compute.write_stdin`."""
        await self._require(len(data), "stdin_bytes")
        with being_text("the id"):
            request = pb.ExecWriteStdinRequest(exec_id=exec_id, offset=int64(offset), data=data, eof=eof)
        method = _Counted(self._stub.WriteStdin)
        try:
            answer = await self._ask(method, request, seconds=None)
        except ExecEnded:
            # It may have been taken, and the program have ended by it, before the answer was lost.
            taken = (await self.wait(exec_id, timeout=0)).stdin_bytes if method.count > 1 else 0
            if taken < offset + len(data) or not taken:
                raise
            return taken
        return int(answer.offset)

    async def signal(self, exec_id: str, signal: ExecSignal) -> None:
        """Signal a whole tree; see `Compute.signal`."""
        with being_text("the id"):
            request = pb.ExecSignalRequest(exec_id=exec_id, signal=messages.signal_number(signal))
        await self._connection.ask(self._stub.Signal, request)

    async def wait(self, exec_id: str, *, timeout: float | None = None) -> ExecStatus:
        """Wait for the end; see `Compute.wait`."""
        with being_text("the id"):
            request = pb.ExecWaitRequest(exec_id=exec_id, timeout=timeout)
        begin, counted = time.monotonic(), _Counted(self._stub.Wait)

        def method(request: pb.ExecWaitRequest, **options: Any) -> Any:
            if timeout is not None and counted.count:  # whoever asks again has waited already
                request.timeout = max(0.0, timeout - (time.monotonic() - begin))
            return counted(request, **options)

        return await self._status(exec_id, method, request)

    async def list(self) -> tuple[ExecStatus, ...]:
        """All that are remembered; see `Compute.list`."""
        listed: list[ExecStatus] = []
        more = True
        while more:
            request = pb.ExecListRequest(after=listed[-1].exec_id if listed else "")
            try:
                answer = await self._ask(self._stub.List, request)
            except ExecNotFound:  # what the list was to go on after is forgotten meanwhile
                listed.clear()
                continue
            listed += map(messages.exec_status_of, answer.executions)
            more = answer.more
        return tuple(listed)

    async def cancel(self, exec_id: str) -> ExecStatus:
        """End a whole tree; see `Compute.cancel`."""
        with being_text("the id"):
            request = pb.ExecCancelRequest(exec_id=exec_id)
        return await self._status(exec_id, self._stub.Cancel, request)

    async def open_session(self, session_id: str, spec: SessionSpec) -> Session:
        """Open a Python session; see `Compute.open_session`."""
        with being_text("the id"):
            request = pb.SessionOpenRequest(session_id=session_id)
        request.spec.CopyFrom(messages.session_spec_message(spec))
        answer = await self._ask(self._stub.OpenSession, request)
        _remember(self._sessions, session_id, answer.instance)
        return messages.session_of(answer)

    async def run_in_session(
        self, session_id: str, run_id: str, code: str, *, timeout: float | None = None
    ) -> AsyncGenerator[SessionEvent]:
        """Run code in a session; see `Compute.run_in_session`."""
        with being_text("an id or the code"):
            request = pb.SessionRunRequest(session_id=session_id, run_id=run_id, code=code, timeout=timeout)
        await self._require(request.ByteSize(), "code_bytes")
        request.reader, request.hold_seconds = uuid4().hex, HOLD_SECONDS
        request.instance = self._sessions.get(session_id, "")
        try:
            async with aclosing(self._events(request)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, RunEnd):
                        return
        except (GeneratorExit, asyncio.CancelledError):
            await self._leave(request)
            raise
        raise WorkstationFailed(f"the run {run_id} ended without saying how")

    async def close_session(self, session_id: str) -> None:
        """End a session; see `Compute.close_session`."""
        with being_text("the id"):
            request = pb.SessionCloseRequest(session_id=session_id)
        await self._ask(self._stub.CloseSession, request)
        self._sessions.pop(session_id, None)

    async def _events(self, request: pb.SessionRunRequest) -> AsyncGenerator[SessionEvent]:
        """A run's events, each once: a stream that is opened again begins with the first."""
        method = _Counted(self._stub.RunInSession)
        given = position = 0

        def again() -> pb.SessionRunRequest:
            nonlocal position
            position = 0
            return request

        stream: AsyncGenerator[pb.SessionEvent] = self._connection.stream(method, again)
        try:
            async with aclosing(stream) as answers:
                async for answer in answers:
                    for event in messages.session_events_of(answer):
                        position += 1
                        if position > given:
                            given = position
                            yield event
        except (SessionNotFound, SessionLost):
            if method.count == 1:
                raise
            yield RunEnd(reason=EndReason.LOST, session_alive=False)

    async def _leave(self, request: pb.SessionRunRequest) -> None:
        """Have the run interrupted now. A workstation that is out of reach does so when `hold_seconds` have passed."""
        leaving = pb.SessionLeaveRunRequest(session_id=request.session_id, run_id=request.run_id, reader=request.reader)
        with suppress(TimeoutError, WorkstationUnavailable):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._ask(self._stub.LeaveRun, leaving)

    async def _ask(self, method: Callable[..., Any], request: Any, **options: Any) -> Any:
        return await self._connection.ask(method, request, again=True, **options)

    async def _status(self, exec_id: str, method: Callable[..., Any], request: Any) -> ExecStatus:
        try:
            return self._seen(messages.exec_status_of(await self._ask(method, request, seconds=None)))
        except ExecNotFound:
            lost = await self._lost(exec_id)
            if lost is None:
                raise
            return lost

    def _seen(self, status: ExecStatus) -> ExecStatus:
        """What is over cannot be lost any more."""
        if status.end is not None:
            self._begun.pop(status.exec_id, None)
        return status

    async def _lost(self, exec_id: str) -> ExecStatus | None:
        """The end of what was begun in a process that is gone; None for what this one should know."""
        instance, status = self._begun.get(exec_id, ("", None))
        if status is None or instance == await self._instance(anew=True):
            return None
        return replace(status, end=_LOST)

    async def _instance(self, *, anew: bool = False) -> str:
        if anew or not self._known_instance:
            await self.capabilities()
        return self._known_instance

    async def _require(self, size: int, limit: str) -> None:
        """Raise `LimitExceeded` for what no message carries; all else is looked at there."""
        if size <= messages.CARRIED_BYTES:
            return
        most = getattr((await self.capabilities()).limits, limit)
        raise LimitExceeded(f"{size} bytes are more than the {most} of {limit}", limit=limit, allowed=most)


class _Counted:
    """An RPC, and how often it was called."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method, self.count = method, 0

    def __call__(self, request: Any, **options: Any) -> Any:
        self.count += 1
        return self._method(request, **options)


def _remember[Value](known: OrderedDict[str, Value], name: str, value: Value) -> None:
    known[name] = value
    known.move_to_end(name)
    if len(known) > _REMEMBERED:
        known.popitem(last=False)
