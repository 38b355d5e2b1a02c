"""The Receiver: a verified message is stored once, and only then acknowledged. Stateless."""

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct

from controlplane.errors import Conflict, Invalid, TooLarge, Unknown
from controlplane.shares import Shares
from controlplane.stopping import Stopped, hold_conversation, says_stop, stop_conversation
from empla import telemetry
from empla.goals import STEP
from empla.schedules import RUN
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("controlplane", "receiver.sql")

OF_ONE_EMPLOYEE, OF_ONE_TENANT = 2, 10
"""Messages that are stored at once, each on one of the control plane's connections: a flood leaves some to the others."""
REST = 1.0
"""How long an employee's place stays empty after each message of a flood, as a share of the time that it took to store."""
STORE_SECONDS = 25.0
"""With the wait for a place; then the provider is to deliver it again, and hears so some 5 s later at the latest."""
MAX_TEXT_BYTES = 256 * 1024
MAX_NAME = 500
MAX_METADATA_BYTES = 16 * 1024
CONTENT = "empla:content"
"""The name in a stored message's metadata that is ours: what tells the same event with other content."""
MAX_METADATA_DEPTH = 16
"""Levels of nesting. Protobuf reads 100 messages deep, and a level of a Struct takes three of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message as a channel brought it, verified.

    `event_id` is the channel's name for this delivery: the same one again is the same message. `conversation` is the
    channel's name for the thread; '' begins a new one. With `routed` the channel chose the employee, and may choose another
    one when the same is delivered again.
    """

    tenant_id: UUID
    channel_id: UUID
    employee_id: UUID
    event_id: str
    sender: str
    text: str
    conversation: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    routed: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an arrival: the row, and whether it was there already."""

    message_id: UUID
    employee_id: UUID
    conversation: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Written:
    """What became of an arrival, and what it stopped, if it said so."""

    stored: Stored
    stopped: Stopped | None


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Let the block wait for the database, and for a place before it, no longer than `STORE_SECONDS`."""
    with translated():
        async with asyncio.timeout(STORE_SECONDS):
            yield


type _Message = tuple[UUID, Arrival, str, str, str]
"""Its id, what arrived, its conversation, what tells its content, and the span that it belongs to."""


class Receiver:
    """Stores arrivals; `on_stored` is told of each new one, after its commit.

    One that says /stop overtakes whatever its conversation has: it is stored, obeyed and answered in one transaction, and
    `on_stopped` is told instead.
    """

    def __init__(
        self,
        pool: Pool,
        on_stored: Callable[[UUID, UUID], None],
        on_stopped: Callable[[Stopped], None] = lambda _: None,
    ) -> None:
        self._pool, self._on_stored, self._on_stopped = pool, on_stored, on_stopped
        self._employees, self._tenants = Shares(OF_ONE_EMPLOYEE, rest=REST), Shares(OF_ONE_TENANT)

    async def store(self, arrival: Arrival, message_id: UUID | None = None) -> Stored:
        """Make `arrival` durable, once; a new row gets `message_id`, if given.

        Raises `Invalid`, `TooLarge`, `Unknown` when the employee or the channel has been deleted, `Conflict` when the event
        id came with other content before, `StoreUnavailable` when the database is away: then nothing may be acknowledged.
        """
        for name in (RUN, STEP):
            if name in arrival.metadata:
                reserved = {"metadata": f"uses the name {name!r}, which is reserved"}
                raise Invalid("metadata: a reserved name", fields=reserved)
        _check(arrival)
        with _received(arrival) as parent:
            # The employee first: what waits for its own turn must not stand in the tenant's line.
            async with (
                in_time(),
                self._employees.of(arrival.employee_id),
                self._tenants.of(arrival.tenant_id),
            ):
                written = await self._written(_message(arrival, message_id, parent))
            telemetry.annotate(**_told(written))
        self.tell(written)
        return written.stored

    async def write(self, connection: AnyConnection, arrival: Arrival) -> Written:
        """Store `arrival` in a transaction of the caller's, who then has to `tell` of it; raises what `store` does."""
        _check(arrival)
        with _received(arrival) as parent, translated():
            message = _message(arrival, None, parent)
            if says_stop(arrival.text, arrival.metadata):
                written = await _obeyed(connection, message)
            else:
                written = _as_written(message, await _insert(connection, message))
            telemetry.annotate(**_told(written))
        return written

    def tell(self, written: Written) -> None:
        """Say what is committed to who waits for it."""
        if written.stopped is not None:
            self._on_stopped(written.stopped)
        elif not written.stored.duplicate:
            self._on_stored(written.stored.employee_id, written.stored.message_id)

    async def _written(self, message: _Message) -> Written:
        _, arrival, *_ = message
        if not says_stop(arrival.text, arrival.metadata):
            return _as_written(message, await _insert(self._pool, message))
        async with self._pool.acquire() as connection, connection.transaction():
            return await _obeyed(connection, message)


