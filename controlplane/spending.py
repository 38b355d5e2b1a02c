"""What employees spend: read from the ledgers of steps and cycles as they grow, a day at a time."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from controlplane.employees import EmployeeRecord
from empla.store.connect import Pool, load_queries, translated

SQL = load_queries("controlplane", "spending.sql")
DAYS = 7
MONTH_DAYS = 30
LOOK = timedelta(seconds=60)
SETTLED = timedelta(seconds=10)
"""After so long every attempt that ended is in the table, with clocks that are not further apart."""


class Spending:
    """The last seven days of UTC, today among them, and what a month like them costs in millionths of a dollar."""

    def __init__(self, pool: Pool, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool, self._now = pool, now
        self._until: datetime | None = None
        self._days: defaultdict[date, Counter[UUID]] = defaultdict(Counter)
        self._idle_days: defaultdict[date, Counter[UUID]] = defaultdict(Counter)

    async def look(self) -> None:
        """Read what was spent since the last look, of one day at most. Raises `StoreUnavailable`."""
        first, settled = self._first(), self._now() - SETTLED
        after = max(first, self._until or first)
        until = min(settled, after + timedelta(days=1))
        if until == settled and self._until is not None and settled - self._until < LOOK:
            return
        with translated():
            rows = await self._pool.fetch(SQL.spent, after, until)
        for row in rows:
            self._days[row["day"]][row["employee_id"]] += row["micros"]
            self._idle_days[row["day"]][row["employee_id"]] += row["idle_micros"]
        for days in (self._days, self._idle_days):
            for day in [day for day in days if day < first.date()]:
                del days[day]
        self._until = until

    def month_of(self, record: EmployeeRecord) -> tuple[int, int]:
        """What an employee spends in 30 days, and its proactive loop alone; one that is new by what it spent in a day."""
        lived = (self._now() - max(self._first(), record.created_at)) / timedelta(days=1)
        scale = MONTH_DAYS / max(1.0, lived)
        spent, idle = (sum(day[record.employee_id] for day in days.values()) for days in (self._days, self._idle_days))
        return round(spent * scale), round(idle * scale)

    def _first(self) -> datetime:
        return datetime.combine(self._now().date() - timedelta(days=DAYS - 1), time(), UTC)
