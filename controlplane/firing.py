"""Firing: when a schedule is due, its run becomes a message.

The schedule's row is locked while its runs are noted, their messages stored and the next time set, all in one transaction.
So several control planes share the work, and whatever kills one leaves each run done once or not yet.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from controlplane.channels import DELETED
from controlplane.errors import ControlError
from controlplane.receiver import Arrival, Receiver, Written
from controlplane.rounds import RETRY_SECONDS, in_turn, rounds
from empla.schedules import RUN, ImpossibleSchedule, Timing, timing
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "firing.sql")
CHANNEL = "empla_schedules"
LOOK_SECONDS = 30.0
"""The longest sleep: a clock may be set, and news be lost with the connection that brings them."""
ON_TIME = timedelta(seconds=60)
"""A run that is later than this is a missed one, to who wants none of those."""
MOST_AT_ONCE = 500
"""Runs that one transaction deals with."""
MOST_CAUGHT_UP = 100
"""Missed runs that are still done, the last ones, when all of them are wanted."""
_DONE = {"latest": 1, "all": MOST_CAUGHT_UP, "none": 1}
"""Runs that are done at once, the last ones; as long as so many have not ended, further runs are missed."""
_WHY_MISSED = {
    "latest": "a later run is done instead",
    "all": f"only the last {MOST_CAUGHT_UP} missed runs are done",
    "none": f"it was missed, and is not done over {ON_TIME.seconds} s late",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the runs that are due, and when the next one is; None: there is none."""

    fire: list[datetime]
    missed: list[datetime]
    next_at: datetime | None


def plan(when: Timing, due: datetime, now: datetime, catch_up: str) -> Plan:
    """Sort out the runs from `due` to `now`; of too many for one transaction, the first, none of which is done."""
    runs, following = [due], when.next_after(due)
    while following is not None and following <= now and len(runs) < MOST_AT_ONCE:
        runs.append(following)
        following = when.next_after(following)
    if following is not None and following <= now:
        return Plan([], runs[:-MOST_CAUGHT_UP], runs[-MOST_CAUGHT_UP])
    missed, fire = runs[: -_DONE[catch_up]], runs[-_DONE[catch_up] :]
    if catch_up == "none" and now - fire[-1] > ON_TIME:
        return Plan([], runs, following)
    return Plan(fire, missed, following)


class Firing:
    """Fires what is due. `now` is the time to go by, for whoever moves it; None means the database's."""

    def __init__(self, pool: Pool, receiver: Receiver, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._pool, self._receiver, self._now = pool, receiver, now

    async def run(self, dsn: str) -> None:
        """Fire until cancelled: asleep until a run is due, or the database at `dsn` tells that a schedule has changed."""
        await rounds(dsn, CHANNEL, self.fire_due, name="empla schedules", outage=Outage(log, "firing schedules"))

    async def fire_due(self) -> float:
        """Fire all that is due; returns the seconds until there may be more. One that cannot be fired stops no other.

        Raises `StoreUnavailable`.
        """
        aside = await in_turn(self._pool, self._due, self._fire, told=self._told, failed=_failed)
        with translated():
            seconds: float | None = await self._pool.fetchval(SQL.next, self._now(), aside)
        if seconds is None:
            return LOOK_SECONDS
        # What is due and was not fired, another control plane has in hand.
        return min(seconds, LOOK_SECONDS) if seconds > 0 else RETRY_SECONDS

    async def _due(self, connection: AnyConnection, aside: list[UUID]) -> Any:
        return await connection.fetchrow(SQL.due, self._now(), aside)

    def _told(self, _row: Any, written: list[Written]) -> None:
        for one in written:
            self._receiver.tell(one)

    async def _fire(self, connection: AnyConnection, row: Any) -> list[Written]:
        schedule_id = row["schedule_id"]
        if row["deleted"]:
            await connection.execute(SQL.end, schedule_id, "the employee was deleted")
            return []
        if row["disabled_at"] is not None:
            await connection.execute(SQL.end, schedule_id, DELETED)
            return []
        try:
            plan = await asyncio.to_thread(_plan, row)  # a time zone is read from a file
        except ImpossibleSchedule as error:
            log.warning("the schedule %s ends: %s", schedule_id, error)
            await connection.execute(SQL.end, schedule_id, f"it cannot run: {error}")
            return []
        await _note_missed(connection, row, plan.missed, _WHY_MISSED[row["catch_up"]])
        going_on = await connection.fetchval(SQL.going_on, schedule_id, row["employee_id"], row["conversation_id"])
        room = max(0, _DONE[row["catch_up"]] - going_on)
        first = max(0, len(plan.fire) - room)
        await _note_missed(connection, row, plan.fire[:first], _not_ended(going_on))
        written = [one for due in plan.fire[first:] if (one := await self._store(connection, row, due))]
        if plan.next_at is None:
            await connection.execute(SQL.end, schedule_id, "it has run for the last time")
        else:
            await connection.execute(SQL.advance, schedule_id, plan.next_at)
        return written

    async def _store(self, connection: AnyConnection, row: Any, due: datetime) -> Written | None:
        try:
            async with connection.transaction():
                written = await self._receiver.write(connection, _arrival(row, due))
        except ControlError as error:
            log.warning("the run of the schedule %s at %s is none: %s", row["schedule_id"], due, error)
            await _note_missed(connection, row, [due], f"it could not be stored: {error}")
            return None
        await connection.execute(SQL.note_fired, *_key(row, due), written.stored.message_id, row["now"])
        return written


def _failed(row: Any) -> UUID:
    log.exception("the schedule %s cannot be fired now", row["schedule_id"])
    schedule_id: UUID = row["schedule_id"]
    return schedule_id


def _not_ended(runs: int) -> str:
    return "an earlier run has not ended" if runs == 1 else f"{runs} earlier runs have not ended"


def _plan(row: Any) -> Plan:
    when = timing(row["kind"], row["expression"], row["time_zone"], anchor=row["anchor"])
    return plan(when, row["next_at"], row["now"], row["catch_up"])


def event_id(schedule_id: UUID, due: datetime) -> str:
    """What a run's message is known by, so that it is one message however often it is stored."""
    return f"schedule:{schedule_id}:{due.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _arrival(row: Any, due: datetime) -> Arrival:
    schedule = {"schedule_id": str(row["schedule_id"]), "name": row["name"], "due_at": due.isoformat()}
    return Arrival(
        tenant_id=row["tenant_id"],
        channel_id=row["channel_id"],
        employee_id=row["employee_id"],
        event_id=event_id(row["schedule_id"], due),
        sender=row["sender"],
        text=row["instruction"],
        conversation=row["conversation"],
        metadata={RUN: schedule},
    )


def _key(row: Any, due: datetime | list[datetime]) -> tuple[Any, ...]:
    return row["schedule_id"], due, row["tenant_id"], row["employee_id"]


async def _note_missed(connection: AnyConnection, row: Any, due: list[datetime], why: str) -> None:
    if due:
        await connection.execute(SQL.note_missed, *_key(row, due), why, row["now"])
