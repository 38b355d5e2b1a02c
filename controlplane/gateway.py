"""The EmployeeGateway: each employee's stream, what goes down it and what comes up.

The table of messages is the truth. A stream only says "look now": whatever a stream loses is found in the table again, at
the next attach or by the sweep.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import grpc
import grpc.aio
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.struct_pb2 import Struct

from controlplane.attempts import Attempts
from controlplane.auth import hashed
from controlplane.clock import DatabaseClock
from controlplane.embedding import Embedding
from controlplane.employees import AUTONOMY, EmployeeRecord, Employees
from controlplane.employees import SQL as EMPLOYEES_SQL
from controlplane.errors import Invalid, Unauthenticated
from controlplane.followers import Followers
from controlplane.forwarding import Forwarding
from controlplane.launchers.interface import CONTAINER
from controlplane.memories import Memories
from controlplane.planes import Nobody, Others
from controlplane.sidecars.keeper import Sidecars
from controlplane.sidecars.requests import Most, ttl_of
from empla import rpc
from empla.store.connect import Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.v1 import control_pb2, gateway_pb2_grpc
from empla.v1 import gateway_pb2 as pb

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "gateway.sql")
WINDOW = 64
"""Deliveries of one stream that may wait for their acknowledgement."""
MAX_WAITING_FRAMES = 1024
FULL_SECONDS = 0.1
"""Between two looks for an employee for whom there is as much as its window holds, or more."""
HELLO_SECONDS = 10.0
SWEEP_SECONDS = 2.0
_STUB = gateway_pb2_grpc.EmployeeGatewayStub


@dataclass(frozen=True, slots=True)
class Launch:
    """The employee process behind a call."""

    employee_id: UUID
    epoch: int


def credential(employee_id: UUID, epoch: int, secret: str) -> str:
    """What an employee process shows: who it is, which launch, and the secret of that launch."""
    return f"{employee_id}:{epoch}:{secret}"


async def authenticate(pool: Pool, metadata: Any, attempts: Attempts | None = None) -> Launch:
    """The launch behind a call; raises `Unauthenticated`, or FAILED_PRECONDITION SUPERSEDED for an older launch.

    Raises `Exhausted` when its sender had too many wrong credentials.
    """
    attempts = attempts or Attempts()
    try:
        name, number, secret = rpc.bearer(metadata).split(":")
        employee_id, epoch = UUID(name), int(number)
    except ValueError as error:
        raise attempts.refusal(Unauthenticated("this is no employee's credential")) from error
    with translated():
        row = await pool.fetchrow(EMPLOYEES_SQL.credential, employee_id)
    if row is not None and epoch < row["epoch"]:
        raise _superseded(row["epoch"])
    expected = row["credential_hash"] if row is not None and epoch == row["epoch"] else None
    if expected is None or not hmac.compare_digest(expected, hashed(secret)):
        raise attempts.refusal(Unauthenticated("the credential is wrong"))
    return Launch(employee_id, epoch)


def _superseded(epoch: int) -> rpc.StatusError:
    return rpc.StatusError(grpc.StatusCode.FAILED_PRECONDITION, "SUPERSEDED", f"epoch {epoch} owns this employee")


@dataclass(eq=False)
class Stream:
    """One attached employee process."""

    launch: Launch
    build: str
    waiting: asyncio.Queue[pb.ControlFrame] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING_FRAMES))
    news: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    unacknowledged: set[UUID] = field(default_factory=set)
    impossible: set[UUID] = field(default_factory=set)
    """Rows that no frame can carry."""
    behind: bool = False
    """Whether something may wait in the table for an acknowledgement."""
    outdated: bool = False
    """Whether the launch is over: it ended, or another one owns the employee."""
    heartbeat: pb.Heartbeat | None = None
    heartbeat_at: float = field(default_factory=time.time)
    seen_at: float = field(default_factory=time.monotonic)
    """The last sign of life on a clock that nobody sets, to judge by; `heartbeat_at` is for people."""

    def beat(self, heartbeat: pb.Heartbeat, now: float) -> None:
        """Note a sign of life, and what it says, at `now` by the database's clock."""
        if heartbeat.HasField("sent_at"):
            heartbeat.clock_ahead_seconds = heartbeat.sent_at.ToNanoseconds() / 1e9 - now
        if heartbeat.state == "idle":
            heartbeat.idle_memory_bytes = heartbeat.memory_bytes
        else:
            heartbeat.idle_memory_bytes = self.heartbeat.idle_memory_bytes if self.heartbeat else 0
        self.heartbeat, self.heartbeat_at, self.seen_at = heartbeat, now, time.monotonic()

    def end(self) -> None:
        """End it for good, for its launch is over."""
        self.outdated = True
        self.closed.set()

    def send(self, frame: pb.ControlFrame) -> None:
        """Queue a frame; an employee that reads too slowly loses its stream and comes back."""
        try:
            self.waiting.put_nowait(frame)
        except asyncio.QueueFull:
            log.warning("employee %s reads too slowly; its stream is closed", self.launch.employee_id)
            self.closed.set()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An employee that is attached to another control plane, as that one tells; the names are those of `Stream`."""

    launch: Launch
    build: str
    heartbeat: pb.Heartbeat | None
    heartbeat_at: float
    seen_at: float
    address: str | None
    """Of that control plane, if it is known to be there."""


class Streams:
    """The streams that this control plane holds, one for each attached employee; the `others` hold those of the rest."""

    def __init__(self, others: Others | None = None, clock: DatabaseClock | None = None) -> None:
        self._others, self.clock = others or Nobody(), clock or DatabaseClock()
        self._streams: dict[UUID, Stream] = {}
        self.elsewhere: Mapping[UUID, Elsewhere] = {}
        self.left: Mapping[UUID, Elsewhere] = {}
        """The last that was told of those who are attached nowhere now."""
        self.hears_since = time.monotonic()
        """Since when this control plane has heard without a break what the others tell."""

    def get(self, employee_id: UUID) -> Stream | None:
        """The employee's stream, if it is attached here."""
        return self._streams.get(employee_id)

    def seen(self, employee_id: UUID) -> Stream | Elsewhere | None:
        """What is known of the stream of the employee's latest launch, wherever it is attached."""
        here, there = self._streams.get(employee_id), self.elsewhere.get(employee_id)
        if here is None or (there is not None and there.launch.epoch > here.launch.epoch):
            return there
        return here

    def address_of(self, employee_id: UUID) -> str | None:
        """The control plane that the employee is attached to, if it is another one."""
        there = self.seen(employee_id)
        return there.address if isinstance(there, Elsewhere) else None

    def all(self) -> list[Stream]:
        """Every stream."""
        return list(self._streams.values())

    def look(self, employee_id: UUID, message_id: UUID) -> None:
        """There is a new message for the employee."""
        if stream := self._streams.get(employee_id):
            stream.news.set()
        else:
            self._others.tell("stored", employee_id, message_id)

    def wake(self, employee_id: UUID, reason: str) -> None:
        """Have the employee, if it is attached, begin its next cycle now and read its mind anew for it."""
        self._send(pb.ControlFrame(wake=pb.Wake(reason=reason)), "wake", employee_id, reason)

    def pause(self, employee_id: UUID, *, paused: bool) -> None:
        """The employee may not work any more, or again."""
        self._send(pb.ControlFrame(pause=pb.PauseWork(paused=paused)), "pause", employee_id)

    def stop(self, employee_id: UUID, message_id: UUID) -> None:
        """Somebody wants something of a message stopped."""
        frame = pb.ControlFrame(cancel=pb.CancelWork(message_id=str(message_id)))
        self._send(frame, "stop", employee_id, message_id)

    def resume(self, employee_id: UUID, unit: pb.ResumeUnit) -> None:
        """A person has answered something that waits."""
        frame = pb.ControlFrame(resume_unit=unit)
        self._send(frame, "resume", employee_id, unit.unit_id, unit.message_id, unit.question_key)

    def configure(self, record: EmployeeRecord) -> None:
        """The employee is another one now."""
        changed = pb.ConfigurationChanged(configuration=configuration(record))
        self._send(pb.ControlFrame(configuration_changed=changed), "configure", record.employee_id)

    def _send(self, frame: pb.ControlFrame, word: str, employee_id: UUID, *ids: object) -> None:
        """Send `frame` if the employee is attached here; else the others hear the word, for one of them has it."""
        if stream := self._streams.get(employee_id):
            stream.send(frame)
        else:
            self._others.tell(word, employee_id, *ids)

    @contextmanager
    def holding(self, stream: Stream) -> Iterator[None]:
        """Hold `stream` for the length of the block; one that the employee had before is closed.

        Raises FAILED_PRECONDITION SUPERSEDED where that one is of a later launch: this one was authenticated before it.
        """
        employee_id = stream.launch.employee_id
        if before := self._streams.get(employee_id):
            if before.launch.epoch > stream.launch.epoch:
                raise _superseded(before.launch.epoch)
            before.closed.set()
        self._streams[employee_id] = stream
        try:
            yield
        finally:
            if self._streams.get(employee_id) is stream:
                del self._streams[employee_id]


