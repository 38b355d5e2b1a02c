"""What a month costs, by the ledgers of steps and cycles."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from controlplane.employees import Employees
from controlplane.spending import DAYS, SETTLED, Spending
from empla.store.connect import Pool
from empla.store.ids import new_id
from tests.conftest import Database
from tests.factories import add_employee, add_tenant

NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)


@dataclass
class Ledger:
    """One employee, whose time is the test's."""

    pool: Pool
    tenant_id: UUID
    employee_id: UUID
    now: datetime = NOON
    spending: Spending = field(init=False)

    def __post_init__(self) -> None:
        self.spending = Spending(self.pool, lambda: self.now)

    async def step(self, at: datetime, micros: int | None) -> None:
        await self.pool.execute(
            "INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, queued_at, "
            "started_at, finished_at, duration_ms, outcome, cost_micros) "
            "VALUES ($1, 'x', 1, $1, $2, $3, 'work', $4, $4, $4, 1, 'succeeded', $5)",
            new_id(), self.tenant_id, self.employee_id, at, micros,
        )  # fmt: skip

    async def cycle(self, at: datetime, micros: int) -> None:
        await self.pool.execute(
            "INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase, cost_micros, started_at, finished_at) "
            "VALUES ($1, $2, $3, 1, 'done', $4, $5, $6)",
            new_id(), self.tenant_id, self.employee_id, micros, at - timedelta(minutes=1), at,
        )  # fmt: skip

    async def month(self, created_at: datetime, *, looks: int = 1) -> tuple[int, int]:
        await self.pool.execute("UPDATE employees SET created_at = $1", created_at)
        for _ in range(looks):
            await self.spending.look()
        return self.spending.month_of(await Employees(self.pool).by_id(self.employee_id))


@pytest.fixture
async def ledger(database: Database):
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        yield Ledger(pool, tenant_id, await add_employee(pool, tenant_id))


async def test_a_month_is_what_the_last_days_make(ledger: Ledger):
    long_ago = NOON - timedelta(days=100)
    assert await ledger.month(long_ago, looks=DAYS) == (0, 0)
    for days in (0, 3, 6, 7):
        await ledger.step(NOON - timedelta(days=days, hours=1), 600)
        await ledger.cycle(NOON - timedelta(days=days, hours=1), 50)
    await ledger.step(NOON - timedelta(hours=2), None)  # of a model without a price
    anew = Ledger(ledger.pool, ledger.tenant_id, ledger.employee_id)
    assert await anew.month(long_ago) == (round(650 * 30 / 6.5), round(50 * 30 / 6.5))  # of the first day alone
    assert await anew.month(long_ago, looks=DAYS) == (9_000, round(150 * 30 / 6.5))
    assert await anew.month(NOON - timedelta(days=4)) == (round(1950 * 30 / 4), round(150 * 30 / 4))
    assert await anew.month(NOON - timedelta(hours=1)) == (1950 * 30, 150 * 30)


async def test_each_is_counted_once_and_forgotten_after_a_week(ledger: Ledger):
    await ledger.step(NOON - timedelta(minutes=1), 100)
    assert (await ledger.month(NOON, looks=DAYS + 3))[0] == 3_000
    await ledger.step(NOON, 1)  # others may come that ended before
    ledger.now = NOON + SETTLED / 2
    assert (await ledger.month(NOON, looks=2))[0] == 3_000
    ledger.now = NOON + timedelta(minutes=2)
    assert (await ledger.month(NOON, looks=3))[0] == 3_030
    ledger.now = NOON + timedelta(days=DAYS)
    assert (await ledger.month(NOON, looks=DAYS + 1))[0] == 0
    assert not ledger.spending._days
