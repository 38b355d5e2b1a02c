"""Reviews that are decided: by a person, or by time. Whatever follows from a decision is one transaction with it.

What waits in the outbox is moved here. What waits in an employee is given an answer, which the employee reads from its
table; the frame on its stream only says that there is one.
"""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg

from controlplane import audit
from controlplane.auth import Operator
from controlplane.decisions import EXPIRED, Decision, decisions
from controlplane.errors import Invalid, NotNow, Unknown
from controlplane.gateway import Streams
from controlplane.rounds import every
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.v1 import control_pb2, gateway_pb2

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "reviews.sql")
SWEEP_SECONDS = 5.0
MAX_EXPIRED = 100
"""Reviews that one round of the sweep closes."""
SYSTEM = Operator("empla", control_pb2.SCOPE_OPERATE, None)
"""Who decides what time decides."""
_NOT_OPEN = "EM002"


class Reviews:
    """Decides reviews. `changed` hears of messages that moved, `look` that something may leave, a stream of an answer."""

    def __init__(
        self, pool: Pool, changed: Callable[[UUID], None], look: Callable[[], None], streams: Streams | None = None
    ) -> None:
        self._pool, self._changed, self._look = pool, changed, look
        self._streams = Streams() if streams is None else streams

    async def resolve(self, review_id: UUID, decision: Decision, operator: Operator) -> None:
        """Decide an open review of the operator's tenant, once.

        Raises `Unknown`, `Invalid` when the decision does not fit, `NotNow` when somebody else has decided.
        """
        with translated():
            review = await self._pool.fetchrow(SQL.faced, review_id, operator.tenant_id)
        if review is None:
            raise Unknown(f"there is no review {review_id}")
        if review["state"] != "open":
            by = f" by {review['resolved_by']}" if review["resolved_by"] else ""
            raise _ended(f"the review is {review['state']}{by} and asks for nothing any more")
        if decision is not EXPIRED:
            _check_fits(review, decision)
        try:
            await self._decide(review, decision, operator.name)
        finally:
            self._tell(review)  # even if not: the answer to a commit may have been lost, and to look costs little

    async def sweep(self) -> None:
        """Close what nobody decided in time; runs until cancelled."""
        await every(SWEEP_SECONDS, self.expire, name="closing what nobody decided")

    async def expire(self) -> None:
        """One round of the sweep. One review that cannot be closed stops no other."""
        with translated():
            rows = await self._pool.fetch(SQL.expired, MAX_EXPIRED)
        for row in rows:
            try:
                await self.resolve(row["review_id"], EXPIRED, SYSTEM)
            except NotNow:
                continue  # somebody has decided at the last moment
            except StoreUnavailable:
                raise
            except Exception:
                log.exception("the review %s cannot be closed", row["review_id"])

    async def _decide(self, review: Any, decision: Decision, actor: str) -> None:
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    await _apply(connection, review, decision, actor)
        except asyncpg.UniqueViolationError as error:
            raise _ended() from error
        except asyncpg.PostgresError as error:
            if error.sqlstate != _NOT_OPEN:
                raise
            raise _ended() from error

    def _tell(self, review: Any) -> None:
        """Those who wait hear of it; what they miss they find in the tables."""
        if review["message_id"] is not None:
            self._changed(review["message_id"])
        if review["outbox_id"] is not None:
            self._look()
        elif review["resumes"]:
            self._streams.resume(review["employee_id"], _resume(review))


def _check_fits(review: Any, decision: Decision) -> None:
    fitting = decisions(review["kind"], resumes=review["resumes"])
    if decision.verb in fitting:
        return
    gone = "" if review["resumes"] else "; nothing waits for it any more"
    raise Invalid(
        f"a review of the kind {review['kind']} takes {' or '.join(fitting)}, and not {decision.verb}{gone}",
        reason="DECISION_DOES_NOT_FIT",
        fields={"decision": f"{', '.join(fitting)}"},
    )


async def _apply(connection: AnyConnection, review: Any, decision: Decision, actor: str) -> None:
    """All that follows from a decision. Rows are locked in the order of everybody: outbox, message, review."""
    if not review["resumes"]:
        await _close(connection, review, decision, actor)
    elif review["outbox_id"] is not None:
        await _move_row(connection, review, decision, actor)
        await _close(connection, review, decision, actor)
    else:
        await _answer(connection, review, decision, actor)
    action = "review.expire" if decision is EXPIRED else "review.resolve"
    await audit.record(connection, review["tenant_id"], action, review["review_id"], decision.as_json(), actor=actor)


async def _close(connection: AnyConnection, review: Any, decision: Decision, actor: str) -> None:
    state = "expired" if decision is EXPIRED else "resolved"
    if not await connection.fetchval(SQL.close, review["review_id"], state, decision.as_json(), actor):
        raise _ended()


async def _answer(connection: AnyConnection, review: Any, decision: Decision, actor: str) -> None:
    await connection.execute(
        SQL.answer,
        _unit(review),
        str(review["review_id"]),
        review["message_id"],
        review["tenant_id"],
        review["employee_id"],
        decision.as_json(),
        actor,
    )


async def _move_row(connection: AnyConnection, review: Any, decision: Decision, actor: str) -> None:
    """Move the row of the outbox that the review is about, and the message with it if the row is its reply."""
    waits = "held" if review["kind"] == "draft" else "unknown_after_send"
    outbox_id, reason = review["outbox_id"], ""
    if decision.verb in ("approve", "edit"):
        state, text = "sending", decision.text or None
        moved = await connection.fetchrow(SQL.release, outbox_id, waits, text, actor)
    elif waits == "held":
        state, reason = "withheld", _refusal(decision, actor)
        moved = await connection.fetchrow(SQL.end_row, outbox_id, waits, "withheld", reason, None)
    else:
        state = "answered"
        moved = await connection.fetchrow(SQL.end_row, outbox_id, waits, "sent", "", {"confirmed_by": actor})
    if moved is None:
        raise _ended()
    if moved["kind"] == "reply":
        await connection.execute(SQL.move_message, moved["message_id"], state, reason)


def _refusal(decision: Decision, actor: str) -> str:
    if decision is EXPIRED:
        return decision.reason
    return f"{actor} turned it down" + (f": {decision.reason}" if decision.reason else "")


def _unit(review: Any) -> UUID:
    unit: UUID = review["worker_id"] or review["message_id"]
    return unit


def _resume(review: Any) -> gateway_pb2.ResumeUnit:
    return gateway_pb2.ResumeUnit(
        unit_id=str(_unit(review)), message_id=str(review["message_id"]), question_key=str(review["review_id"])
    )


def _ended(why: str = "the review is no longer open: somebody has decided, or it expired") -> NotNow:
    return NotNow(why, reason="REVIEW_ENDED")
