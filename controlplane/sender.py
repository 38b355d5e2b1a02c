"""The Sender: the only way out. It decides from tables that no employee can write, calls the channel, and keeps the receipt.

Before the call the row says `sending`, after it `sent`. A call whose outcome is unknown leaves `unknown_after_send` and
an open review; it is never blindly repeated.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID

from controlplane.callbacks import Ambiguous, Blocked, CallbackError, NotSent, Receipt, Rejected
from controlplane.channels import DELETED, OWN, READ_FROM_TABLE
from empla import notices, telemetry
from empla.store.connect import Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "sender.sql")
MAX_PARALLEL = 64
OF_ONE_EMPLOYEE, OF_ONE_TENANT = 16, 40
"""Of these, lest callbacks that hang hold up everybody's."""
POLL_SECONDS = 2.0
LONGEST_SENDING_SECONDS = 30.0
MAX_ATTEMPTS = 8
BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 300.0
DRAFT_DAYS = 7
"""How long a draft waits for a person before it is withheld."""

# Shapes of credentials that no reply should carry; from the providers' own documentation of their key formats.
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}\b"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a row goes, and the message with it."""

    state: str  # of the outbox row
    message_state: str
    reason: str = ""
    review: str | None = None  # the kind of review that is opened
    receipt: dict[str, Any] | None = None
    retry_after: float | None = None  # seconds
    span_id: str = ""  # of the call


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as it was when its verdict was found: no state comes again with the same attempt."""

    outbox_id: UUID
    attempt: int
    states: tuple[str, ...]


class Transport(Protocol):
    """Calls a registered URL."""

    async def post(self, url: str, secret: bytes, outbox_id: UUID, payload: dict[str, Any]) -> Receipt:
        """Deliver, or raise a `CallbackError`."""
        ...


def may_leave(row: Any) -> Verdict | None:
    """The last check, deterministic: None lets the row leave, else where it goes instead.

    What a person has read or written is held no more, whatever it looks like; all else holds for it too.
    """
    if row["autonomy"] == "shadow" or row["disabled_at"] is not None:
        return Verdict("withheld", "withheld", "shadow mode" if row["disabled_at"] is None else DELETED)
    if row["approved_by"] is None and _SECRET.search(row["body"]):
        return Verdict("held", "waiting", "the text looks as if it held a secret key", "draft")
    if row["channel"] not in ("api", "webhook"):
        return Verdict("failed", "failed", "there is no channel to send it on", "needs_manual_intervention")
    if row["approved_by"] is None and (verdict := _unapproved(row)):
        return verdict
    if row["channel"] == "webhook" and not row["callback_url"]:
        return Verdict("withheld", "withheld", "the channel has no callback URL; the reply can be read through the API")
    return None


def _unapproved(row: Any) -> Verdict | None:
    """What a person has to see first; news of what goes on is old by the time that somebody has."""
    if row["restored"] and row["channel"] not in READ_FROM_TABLE:
        if row["kind"] == "progress":
            return Verdict("withheld", "withheld", "restored from a backup: it is old")
        return Verdict("held", "waiting", "restored from a backup: it may have been answered before", "draft")
    if _needs_approval(row):
        return Verdict("held", "waiting", "a person approves this reply", "draft")
    return None


def _needs_approval(row: Any) -> bool:
    return bool(row["body"] not in notices.UNSEEN and (row["autonomy"] == "supervised" or row["proposal"] == "review"))


class Sender:
    """Sends what is in the outbox; one for each control plane. `instance` names it, and no other that ever was."""

    def __init__(self, pool: Pool, transport: Transport, on_ended: Callable[[UUID], None], *, instance: str) -> None:
        self._pool, self._transport, self._on_ended, self._instance = pool, transport, on_ended, instance
        self._news = asyncio.Event()
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._settling = self._settled = 0
        self._unsettled: set[UUID] = set()
        """What was handed to a channel and could not be written down."""
        self._outage = Outage(log, "sending")

    def look(self) -> None:
        """There may be something to send."""
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled; what is being sent then is seen to its end.

        A look at the table every 2 s finds what nobody spoke of, and what another control plane left half sent.
        """
        async with asyncio.TaskGroup() as sendings:
            try:
                await self._rounds(sendings)
            except asyncio.CancelledError:
                if self._running:
                    await asyncio.wait(self._running.values(), timeout=LONGEST_SENDING_SECONDS)
                raise

    async def _rounds(self, sendings: asyncio.TaskGroup) -> None:
        recovered = time.monotonic()
        while True:
            try:
                more = await self._round(sendings)
                if time.monotonic() - recovered > POLL_SECONDS:
                    recovered = time.monotonic()
                    await self._recover()
                self._outage.over()
            except StoreUnavailable as error:
                self._outage.lasts(error)
                more = False
            except Exception:
                log.exception("a round of sending failed")
                await asyncio.sleep(POLL_SECONDS)
                more = False
            if not more:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._news.wait()
        except TimeoutError:
            return

    async def _round(self, sendings: asyncio.TaskGroup) -> bool:
        """One look: whether it found as much as it asked for."""
        self._news.clear()
        room = MAX_PARALLEL - len(self._running)
        if room == 0:
            await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)
            return True
        with translated():
            rows = await self._due(room)
            verdicts = {row["outbox_id"]: None if row["channel"] == OWN else may_leave(row) for row in rows}
            leaving = {row["outbox_id"]: row["attempt"] for row in rows if verdicts[row["outbox_id"]] is None}
            claimed = set()
            if leaving:
                taken = await self._pool.fetch(SQL.claim, list(leaving), list(leaving.values()), self._instance)
                claimed = {row["outbox_id"] for row in taken}
        # What is claimed is begun at once: a claimed row that nobody sends looks as if it had perhaps been sent.
        for row in rows:
            if row["outbox_id"] in claimed:
                task = sendings.create_task(self._send(row), name=f"send {row['outbox_id']}")
                self._running[row["outbox_id"]] = task
        for row in rows:
            if (verdict := verdicts[row["outbox_id"]]) is not None:
                await self._settle_patiently(Seen(row["outbox_id"], row["attempt"], ("queued",)), verdict)
        return len(rows) == room

    async def _due(self, room: int) -> list[Any]:
        settled = self._settled
        rows = await self._pool.fetch(SQL.due, room, OF_ONE_EMPLOYEE, OF_ONE_TENANT)
        if self._settling or self._settled != settled:
            self.look()  # what ended meanwhile may have been read as not over, with others behind it
        return rows

    async def _send(self, row: Any) -> None:
        try:
            with telemetry.span("send", row["trace_context"] or "", **_attributes(row)) as sending:
                verdict = replace(await self._call(row), span_id=telemetry.span_id(sending))
                telemetry.annotate(outcome=verdict.state)
            # One that took long may pass for abandoned by now; what came of it is better known here.
            states = ("sending",) if verdict.state == "unknown_after_send" else ("sending", "unknown_after_send")
            await self._settle_patiently(Seen(row["outbox_id"], row["attempt"] + 1, states), verdict)
        finally:
            del self._running[row["outbox_id"]]

    async def _call(self, row: Any) -> Verdict:
        if row["channel"] in READ_FROM_TABLE:
            return Verdict("sent", "answered")  # whoever asked reads it from the table
        try:
            receipt = await self._transport.post(row["callback_url"], row["secret"], row["outbox_id"], _payload(row))
        except CallbackError as error:
            return _after(error, row["attempt"] + 1)
        except Exception as error:
            log.exception("sending %s failed in an unforeseen way", row["outbox_id"])
            return _after(Ambiguous(f"{type(error).__name__}: {error}"), row["attempt"] + 1)
        return Verdict("sent", "answered", receipt=receipt.as_json())

    async def _settle_patiently(self, seen: Seen, verdict: Verdict) -> None:
        """The receipt must be written: a database that is away is waited for. One bad row stops no other."""
        while True:
            try:
                await self._settle(seen, verdict)
            except StoreUnavailable as error:
                self._outage.lasts(error)
                await asyncio.sleep(POLL_SECONDS)
            except Exception:
                log.exception("the row %s of the outbox cannot be settled as %s", seen.outbox_id, verdict.state)
                self._unsettled.add(seen.outbox_id)
                return
            else:
                self._unsettled.discard(seen.outbox_id)
                return

    async def _settle(self, seen: Seen, verdict: Verdict) -> None:
        with translated(), self._counted():
            row = await self._pool.fetchrow(
                SQL.settle,
                seen.outbox_id,
                verdict.state,
                verdict.receipt,
                verdict.reason,
                verdict.retry_after,
                verdict.message_state,
                new_id(),
                verdict.review,
                DRAFT_DAYS,
                seen.states,
                seen.attempt,
                verdict.span_id,
            )
        if row is None or row["more"] or verdict.state == "queued":
            self.look()  # the next reply of the conversation has waited for this one, or another one for its place
        if row is not None and row["message_id"] is not None:
            self._on_ended(row["message_id"])

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._settling += 1
        try:
            yield
        finally:
            self._settling -= 1
            self._settled += 1

    async def _recover(self) -> None:
        """Sendings that nobody has in hand any more: what is read from the table never left, anything else may have.

        Except where the answer to a claim of this sender's was lost: that row was never handed to a channel.
        """
        with translated():
            rows = await self._pool.fetch(
                SQL.abandoned, list(self._running), self._instance, list(self._unsettled), LONGEST_SENDING_SECONDS
            )
        for row in rows:
            unknown = Verdict("unknown_after_send", "waiting", "interrupted while it was sent", "unknown_after_send")
            again = Verdict("queued", "sending", "interrupted before it was sent", retry_after=0)
            seen = Seen(row["outbox_id"], row["attempt"], ("sending",))
            await self._settle_patiently(
                seen, again if row["channel"] in READ_FROM_TABLE or row["unbegun"] else unknown
            )


def _attributes(row: Any) -> dict[str, str | int]:
    return {
        "employee": str(row["employee_id"]),
        "message_id": str(row["message_id"] or ""),
        "channel": row["channel"] or "",
        "kind": row["kind"],
        "attempt": row["attempt"] + 1,
    }


def _payload(row: Any) -> dict[str, Any]:
    return {
        "outbox_id": str(row["outbox_id"]),
        "kind": row["kind"],
        "message_id": str(row["message_id"] or ""),
        "event_id": row["event_id"],
        "conversation": row["conversation"],
        "employee": row["employee"],
        "recipient": row["sender"],
        "text": row["body"],
    }


def _after(error: CallbackError, attempt: int) -> Verdict:
    reason = f"{type(error).__name__}: {error}"
    match error:
        case NotSent() if attempt < MAX_ATTEMPTS:
            backoff = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (attempt - 1))
            return Verdict("queued", "sending", reason, retry_after=max(backoff, error.retry_after or 0))
        case Ambiguous():
            return Verdict("unknown_after_send", "waiting", reason, "unknown_after_send")
        case NotSent() | Rejected() | Blocked() | _:
            return Verdict("failed", "failed", reason, "needs_manual_intervention")
