"""Stopping work: a message that an operator cancels, or all of a conversation in which somebody writes /stop.

What nobody has claimed and what is not sent yet ends here and now. Of what an employee has in hand it is noted who wants it
stopped, which the employee reads before it asks a model and before it acts; the frame on its stream only makes that sooner.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from controlplane import audit
from controlplane.auth import Operator
from controlplane.errors import NotNow, Unknown
from controlplane.gateway import Streams
from empla import notices
from empla.goals import STEP
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("controlplane", "stopping.sql")
STOP = "/stop"


@dataclass(slots=True)
class Stopped:
    """What was stopped: messages that nobody had begun, that were in work, whose reply was not sent, and parts of others."""

    employee_id: UUID | None = None
    queued: list[UUID] = field(default_factory=list)
    in_work: list[UUID] = field(default_factory=list)
    unsent: list[UUID] = field(default_factory=list)
    background: list[UUID] = field(default_factory=list)
    questions: list[UUID] = field(default_factory=list)

    @property
    def messages(self) -> list[UUID]:
        """Each message of which something was stopped."""
        return list(dict.fromkeys([*self.queued, *self.in_work, *self.unsent, *self.background, *self.questions]))

    def in_words(self) -> str:
        """What whoever stopped it is told."""
        return notices.stopped(
            queued=len(self.queued),
            in_work=len(self.in_work),
            unsent=len(self.unsent),
            background=len(self.background),
            questions=len(self.questions),
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants something stopped, why, and the message that said so, if one did."""

    by: str
    reason: str
    said_in: UUID | None = None

    @property
    def why(self) -> str:
        """For people."""
        return f"cancelled by {self.by}" + (f": {self.reason}" if self.reason else "")


def says_stop(text: str, metadata: dict[str, Any]) -> bool:
    """Whether a message is the command of a person to stop, and neither the employee's own nor a machine's answer."""
    by_itself = (
        metadata.get("from_self")
        or STEP in metadata
        or str(metadata.get("auto_submitted", "no")).lower() not in ("", "no")
    )
    return text.strip().lower() == STOP and not by_itself


class Stopping:
    """Stops messages; those who are concerned hear of it, and what they miss they find in the tables."""

    def __init__(
        self,
        pool: Pool,
        streams: Streams | None = None,
        changed: Callable[[UUID], None] = lambda _: None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool, self._changed, self._look = pool, changed, look
        self._streams = Streams() if streams is None else streams

    async def cancel(self, message_id: UUID, operator: Operator, reason: str) -> None:
        """Stop all that goes on for a message of the operator's tenant; raises as `stop` does."""
        await self.stop(message_id, Wish(operator.name, reason), operator.tenant_id)

    async def stop(self, message_id: UUID, wish: Wish, tenant_id: UUID | None = None) -> None:
        """Stop all that goes on for a message, of one tenant or of any; one that was stopped before stays so.

        Raises `Unknown`, and `NotNow` when there is nothing left to stop.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                held = await _hold(connection, [message_id], tenant_id)
                if not held:
                    raise Unknown(f"there is no message {message_id}")
                stopped = await _stop(connection, held, wish)
        [message] = held
        if not stopped.messages and message["cancelled_by"] is None:
            raise NotNow(f"the message is {message['state']}: {_why_not(message)}", reason="NOTHING_TO_CANCEL")
        self.tell(stopped)

    def tell(self, stopped: Stopped) -> None:
        """The employee, followers and the Sender hear of it."""
        for message_id in stopped.messages:
            self._changed(message_id)
            if stopped.employee_id is not None:
                self._streams.stop(stopped.employee_id, message_id)
        self._look()


async def hold_conversation(
    connection: AnyConnection, channel_id: UUID, employee_id: UUID, conversation: str
) -> list[UUID]:
    """The messages of a conversation of which something can be stopped, locked with what they have: to store comes last."""
    ids = [row["message_id"] for row in await connection.fetch(SQL.conversation, channel_id, employee_id, conversation)]
    await connection.execute(SQL.hold_outbox, ids)
    await connection.execute(SQL.hold_employee, employee_id)
    await connection.fetch(SQL.hold_messages, ids, None)
    await connection.execute(SQL.hold_workers, ids)
    return ids


async def stop_conversation(connection: AnyConnection, ids: list[UUID], said_in: UUID, sender: str) -> Stopped:
    """Stop all of `ids` and answer the message that says so, in the transaction that stores it."""
    held = await _hold(connection, ids, None)
    stopped = await _stop(connection, held, Wish(sender, STOP, said_in))
    await connection.execute(SQL.answer, said_in, new_id(), stopped.in_words())
    return stopped


async def _hold(connection: AnyConnection, ids: list[UUID], tenant_id: UUID | None) -> list[Any]:
    await connection.execute(SQL.hold_outbox, ids)
    held: list[Any] = await connection.fetch(SQL.hold_messages, ids, tenant_id)
    return held


async def _stop(connection: AnyConnection, held: list[Any], wish: Wish) -> Stopped:
    """Stop what there is of some messages, whose rows are locked."""
    ids = [row["message_id"] for row in held]
    withheld = await connection.fetch(SQL.withhold, ids, wish.why)
    workers = await connection.fetch(SQL.mark_workers, ids, wish.by, wish.reason, wish.said_in)
    await connection.execute(SQL.close_drafts, [row["outbox_id"] for row in withheld], wish.by, wish.reason)
    stopped = _sorted(held, withheld, workers)
    ended = [
        *stopped.queued,
        *(row["message_id"] for row in held if _leaves(row) and row["message_id"] in stopped.unsent),
    ]
    await connection.execute(
        SQL.mark_messages, stopped.messages, wish.by, wish.reason, wish.said_in, ended, wish.why[:1000]
    )
    for row in held:
        if row["message_id"] in stopped.messages:
            about = row["tenant_id"], "message.cancel", row["message_id"], {"reason": wish.reason}
            await audit.record(connection, *about, actor=wish.by)
    return stopped


def _sorted(held: Iterable[Any], withheld: list[Any], workers: list[Any]) -> Stopped:
    stopped = Stopped()
    unsent = {row["message_id"] for row in withheld}
    for row in held:
        message_id, stopped.employee_id = row["message_id"], row["employee_id"]
        states = {worker["state"] for worker in workers if worker["message_id"] == message_id}
        if _is_in_hand(row):
            if row["cancelled_by"] is None:
                (stopped.in_work if row["claimed"] else stopped.queued).append(message_id)
            continue
        if message_id in unsent:
            stopped.unsent.append(message_id)
        if "running" in states:
            stopped.background.append(message_id)
        if "waiting_for_input" in states:
            stopped.questions.append(message_id)
    return stopped


def _is_in_hand(row: Any) -> bool:
    """Whether a message has no reply yet."""
    return not row["ended"] and not _leaves(row)


def _leaves(row: Any) -> bool:
    """Whether a message has its reply, which is not sent yet, or not known to be."""
    return row["step"] == "send" and not row["ended"]


def _why_not(row: Any) -> str:
    if _leaves(row):
        return "its reply is on its way, or nobody knows whether it arrived"
    return "it has come to its end, and nothing of it goes on"
