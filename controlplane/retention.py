"""Retention: what employees leave behind at every cycle and run is removed once it is old, and nothing that is still needed.

Messages with all that was done for them and the audit log are kept; beliefs and memories fade by rules of their own.
"""

import asyncio
import logging

from empla.store.connect import Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "retention.sql")
TABLES = (
    "cycles",
    "employee_events",
    "belief_changes",
    "schedule_runs",
    "schedules",
    "intentions",
    "goal_changes",
    "goals",
    "budget_days",
    "alerts",
)
"""In this order: what the rows of one refer to goes after them."""
AT_ONCE = 1_000
"""Rows of a table that one statement removes, so that nobody waits for it."""
PAUSE_SECONDS = 1.0
REST_SECONDS = 3600.0


class Retention:
    """Removes what is older than `days`; 0 keeps everything."""

    def __init__(self, pool: Pool, days: int) -> None:
        self._pool, self._days = pool, days
        self._outage = Outage(log, "removing what is old")

    async def run(self) -> None:
        """Look every hour, or at once while there is more; runs until cancelled."""
        while self._days:
            more = True
            try:
                more = await self.round()
                self._outage.over()
            except StoreUnavailable as error:
                self._outage.lasts(error)
            await asyncio.sleep(PAUSE_SECONDS if more else REST_SECONDS)

    async def round(self) -> bool:
        """Remove some of what is old; whether there may be more. Raises `StoreUnavailable`."""
        return AT_ONCE in [await self._remove(table) for table in TABLES]

    async def _remove(self, table: str) -> int:
        """How many rows are removed; one table of which none can be keeps no other one."""
        try:
            with translated():
                removed: int = await self._pool.fetchval(SQL[table], self._days, AT_ONCE)
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("what is old of %s is removed in the next round", table)
            return 0
        if removed:
            log.info("removed %d rows of %s that are over %d days old", removed, table, self._days)
        return removed