class OutboxListener(Protocol):
    """Who wants to know that there may be something to send."""

    def look(self) -> None:
        """Look at the outbox now."""
        ...


class EmployeeGateway(gateway_pb2_grpc.EmployeeGatewayServicer):
    """Serves the streams, gives out sidecars, and makes vectors of texts."""

    def __init__(
        self,
        *,
        pool: Pool,
        employees: Employees,
        streams: Streams,
        followers: Followers,
        outbox: OutboxListener,
        embedding: Embedding,
        sidecars: Sidecars,
        memories: Memories,
        forwarding: Forwarding,
        most: Most,
        heartbeat_ms: int,
    ) -> None:
        self._embedding, self._sidecars, self._most, self._memories = embedding, sidecars, most, memories
        self._forwarding = forwarding
        self._pool, self._employees, self._streams = pool, employees, streams
        self._followers, self._outbox, self._heartbeat_ms = followers, outbox, heartbeat_ms

    async def Attach(self, request_iterator: AsyncIterator[pb.AgentFrame], context: Any) -> None:  # type: ignore[override]  # noqa: N802
        """One employee's stream, from its Hello until either side ends it."""
        launch: Launch = rpc.caller()
        hello = await _hello(request_iterator, launch)
        stream = Stream(launch, hello.build)
        with translated():
            await self._pool.execute(EMPLOYEES_SQL.attached, launch.employee_id, launch.epoch)
        with self._streams.holding(stream):
            # Read once the stream is held: a change from here on is queued behind the welcome.
            welcome = _welcome(await self._employees.by_id(launch.employee_id), self._heartbeat_ms)
            stream.news.set()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._read(request_iterator, stream)),
                    group.create_task(_write(stream, welcome, context)),
                    group.create_task(self._deliver(stream)),
                ]
                await stream.closed.wait()
                for task in tasks:
                    task.cancel()
        if stream.outdated:
            raise rpc.StatusError(grpc.StatusCode.FAILED_PRECONDITION, "SUPERSEDED", "this launch is over")

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:  # noqa: N802
        """Vectors of texts; see gateway.proto."""
        launch: Launch = rpc.caller()
        made = await self._embedding.embed(launch.employee_id, request.texts, query=request.query)
        vectors = [pb.Vector(values=vector) for vector in made.vectors]
        return pb.EmbedResponse(model=made.model, unrelated=made.unrelated, vectors=vectors)

    async def AcquireSidecar(self, request: pb.AcquireSidecarRequest, context: Any) -> pb.SidecarLease:  # noqa: N802
        """A sidecar for the employee that asks; see gateway.proto."""
        there: pb.SidecarLease | None = await self._forwarding.by_leader(_STUB, "AcquireSidecar", request, context)
        if there is not None:
            return there
        launch: Launch = rpc.caller()
        wanted, ttl = self._most.resources(request), ttl_of(request)
        return await self._sidecars.acquire(launch.employee_id, launch.epoch, wanted, ttl)

    async def RenewSidecar(self, request: pb.RenewSidecarRequest, context: Any) -> pb.SidecarLease:  # noqa: N802
        """A later token; see gateway.proto."""
        there: pb.SidecarLease | None = await self._forwarding.by_leader(_STUB, "RenewSidecar", request, context)
        if there is not None:
            return there
        launch: Launch = rpc.caller()
        return await self._sidecars.renew(launch.employee_id, launch.epoch, _sidecar_id(request.sidecar_id))

    async def ReleaseSidecar(self, request: pb.ReleaseSidecarRequest, context: Any) -> pb.ReleaseSidecarResponse:  # noqa: N802
        """The employee needs it no more; see gateway.proto."""
        if await self._forwarding.by_leader(_STUB, "ReleaseSidecar", request, context) is not None:
            return pb.ReleaseSidecarResponse()
        launch: Launch = rpc.caller()
        await self._sidecars.release(launch.employee_id, launch.epoch, _sidecar_id(request.sidecar_id))
        return pb.ReleaseSidecarResponse()

    async def ForgetSubject(self, request: pb.ForgetSubjectRequest, context: Any) -> pb.ForgetSubjectResponse:  # noqa: N802
        """What somebody asked the employee to forget; see gateway.proto."""
        launch: Launch = rpc.caller()
        employee = await self._employees.by_id(launch.employee_id)
        gone = await self._memories.forget_asked(employee, request.subject, _message_id(request.message_id))
        self._streams.wake(launch.employee_id, "forgotten")
        return pb.ForgetSubjectResponse(memories=len(gone.memory_ids), beliefs=len(gone.belief_ids), more=gone.more)

    async def sweep(self) -> None:
        """Find messages, and wishes to stop some, that no stream was told of, and end streams of launches that are over.

        Runs until cancelled.
        """
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                with translated():
                    rows = await self._pool.fetch(SQL.employees_with_undelivered)
                    stopping = await self._pool.fetch(SQL.stopping)
                    await self._end_outdated()
            except StoreUnavailable as error:
                log.warning("the database is away: %s", error)
                continue
            except Exception:
                log.exception("messages that no stream was told of wait for the next round")
                continue
            for row in rows:
                if stream := self._streams.get(row["employee_id"]):
                    stream.news.set()
            for row in stopping:
                if self._streams.get(row["employee_id"]):
                    self._streams.stop(row["employee_id"], row["message_id"])

    async def _end_outdated(self) -> None:
        """A process that is still there after its launch was over would hear what is its successor's, or nobody's."""
        streams = self._streams.all()
        epochs = [stream.launch.epoch for stream in streams]
        rows = await self._pool.fetch(SQL.outdated, [stream.launch.employee_id for stream in streams], epochs)
        outdated = {row["employee_id"] for row in rows}
        for stream in streams:
            if stream.launch.employee_id in outdated:
                stream.end()

    async def _read(self, frames: AsyncIterator[pb.AgentFrame], stream: Stream) -> None:
        async for frame in frames:
            match frame.WhichOneof("frame"):
                case "ack":
                    stream.unacknowledged.discard(_message_id(frame.ack.message_id))
                    if stream.behind:  # perhaps the next message of the conversation
                        stream.news.set()
                case "heartbeat":
                    stream.beat(frame.heartbeat, self._streams.clock.time())
                case "progress":
                    message_id = _message_id(frame.progress.message_id)
                    self._followers.progress(stream.launch.employee_id, message_id, frame.progress)
                case "outbox_ready":
                    if frame.outbox_ready.message_state != "withheld":
                        self._outbox.look()
                    self._followers.changed(_message_id(frame.outbox_ready.message_id))
        stream.closed.set()

    async def _deliver(self, stream: Stream) -> None:
        """Send what nobody has claimed, a window at a time and of each conversation one message at a time."""
        while True:
            await stream.news.wait()
            # Cleared before the table is read, so that what arrives meanwhile is looked for again.
            stream.news.clear()
            stream.behind, under_way = True, bool(stream.unacknowledged)
            try:
                with translated():
                    rows, room = await self._undelivered(stream)
            except StoreUnavailable as error:
                log.warning("the database is away, deliveries wait: %s", error)
                continue  # the sweep looks again
            stream.behind = under_way or len(rows) == room or any(row["followed"] for row in rows)
            for row in rows:
                _carry(row, stream)
                if row["more"] or row["message_id"] in stream.impossible:
                    stream.news.set()
                await asyncio.sleep(0)  # a window of long messages holds up nobody else's
            if len(rows) == room:  # each acknowledgement and each further message would have us read what waits anew
                await asyncio.sleep(FULL_SECONDS)

    async def _undelivered(self, stream: Stream) -> tuple[list[Any], int]:
        """What to deliver now, and how much there was room for."""
        waiting = stream.unacknowledged
        if len(waiting) >= WINDOW:  # acknowledgements may be lost: the table knows what was claimed
            unclaimed = await self._pool.fetch(SQL.unclaimed, list(waiting))
            waiting &= {row["message_id"] for row in unclaimed}
        if len(waiting) >= WINDOW:
            return [], 0
        room = WINDOW - len(waiting)
        employee_id, impossible = stream.launch.employee_id, list(stream.impossible)
        return await self._pool.fetch(SQL.undelivered, employee_id, list(waiting), impossible, room), room


