"""The employee's line to the control plane: frames down, frames up. `agent.local` has the twin without a control plane."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol
from uuid import UUID

import grpc
import grpc.aio

from agent.errors import (
    ActionFailed,
    EmbeddingUnavailable,
    GatewayUnavailable,
    NoEmbeddingModel,
    SidecarEnded,
    SidecarUnavailable,
    Superseded,
)
from agent.identity import Identity
from agent.moments import tell_health
from empla import rpc
from empla.transport import Transport
from empla.v1 import control_pb2, gateway_pb2_grpc
from empla.v1 import gateway_pb2 as pb

log = logging.getLogger(__name__)

MAX_WAITING_FRAMES = 4096
RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
ACQUIRE_SECONDS = 45.0
"""With what the control plane waits for room."""
SIDECAR_SECONDS = 10.0
FORGET_SECONDS = 20.0
_FOR_GOOD = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,  # the employee has been deleted
}


class Gateway(Protocol):
    """What the employee needs from outside its process."""

    def frames(self) -> AsyncIterator[pb.ControlFrame]:
        """Every frame for this employee. The first of each connection is Welcome; reconnecting is done inside.

        Raises `Superseded` or `GatewayUnavailable` when there is no use in going on.
        """
        ...

    def send(self, frame: pb.AgentFrame) -> None:
        """Hand a frame over without waiting. A frame may be lost: the tables are the truth."""
        ...

    async def embed(self, texts: Sequence[str], *, query: bool, deadline: float) -> pb.EmbedResponse:
        """The model and a vector of each text, at most 256 of 8 KiB: questions (`query`), or what is to be found by them.

        Raises `NoEmbeddingModel`, and `EmbeddingUnavailable` when they cannot be had within `deadline` seconds.
        """
        ...

    async def forget(self, subject: str, message_id: UUID) -> pb.ForgetSubjectResponse:
        """Have what is remembered and believed about `subject` go for good, as asked for in a message; how much went.

        Raises `ActionFailed`.
        """
        ...

    async def acquire_sidecar(
        self, kind: control_pb2.SidecarKind.ValueType, *, memory_bytes: int, idle_ttl: int
    ) -> pb.SidecarLease:
        """A sidecar with so much memory for its work, leased for `idle_ttl` seconds; raises `SidecarUnavailable`."""
        ...

    async def renew_sidecar(self, sidecar_id: str) -> pb.SidecarLease:
        """The lease for its time from now on; raises `SidecarEnded`, and `SidecarUnavailable` when nobody can tell now."""
        ...

    async def release_sidecar(self, sidecar_id: str) -> None:
        """End a sidecar; one that has ended is fine. Raises `SidecarUnavailable` when it is left to its lease."""
        ...


class GrpcGateway:
    """The gateway over `EmployeeGateway.Attach`, for one launch of one employee.

    `target` names one control plane or several, comma separated: any will do, and where one is lost the next one is tried.
    """

    def __init__(
        self,
        target: str,
        credential: str,
        identity: Identity,
        *,
        build: str,
        pid: int,
        transport: Transport | None = None,
    ) -> None:
        self._targets, self._credential, self._transport = target.split(","), credential, transport
        self._tried = identity.employee_id.int  # each employee begins elsewhere, so that they spread
        self._hello = pb.Hello(employee_id=str(identity.employee_id), epoch=identity.epoch, build=build, pid=pid)
        self._outgoing: deque[pb.AgentFrame] = deque(maxlen=MAX_WAITING_FRAMES)
        self._news = asyncio.Event()
        self._stub: Any = None  # while `frames` is read

    def send(self, frame: pb.AgentFrame) -> None:
        """Queue a frame; when the queue is full the oldest is dropped, for the newest says more."""
        self._outgoing.append(frame)
        self._news.set()

    async def frames(self) -> AsyncIterator[pb.ControlFrame]:
        """See `Gateway.frames`."""
        failures = 0
        async with self._dialing() as stubs:
            while True:
                self._stub = stub = stubs[self._tried % len(stubs)]
                ended = asyncio.Event()
                try:
                    async for frame in stub.Attach(self._upward(ended)):
                        failures = 0
                        _raise_if_superseded(frame)
                        yield frame
                except grpc.aio.AioRpcError as error:
                    _raise_if_final(error)
                    log.warning("the control plane is away: %s", error.details())
                    tell_health("gateway", error.details() or error.code().name)
                finally:
                    # The ended call still waits for its next frame; it must not take one from the call that follows.
                    ended.set()
                    self._news.set()
                self._tried += 1
                await asyncio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
                failures += 1

    @asynccontextmanager
    async def _dialing(self) -> AsyncIterator[list[Any]]:
        """One for each control plane, which connects when it is first used."""
        async with AsyncExitStack() as stack:
            calls = [rpc.dialing(one, self._credential, transport=self._transport) for one in self._targets]
            dialled = [await stack.enter_async_context(call) for call in calls]
            try:
                yield [gateway_pb2_grpc.EmployeeGatewayStub(channel) for channel in dialled]
            finally:
                self._stub = None

    async def embed(self, texts: Sequence[str], *, query: bool, deadline: float) -> pb.EmbedResponse:
        """See `Gateway.embed`."""
        if self._stub is None:
            raise EmbeddingUnavailable("the employee is not attached to the control plane")
        try:
            answer: pb.EmbedResponse = await self._stub.Embed(
                pb.EmbedRequest(texts=texts, query=query), timeout=deadline
            )
        except grpc.aio.AioRpcError as error:
            _raise_if_superseded_error(error)
            kind = NoEmbeddingModel if rpc.reason_of(error) == "NO_EMBEDDING_MODEL" else EmbeddingUnavailable
            raise kind(_why(error)) from error
        return answer

    async def forget(self, subject: str, message_id: UUID) -> pb.ForgetSubjectResponse:
        """See `Gateway.forget`."""
        if self._stub is None:
            raise ActionFailed("the employee is not attached to the control plane; try again")
        request = pb.ForgetSubjectRequest(subject=subject, message_id=str(message_id))
        try:
            gone: pb.ForgetSubjectResponse = await self._stub.ForgetSubject(request, timeout=FORGET_SECONDS)
        except grpc.aio.AioRpcError as error:
            _raise_if_superseded_error(error)
            raise ActionFailed(_why(error)) from error
        return gone

    async def acquire_sidecar(
        self, kind: control_pb2.SidecarKind.ValueType, *, memory_bytes: int, idle_ttl: int
    ) -> pb.SidecarLease:
        """See `Gateway.acquire_sidecar`."""
        request = pb.AcquireSidecarRequest(kind=kind, memory_bytes=memory_bytes, idle_ttl_seconds=idle_ttl)
        with _sidecar_errors():
            lease: pb.SidecarLease = await self._attached().AcquireSidecar(request, timeout=ACQUIRE_SECONDS)
        return lease

    async def renew_sidecar(self, sidecar_id: str) -> pb.SidecarLease:
        """See `Gateway.renew_sidecar`."""
        with _sidecar_errors():
            request = pb.RenewSidecarRequest(sidecar_id=sidecar_id)
            lease: pb.SidecarLease = await self._attached().RenewSidecar(request, timeout=SIDECAR_SECONDS)
        return lease

    async def release_sidecar(self, sidecar_id: str) -> None:
        """See `Gateway.release_sidecar`."""
        with suppress(SidecarEnded), _sidecar_errors():
            request = pb.ReleaseSidecarRequest(sidecar_id=sidecar_id)
            await self._attached().ReleaseSidecar(request, timeout=SIDECAR_SECONDS)

    def _attached(self) -> Any:
        if self._stub is None:
            raise SidecarUnavailable("the employee is not attached to the control plane")
        return self._stub

    async def _upward(self, ended: asyncio.Event) -> AsyncIterator[pb.AgentFrame]:
        yield pb.AgentFrame(hello=self._hello)
        while not ended.is_set():
            if self._outgoing:
                yield self._outgoing.popleft()
            else:
                self._news.clear()
                await self._news.wait()
        self._news.set()  # for the call that follows, should this have been the one to wake


def _raise_if_superseded(frame: pb.ControlFrame) -> None:
    if frame.WhichOneof("frame") == "superseded":
        raise Superseded(f"epoch {frame.superseded.epoch} owns this employee")


def _raise_if_superseded_error(error: grpc.aio.AioRpcError) -> None:
    if error.code() is grpc.StatusCode.FAILED_PRECONDITION and rpc.reason_of(error) == "SUPERSEDED":
        raise Superseded(error.details() or "superseded") from error


def _raise_if_final(error: grpc.aio.AioRpcError) -> None:
    _raise_if_superseded_error(error)
    if error.code() in _FOR_GOOD:
        raise GatewayUnavailable(f"the control plane refuses this process: {error.details()}") from error


@contextmanager
def _sidecar_errors() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        _raise_if_superseded_error(error)
        if error.code() is grpc.StatusCode.NOT_FOUND:
            raise SidecarEnded(error.details() or "it has ended") from error
        raise SidecarUnavailable(_why(error), retry_after=rpc.retry_after_of(error)) from error


def _why(error: grpc.aio.AioRpcError) -> str:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE if not rpc.reason_of(error):
            return "the control plane is away"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return "the control plane did not answer in time"
        case _:
            fields = "".join(f"; {name}: {why}" for name, why in rpc.fields_of(error).items())
            return (error.details() or error.code().name) + fields
