"""Employees that keep what all share."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from controlplane.strays import Strays
from empla.store.connect import Connection, Pool
from empla.store.roles import create_employee_role, employee_dsn
from tests.conftest import Database
from tests.factories import add_employee, add_tenant

CLOSED = asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError
HOLD = "SELECT FROM employee_epochs FOR UPDATE"
LONG_ENOUGH = 0.05


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with database.connect() as pool:
        yield pool


async def test_a_transaction_of_an_employee_that_lasts_is_ended_and_no_other(
    database: Database, pool: Pool, caplog: pytest.LogCaptureFixture
):
    dsn = await _employee(database, pool)
    keeping, idle = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    async with pool.acquire() as own, own.transaction():
        await own.execute("SELECT 1")
        await idle.execute("SELECT 1")
        await keeping.execute("BEGIN; SELECT FROM employee_epochs FOR KEY SHARE")
        await Strays(pool).round()
        await keeping.execute("SELECT 1")
        await asyncio.sleep(0.1)
        await Strays(pool, longest=0.05).round()
        await _is_ended(keeping)
        await pool.execute("SELECT FROM employee_epochs FOR UPDATE", timeout=10)
        await idle.execute("SELECT 1")
        await own.execute("SELECT 1")
    await idle.close()
    [said] = [record.getMessage() for record in caplog.records]
    assert str(urlsplit(dsn).username) in said


async def test_who_holds_others_up_is_ended_sooner_and_not_who_waits_as_well(
    database: Database, pool: Pool, caplog: pytest.LogCaptureFixture
):
    dsn = await _employee(database, pool)
    keeping, queued, quiet = [await asyncpg.connect(dsn) for _ in range(3)]
    for connection in (keeping, queued, quiet):
        await connection.execute("BEGIN")
    await quiet.execute("SELECT FROM inbound_messages")
    await keeping.execute(HOLD)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        next_in_line = tasks.create_task(queued.execute(HOLD))
        await _wait_for(pool, 1)
        launch = tasks.create_task(pool.execute(HOLD))
        await _wait_for(pool, 2)
        await Strays(pool).round()
        await keeping.execute("SELECT 1")
        await Strays(pool, held_up=LONG_ENOUGH).round()
        await _is_ended(keeping)
        await next_in_line
        assert not launch.done()
        await queued.execute("ROLLBACK")
    await quiet.execute("COMMIT")
    [said] = [record.getMessage() for record in caplog.records]
    assert str(urlsplit(dsn).username) in said
    assert "others wait" in said
    for connection in (queued, quiet):
        await connection.close()


async def test_who_reads_no_notifications_is_ended_when_they_pile_up(
    database: Database, pool: Pool, caplog: pytest.LogCaptureFixture
):
    listening = await asyncpg.connect(await _employee(database, pool))
    await listening.execute("LISTEN anything")
    await listening.execute("BEGIN")
    await pool.execute("SELECT pg_notify('something', n || repeat('x', 7000)) FROM generate_series(1, 100) n")
    await Strays(pool, held_up=0).round()
    await listening.execute("SELECT 1")
    await Strays(pool, held_up=0, queue=0).round()
    await _is_ended(listening)
    [said] = [record.getMessage() for record in caplog.records]
    assert "pile up" in said


async def _employee(database: Database, pool: Pool) -> str:
    """A new employee's address of the database."""
    employee_id = await add_employee(pool, await add_tenant(pool))
    async with pool.acquire() as connection:
        await create_employee_role(connection, employee_id, "password")
    return employee_dsn(database.dsn, employee_id, "password")


async def _wait_for(pool: Pool, sessions: int) -> None:
    """Return when so many sessions of this database have waited for a lock for long enough."""
    count = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted "
        "AND datname = current_database() AND waitstart < now() - make_interval(secs => $1)"
    )
    async with asyncio.timeout(30):
        while await pool.fetchval(count, LONG_ENOUGH) < sessions:
            await asyncio.sleep(0.01)


async def _is_ended(connection: Connection) -> None:
    async with asyncio.timeout(30):
        while not connection.is_closed():
            await asyncio.sleep(0.01)
    with pytest.raises(CLOSED):
        await connection.execute("SELECT 1")