def _carry(row: Any, stream: Stream) -> None:
    """Send a row of `undelivered`; one that no frame can carry is skipped, for it would end every stream."""
    try:
        frame = pb.ControlFrame(deliver=as_deliver(row))
        pb.ControlFrame.FromString(frame.SerializeToString())  # what nests too deep is written, and never read
    except (ParseError, EncodeError, DecodeError, ValueError, TypeError, OverflowError):
        log.exception("message %s cannot be delivered", row["message_id"])
        stream.impossible.add(row["message_id"])
        return
    stream.unacknowledged.add(row["message_id"])
    stream.send(frame)


def _message_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid("a frame names no message", fields={"message_id": "a UUID"}) from error


def _sidecar_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid(f"{text[:100]!r} is no id", fields={"sidecar_id": "a UUID"}) from error


async def _write(stream: Stream, welcome: pb.Welcome, context: Any) -> None:
    await context.write(pb.ControlFrame(welcome=welcome))
    while True:
        await context.write(await stream.waiting.get())


async def _hello(frames: AsyncIterator[pb.AgentFrame], launch: Launch) -> pb.Hello:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            async for frame in frames:
                hello = frame.hello
                if frame.WhichOneof("frame") == "hello" and hello.employee_id == str(launch.employee_id):
                    return hello
                break
    except TimeoutError as error:
        raise Invalid(f"no Hello within {HELLO_SECONDS:g} s") from error
    raise Invalid("the first frame must be the Hello of the employee whose credential this is")


