"""What a launch takes as its own from the tables: what an earlier one left, what was answered, and what is to be stopped."""

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.pipeline.restoring import Left, alone, collected_of, restored, rows_of
from agent.pipeline.step import Collected
from agent.pipeline.transitions import SQL
from empla.store.connect import Pool, translated

log = logging.getLogger(__name__)

MAX_TAKEN_OVER = 10_000
MAX_TAKEN_UP = 1_000


@dataclass(frozen=True, slots=True)
class Taking:
    """Reads for one launch of one employee; each raises `StoreUnavailable`."""

    pool: Pool
    identity: Identity

    async def claim(self, message_id: UUID) -> Any | None:
        """The row of a delivered message that is from now on this launch's; None when it may not be claimed (any more)."""
        with translated():
            return await self.pool.fetchrow(SQL.claim, [message_id], self.identity.employee_id, self.identity.epoch)

    async def take_over(self) -> list[Left]:
        """Everything live that an earlier launch left; raises `Superseded`."""
        me, epoch = self.identity.employee_id, self.identity.epoch
        with translated():
            async with self.pool.acquire() as connection:
                taken = await connection.fetchrow(SQL.take_over, me, epoch)
                if taken is None or not taken["owner"]:
                    raise Superseded("a newer launch owns this employee")
                messages = await connection.fetch(SQL.live_messages, me, epoch, MAX_TAKEN_OVER)
                ids = [row["message_id"] for row in messages]
                rows = await rows_of(connection, ids)
        if taken["messages"]:
            log.info("took over %d messages of an earlier launch", taken["messages"])
        return [restored(row, rows) for row in messages]

    async def answered(self) -> list[Left]:
        """What waited and has an answer that nobody has taken."""
        return await self._units(SQL.take_up, self.identity.employee_id, self.identity.epoch, MAX_TAKEN_UP)

    async def to_be_stopped(self) -> list[Left]:
        """What waits and is to be stopped."""
        return await self._units(SQL.take_up_stopped, self.identity.employee_id, self.identity.epoch)

    async def late(self) -> list[Left]:
        """The parts that are to be finished after their message was merged."""
        return await self._units(SQL.late_workers, self.identity.employee_id, self.identity.epoch)

    async def collected(self, message_id: UUID) -> list[Collected]:
        """What a message is answered for as well."""
        with translated():
            return [collected_of(row) for row in await self.pool.fetch(SQL.collected, [message_id])]

    async def _units(self, statement: str, *arguments: Any) -> list[Left]:
        """Single units, each with the whole work of its message; `answer` is what they were taken up for."""
        with translated():
            async with self.pool.acquire() as connection:
                found = await connection.fetch(statement, *arguments)
                if not found:
                    return []
                ids = list({row["message_id"] for row in found})
                messages = {row["message_id"]: row for row in await connection.fetch(SQL.messages, ids)}
                rows = await rows_of(connection, ids)
        return [alone(row, messages[row["message_id"]], rows) for row in found]
