"""How a unit ends that somebody wants stopped: whatever runs of it is interrupted, and what it had begun is recorded."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from agent.errors import Cancelled
from agent.identity import Identity
from agent.pipeline.effects import StoredEffects
from agent.pipeline.merge import notice_of_part
from agent.pipeline.step import Work
from agent.pipeline.stopping import Stop, stop_of
from agent.pipeline.subagents import cancel_those_of, of_worker
from agent.pipeline.transitions import SQL
from agent.pipeline.units import Move, Place, Record, Unit
from empla import notices
from empla.store.connect import Pool, translated


class Interruptions:
    """The blocks of this process that a stop interrupts at once."""

    def __init__(self) -> None:
        self._blocks: defaultdict[UUID, set[asyncio.Timeout]] = defaultdict(set)

    @asynccontextmanager
    async def interruptible(self, unit_id: UUID) -> AsyncIterator[None]:
        """Raises `Cancelled` when the block, which runs for this unit, was interrupted."""
        block, blocks = asyncio.timeout(None), self._blocks[unit_id]
        try:
            async with block:
                blocks.add(block)
                yield
        except TimeoutError:
            if not block.expired():
                raise
            raise Cancelled("interrupted") from None
        finally:
            blocks.discard(block)
            if not blocks and self._blocks.get(unit_id) is blocks:
                del self._blocks[unit_id]

    def interrupt(self, unit_id: UUID) -> None:
        """Interrupt every block that runs for this unit."""
        for block in self._blocks.get(unit_id, ()):
            block.reschedule(asyncio.get_running_loop().time())


class Ending:
    """Ends the units of one launch that are stopped. `abandon` ends what still runs in the world for a worker."""

    def __init__(self, pool: Pool, identity: Identity, abandon: Callable[[UUID], Awaitable[None]]) -> None:
        self._pool, self._identity, self._abandon = pool, identity, abandon
        self.running = Interruptions()

    async def hurry(self, message_id: UUID) -> None:
        """Interrupt whatever runs for those units of a message that are to stop, as the rows say."""
        with translated():
            rows = await self._pool.fetch(SQL.stopping, message_id)
        for row in rows:
            self.running.interrupt(row["unit_id"])

    async def move(self, work: Work, unit: Unit, record: Record | None) -> Move | None:
        """The move that ends a stopped unit where it stands, with what its attempt came to; None: nobody wants it stopped.

        What was done stays recorded, and of what was cut short, that. Raises `StoreUnavailable`; it may be called again.
        """
        stop = await stop_of(self._pool, unit.unit_id)
        if stop is None:
            return None
        if unit.machine == "worker":
            for unit_id in (unit.unit_id, *await of_worker(self._pool, self._identity, unit.unit_id)):
                await self._abandon(unit_id)
            await StoredEffects(self._pool, self._identity, work.unrecorded).cut_short(unit.unit_id)
            await cancel_those_of(self._pool, self._identity, unit.unit_id, stop.why)
        return _stopped(work, unit, stop, record)


def _stopped(work: Work, unit: Unit, stop: Stop, record: Record | None) -> Move:
    whole, gives_way = unit.machine == "message", stop.gives_way_to is not None
    return Move(
        unit=unit,
        to=Place(("collected" if gives_way else "withheld") if whole else "cancelled"),
        begins=False,
        record=None if record is None else replace(record, outcome="cancelled", output=None),
        reason=(f"cancelled by {stop.why}" if whole and not gives_way else stop.why)[:1000],
        ends=whole,
        outbox=[notice_of_part(work, unit, notices.CANCELLED)] if stop.tells else [],
    )
