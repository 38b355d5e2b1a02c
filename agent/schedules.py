"""What people have asked the employee to do later, or again and again: each conversation's own schedules."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from agent.errors import ActionFailed, Superseded
from agent.identity import Identity
from empla.schedules import ImpossibleSchedule, check_wording, first_run, timing
from empla.store.connect import Pool, load_queries, translated

SQL = load_queries("agent", "schedules.sql")
_READING = ("browser", "compute", "workspace")
"""Capabilities that bring text of others."""
_TOO_MANY = "EM003"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A schedule as it was asked for; see `empla.schedules.timing`."""

    name: str
    kind: str
    expression: str
    time_zone: str
    instruction: str
    catch_up: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a message concerns schedules: `is_run`, nobody says it now; `read_others`, text of others was read for it."""

    is_run: bool
    read_others: bool
    now: datetime


class Schedules:
    """The schedules of one employee."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity

    async def asked(self, message_id: UUID) -> Asked:
        """What of the message concerns schedules; raises `ActionFailed` when there is no such message."""
        with translated():
            row = await self._pool.fetchrow(SQL.asked, message_id, self._identity.employee_id, list(_READING))
        if row is None:
            raise ActionFailed("NO_MESSAGE: schedules are made for somebody who asks for them in a message")
        return Asked(row["is_run"], row["read_others"], row["now"])

    async def create(self, schedule_id: UUID, message_id: UUID, wanted: Wanted) -> datetime:
        """Make a schedule for who wrote the message, once for each id, and say when it runs first.

        Raises `ActionFailed` when it could never run or may not be, `Superseded` when a newer launch owns the employee.
        """
        with translated():
            known: datetime | None = await self._pool.fetchval(SQL.first_run, schedule_id, self._identity.employee_id)
        if known is not None:
            return known  # made by an execution that did not come to say so
        asked = await self.asked(message_id)
        if asked.is_run:
            raise ActionFailed("IN_A_RUN: runs of schedules and steps of your own plans make no schedules")
        anchor = asked.now.replace(microsecond=0)
        try:
            check_wording(wanted.name, wanted.instruction, wanted.catch_up)
            # In a thread, for a time zone is read from a file.
            next_at = await asyncio.to_thread(
                lambda: first_run(timing(wanted.kind, wanted.expression, wanted.time_zone, anchor=anchor), asked.now)
            )
        except ImpossibleSchedule as error:
            raise ActionFailed(f"IMPOSSIBLE_SCHEDULE: {error.field}: {error}") from error
        await self._insert(
            schedule_id, message_id, wanted.name, wanted.kind, wanted.expression, wanted.time_zone, anchor,
            wanted.instruction, wanted.catch_up, next_at,
        )  # fmt: skip
        return next_at

    async def _insert(self, *values: Any) -> None:
        try:
            with translated():
                row = await self._pool.fetchrow(SQL.create, self._identity.employee_id, self._identity.epoch, *values)
        except asyncpg.UniqueViolationError as error:
            raise ActionFailed("NAME_IN_USE: there is a schedule of that name already; take another one") from error
        except asyncpg.PostgresError as error:
            if error.sqlstate != _TOO_MANY:
                raise
            raise ActionFailed(f"TOO_MANY_SCHEDULES: {error}; one must be cancelled first") from error
        if row is None:
            raise Superseded("a newer launch owns this employee")

    async def of_conversation(self, message_id: UUID) -> list[Any]:
        """The rows of the schedules of the message's conversation that have not ended."""
        with translated():
            return await self._pool.fetch(SQL.list, message_id, self._identity.employee_id)

    async def cancel(self, message_id: UUID, name: str) -> bool:
        """End the schedule of that name in the message's conversation; False when there was none. Raises `Superseded`."""
        with translated():
            row = await self._pool.fetchrow(
                SQL.cancel, self._identity.employee_id, self._identity.epoch, message_id, name
            )
        if row is None:
            raise Superseded("a newer launch owns this employee")
        known: bool = row["known"]
        return known
