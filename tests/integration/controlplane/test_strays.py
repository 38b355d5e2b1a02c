"""Employees that keep what all share."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from controlplane.strays import Strays
from empla.store.connect import Pool
from empla.store.roles import create_employee_role, drop_employee_role, employee_dsn, employee_role
from tests.conftest import Database
from tests.factories import add_employee, add_tenant

CLOSED = asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with database.connect() as pool:
        yield pool


async def test_a_transaction_of_an_employee_that_lasts_is_ended_and_no_other(
    database: Database, pool: Pool, caplog: pytest.LogCaptureFixture
):
    employee_id = await add_employee(pool, await add_tenant(pool))
    async with pool.acquire() as connection:
        await create_employee_role(connection, employee_id, "password")
    dsn = employee_dsn(database.dsn, employee_id, "password")
    keeping, idle = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    async with pool.acquire() as own, own.transaction():
        await own.execute("SELECT 1")
        await idle.execute("SELECT 1")
        await keeping.execute("BEGIN; SELECT FROM employee_epochs FOR KEY SHARE")
        await Strays(pool).round()
        await keeping.execute("SELECT 1")
        await asyncio.sleep(0.1)
        await Strays(pool, longest=0.05).round()
        async with asyncio.timeout(30):
            while not keeping.is_closed():
                await asyncio.sleep(0.01)
        with pytest.raises(CLOSED):
            await keeping.execute("SELECT 1")
        await pool.execute("SELECT FROM employee_epochs FOR UPDATE", timeout=10)
        await idle.execute("SELECT 1")
        await own.execute("SELECT 1")
    await idle.close()
    async with pool.acquire() as connection:
        await drop_employee_role(connection, employee_id)
    [said] = [record.getMessage() for record in caplog.records]
    assert employee_role(employee_id) in said