def _received(arrival: Arrival) -> AbstractContextManager[str]:
    return telemetry.span("receive", employee=str(arrival.employee_id), channel=str(arrival.channel_id))


def _told(written: Written) -> dict[str, Any]:
    return {"message_id": str(written.stored.message_id), "duplicate": written.stored.duplicate}


async def _obeyed(connection: AnyConnection, message: _Message) -> Written:
    """Store a message that says /stop, and stop what its conversation has."""
    _, arrival, conversation, *_ = message
    ids = await hold_conversation(connection, arrival.channel_id, arrival.employee_id, conversation)
    row = await _insert(connection, message)
    if row["duplicate"]:
        return _as_written(message, row)
    return _as_written(message, row, await stop_conversation(connection, ids, row["message_id"], arrival.sender))


def _message(arrival: Arrival, message_id: UUID | None, parent: str) -> _Message:
    content = _content(arrival.employee_id, arrival.text)
    return message_id or new_id(), arrival, arrival.conversation or new_id().hex, content, parent


def _content(employee_id: UUID, text: str) -> str:
    return hashlib.sha256(f"{employee_id}\0{text}".encode()).hexdigest()


def _as_written(message: _Message, row: Any, stopped: Stopped | None = None) -> Written:
    _, arrival, _, content, _ = message
    if arrival.routed:
        content = _content(row["employee_id"], arrival.text)
    if row["content"] != content:
        raise Conflict(f"the event id {arrival.event_id!r} was used before, for another message")
    return Written(Stored(row["message_id"], row["employee_id"], row["conversation"], row["duplicate"]), stopped)


async def _insert(to: Pool | AnyConnection, message: _Message) -> Any:
    message_id, arrival, conversation, content, parent = message
    # Two tries: a concurrent delivery of the same event makes the first insert nothing, and is visible to the second.
    for _ in range(2):
        try:
            row = await to.fetchrow(
                SQL.store,
                message_id,
                arrival.tenant_id,
                arrival.channel_id,
                arrival.employee_id,
                arrival.event_id,
                arrival.sender,
                arrival.text,
                {**arrival.metadata, CONTENT: content},
                new_id(),
                conversation,
                parent,
            )
        except asyncpg.ForeignKeyViolationError as error:
            raise Unknown("the employee or the channel does not exist any more") from error
        if row is not None:
            return row
    raise Unknown("the employee or the channel has been deleted")


def _check(arrival: Arrival) -> None:
    named = {name: getattr(arrival, name) for name in ("text", "event_id", "sender", "conversation")}
    wrong = {name: why for name, value in named.items() if (why := _unstorable(value))}
    for name in ("event_id", "sender", "conversation"):
        if len(named[name]) > MAX_NAME:
            wrong[name] = f"must have at most {MAX_NAME} characters"
    for name in ("text", "event_id", "sender"):
        if not named[name]:
            wrong[name] = "empty"
    if "text" not in wrong and len(arrival.text.encode()) > MAX_TEXT_BYTES:
        raise TooLarge(f"the text is over {MAX_TEXT_BYTES} bytes", fields={"text": "too long"})
    if why := _unfit(arrival.metadata):
        wrong["metadata"] = why
    if wrong:
        raise Invalid("; ".join(f"{name}: {why}" for name, why in wrong.items()), fields=wrong)
    if len(json.dumps(arrival.metadata)) > MAX_METADATA_BYTES:
        raise TooLarge(f"the metadata is over {MAX_METADATA_BYTES} bytes", fields={"metadata": "too long"})


def _unfit(metadata: dict[str, Any]) -> str:
    """Why the table or the frame to the employee could not carry `metadata`; '' when they can."""
    if CONTENT in metadata:
        return f"uses the name {CONTENT!r}, which is reserved"
    if why := next(_complaints(metadata), ""):
        return why
    try:
        ParseDict(metadata, Struct()).SerializeToString()
    except (ParseError, TypeError) as error:
        return f"is no JSON object: {error}"
    return ""


def _complaints(value: Any, depth: int = 1) -> Iterator[str]:
    if depth > MAX_METADATA_DEPTH:
        yield f"is nested over {MAX_METADATA_DEPTH} levels deep"
    elif isinstance(value, str):
        yield from filter(None, [_unstorable(value)])
    elif isinstance(value, int | float) and not _is_number(value):
        yield "holds a number that a double cannot hold"
    elif isinstance(value, dict | list):
        for member in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from _complaints(member, depth + 1)


def _is_number(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


def _unstorable(text: str) -> str:
    """Why PostgreSQL could not store `text`; '' when it can."""
    if "\0" in text:
        return "holds a NUL character"
    return "" if text.isascii() or _is_unicode(text) else "holds half of a surrogate pair"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
