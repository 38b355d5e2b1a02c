"""Stepping: a step of an employee's intention that is ready becomes a message of the employee to itself.

The step's row is locked while its message is stored and the step moves on, all in one transaction. So several control planes
share the work, and whatever kills one leaves each step one message or none yet. What goes on for a plan that has ended,
whoever ended it, is stopped.
"""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg

from controlplane.channels import own_channel
from controlplane.errors import ControlError, NotNow
from controlplane.receiver import Arrival, Receiver, Written
from controlplane.rounds import RETRY_SECONDS, in_turn, rounds
from controlplane.stopping import Stopping, Wish
from empla.goals import STEP, step_event
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "stepping.sql")
CHANNEL = "empla_steps"
MOST_STOPPED = 100
"""In one round; the next follows soon."""
PLAN_ENDED = Wish("empla", "its plan has ended")
LOOK_SECONDS = 30.0
"""The longest sleep: news may be lost with the connection that brings them."""
_UNSTORABLE = (ControlError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)

type _Steps = list[tuple[UUID, int]]


class Stepping:
    """Begins what is ready; `wake` is told of each employee with a step that failed before it began."""

    def __init__(
        self, pool: Pool, receiver: Receiver, stopping: Stopping, wake: Callable[[UUID], None] = lambda _: None
    ) -> None:
        self._pool, self._receiver, self._stopping, self._wake = pool, receiver, stopping, wake

    async def run(self, dsn: str) -> None:
        """Begin steps until cancelled: asleep until the database at `dsn` tells that one is ready."""
        await rounds(dsn, CHANNEL, self.begin_ready, name="empla steps", outage=Outage(log, "beginning steps"))

    async def begin_ready(self) -> float:
        """Begin all that is ready, and stop what was begun for plans that have ended.

        One step with which that cannot be done hinders no other. Returns the seconds until there may be more; raises
        `StoreUnavailable`.
        """
        more_to_stop = await self._stop_ended()
        aside = await in_turn(self._pool, _ready, self._begin, told=self._told, failed=_failed)
        with translated():
            more = await self._pool.fetchval(SQL.more, *_columns(aside))
        # What is left of the ready ones, another control plane has in hand.
        return RETRY_SECONDS if more or more_to_stop else LOOK_SECONDS

    async def _stop_ended(self) -> bool:
        """Whether there may be more."""
        with translated():
            rows = await self._pool.fetch(SQL.of_ended_plans, MOST_STOPPED)
        for row in rows:
            try:
                await self._stopping.stop(row["message_id"], PLAN_ENDED)
            except NotNow:
                pass  # it has come to its end meanwhile
            except StoreUnavailable:
                raise
            except Exception:
                log.exception("the message %s of a plan that has ended cannot be stopped now", row["message_id"])
        return len(rows) == MOST_STOPPED

    def _told(self, row: Any, begun: Written | str) -> None:
        match begun:
            case Written():
                self._receiver.tell(begun)
            case "failed":
                self._wake(row["employee_id"])

    async def _begin(self, connection: AnyConnection, row: Any) -> Written | str:
        """What was stored, or how the step has ended instead."""
        step = row["intention_id"], row["step"]
        if row["deleted"] or row["over"]:
            why = "the employee was deleted" if row["deleted"] else "its plan had ended"
            await connection.execute(SQL.end, *step, "skipped", why)
            return "skipped"
        try:
            async with connection.transaction():
                channel_id = await own_channel(connection, row["tenant_id"])
                written = await self._receiver.write(connection, _arrival(row, channel_id))
                await connection.execute(SQL.run, *step, written.stored.message_id)
        except _UNSTORABLE as error:
            log.warning("step %s of the intention %s cannot be begun: %s", row["step"], row["intention_id"], error)
            await connection.execute(SQL.end, *step, "failed", f"it could not be begun: {error}")
            return "failed"
        return written


async def _ready(connection: AnyConnection, aside: _Steps) -> Any:
    return await connection.fetchrow(SQL.ready, *_columns(aside))


def _failed(row: Any) -> tuple[UUID, int]:
    log.exception("step %s of the intention %s cannot be begun now", row["step"], row["intention_id"])
    return row["intention_id"], row["step"]


def _arrival(row: Any, channel_id: UUID) -> Arrival:
    step = {"intention_id": str(row["intention_id"]), "step": row["step"], "of": row["steps"]}
    said = {name: row[name] for name in ("name", "title", "goal")}
    return Arrival(
        tenant_id=row["tenant_id"],
        channel_id=channel_id,
        employee_id=row["employee_id"],
        event_id=step_event(row["intention_id"], row["step"]),
        sender=row["employee"],
        text=row["instruction"],
        # Of the whole plan, so that each step is told what came out of those before it.
        conversation=f"intention:{row['intention_id']}",
        metadata={STEP: step | said},
    )


def _columns(steps: _Steps) -> tuple[list[UUID], list[int]]:
    return [intention_id for intention_id, _ in steps], [step for _, step in steps]
