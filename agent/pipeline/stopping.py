"""Work that somebody wants stopped: what the row says is the truth, and what a frame says only makes it sooner.

A unit that is stopped asks no model any more and begins no action. The database lets it go nowhere but to its end, so
that of a stop and a step at the same time exactly one counts.
"""

from dataclasses import dataclass
from uuid import UUID

from agent.errors import Cancelled
from agent.pipeline.transitions import SQL
from empla.store.connect import Pool, translated


@dataclass(frozen=True, slots=True)
class Stop:
    """Who wants a unit stopped, and why, or the message that it gives way to.

    `tells`: its sender waits for something, and nobody else tells them.
    """

    by: str
    reason: str
    tells: bool
    gives_way_to: UUID | None

    @property
    def why(self) -> str:
        """For people."""
        if self.gives_way_to is not None:
            return f"gives way to message {self.gives_way_to}"
        return f"{self.by}: {self.reason}" if self.reason else self.by


async def stop_of(pool: Pool, unit_id: UUID) -> Stop | None:
    """Who wants a message or a worker stopped; None when nobody does. Raises `StoreUnavailable`."""
    with translated():
        row = await pool.fetchrow(SQL.cancelled, unit_id)
    return (
        None
        if row is None
        else Stop(row["cancelled_by"] or "", row["cancel_reason"], row["tells"], row["gives_way_to"])
    )


async def go_on_unless_stopped(pool: Pool, unit_id: UUID) -> None:
    """Raise `Cancelled` when somebody wants the unit stopped."""
    if (stop := await stop_of(pool, unit_id)) is not None:
        raise Cancelled(stop.why)