def configuration(record: EmployeeRecord) -> pb.EmployeeConfiguration:
    """What an employee process is told of itself."""
    return pb.EmployeeConfiguration(
        name=record.name,
        tenant=record.tenant,
        tenant_id=str(record.tenant_id),
        profile=_profile_there(record),
        autonomy=AUTONOMY[record.autonomy],
        paused=record.paused,
        limits_dollars=record.limits_dollars,
        limits_tokens=record.limits_tokens,
    )


def _profile_there(record: EmployeeRecord) -> control_pb2.Profile:
    """Its profile; in a container there is nothing that a sandbox could be built of, so its work is all in sidecars."""
    profile = control_pb2.Profile()
    profile.CopyFrom(record.profile)
    if record.launcher == CONTAINER:
        profile.workstation.compute = profile.workstation.browser = "sidecar"
    return profile


def _welcome(record: EmployeeRecord, heartbeat_ms: int) -> pb.Welcome:
    return pb.Welcome(configuration=configuration(record), heartbeat_ms=heartbeat_ms)


def as_deliver(row: Any) -> pb.Deliver:
    """A row of `undelivered` as the frame that carries it."""
    deliver = pb.Deliver(
        sequence=row["sequence"],
        message_id=str(row["message_id"]),
        conversation_id=str(row["conversation_id"]),
        channel=row["channel"],
        sender=row["sender"],
        body=row["body"],
        trace_context=row["trace_context"],
        metadata=ParseDict(row["metadata"], Struct()),
    )
    deliver.received_at.FromDatetime(row["received_at"])
    return deliver
