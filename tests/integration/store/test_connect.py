"""Pools and the translation of connection errors, against a server that really goes away."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from empla.store.connect import Pool, connect, connect_once, translated
from empla.store.embedded import EmbeddedPostgres
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, drop_employee_role, employee_dsn
from tests.conftest import Database

COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"


async def test_jsonb_comes_and_goes_as_objects(database: Database) -> None:
    value = {"text": "grüße \U0001f44b", "list": [1, 2.5, None, True], "nested": {"a": {}}}
    async with database.connect() as pool:
        assert await pool.fetchval("SELECT $1::jsonb", value) == value
        assert await pool.fetchval("SELECT $1::jsonb", "text") == "text"
        assert await pool.fetchval("SELECT 'null'::jsonb") is None


async def test_arrays_are_known_without_a_look_at_the_catalogue(database: Database) -> None:
    now = datetime.now(UTC)
    values = {"bytea": b"a", "int": 1, "bigint": 2, "float8": 1.5, "timestamptz": now, "uuid": new_id(), "text": "a"}
    async with database.connect() as pool, pool.acquire() as connection:
        for of, value in values.items():
            assert await connection.fetchval(f"SELECT $1::{of}[]", [value, None]) == [value, None]
        prepared = await connection.fetch("SELECT statement FROM pg_prepared_statements")
    assert [row["statement"] for row in prepared if "pg_type" in row["statement"]] == []


async def test_idle_pool_holds_no_connection(database: Database) -> None:
    async with (
        database.connect() as observer,
        connect(database.dsn, application_name="idle", idle_lifetime=0.2) as pool,
    ):
        assert await observer.fetchval(COUNT, "idle") == 0
        await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.05)") for _ in range(4)))
        assert await observer.fetchval(COUNT, "idle") == 4
        await asyncio.sleep(0.5)
        assert await observer.fetchval(COUNT, "idle") == 0


async def test_pool_is_bounded(database: Database) -> None:
    async with connect(database.dsn, application_name="bounded", max_size=2) as pool:
        counts = await asyncio.gather(*(_count_slowly(pool) for _ in range(8)))
    assert max(counts) == 2


async def _count_slowly(pool: Pool) -> int:
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_sleep(0.02)")
        return int(await connection.fetchval(COUNT, "bounded"))


async def test_released_connection_is_rolled_back(database: Database) -> None:
    async with connect(database.dsn, application_name="tests", max_size=1) as pool:
        async with pool.acquire() as connection:
            await connection.execute("BEGIN; CREATE TABLE lost ()")
        async with pool.acquire() as connection:
            assert not connection.is_in_transaction()
            assert await connection.fetchval("SELECT to_regclass('lost')") is None


async def test_leaving_the_block_does_not_wait_for_a_stuck_query(database: Database) -> None:
    async with connect(database.dsn, application_name="tests", close_timeout=0.1) as pool:
        stuck = await pool.acquire()
        query = asyncio.ensure_future(stuck.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.05)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await query


async def test_server_that_goes_and_comes_back(short_directory: Path) -> None:
    server = EmbeddedPostgres(short_directory / "home")
    async with server, connect(server.dsn, application_name="tests") as pool:
        assert await pool.fetchval("SELECT 1") == 1
        await asyncio.to_thread(server.stop)
        for _ in range(2):
            with pytest.raises(StoreUnavailable), translated():
                await pool.fetchval("SELECT 1")
        await asyncio.to_thread(server.start)
        with translated():
            assert await pool.fetchval("SELECT 1") == 1


async def test_connection_lost_inside_a_transaction(database: Database) -> None:
    async with database.connect() as observer, database.connect() as pool:
        with pytest.raises(StoreUnavailable):
            await _lose_connection(pool, observer)


async def _lose_connection(pool: Pool, observer: Pool) -> None:
    with translated():
        async with pool.acquire() as connection, connection.transaction():
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            await observer.execute("SELECT pg_terminate_backend($1, 1000)", pid)
            await connection.execute("SELECT 1")


async def test_unanswered_command_is_unavailable(database: Database) -> None:
    async with connect(database.dsn, application_name="tests", command_timeout=0.1) as pool:
        with pytest.raises(StoreUnavailable), translated():
            await pool.execute("SELECT pg_sleep(5)")


async def test_cancelled_statement_is_unavailable(database: Database) -> None:
    async with database.connect() as pool, pool.acquire() as connection:
        await connection.execute("SET statement_timeout = '50ms'")
        with pytest.raises(StoreUnavailable), translated():
            await connection.execute("SELECT pg_sleep(5)")
        await connection.execute("RESET statement_timeout")


async def test_lock_that_is_held_too_long_is_unavailable(database: Database) -> None:
    async with database.connect() as pool, pool.acquire() as holder, pool.acquire() as other, holder.transaction():
        await holder.execute("LOCK TABLE tenants")
        with pytest.raises(StoreUnavailable), translated():
            async with other.transaction():
                await other.execute("LOCK TABLE tenants NOWAIT")


async def test_deadlock_is_unavailable_to_whoever_gives_way(database: Database) -> None:
    async def lock(tables: list[str], meeting: asyncio.Barrier) -> None:
        with translated():
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(f"LOCK TABLE {tables[0]}")
                await meeting.wait()
                await connection.execute(f"LOCK TABLE {tables[1]}")

    meeting, tables = asyncio.Barrier(2), ["tenants", "channels"]
    async with database.connect() as pool:
        both = (lock(tables, meeting), lock(tables[::-1], meeting))
        ends = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["NoneType", "StoreUnavailable"]


async def test_too_many_connections_is_unavailable(database: Database) -> None:
    employee_id, password = new_id(), "secret"
    async with database.connect() as owner:
        async with owner.acquire() as connection:
            await create_employee_role(connection, employee_id, password)
        dsn = employee_dsn(database.dsn, employee_id, password)
        async with connect(dsn, application_name="tests", max_size=13, close_timeout=0.1) as pool:
            with pytest.raises(StoreUnavailable), translated():
                await asyncio.gather(*(pool.acquire() for _ in range(13)))
        async with owner.acquire() as connection:
            await drop_employee_role(connection, employee_id)


async def test_no_server(tmp_path: Path) -> None:
    dsn = f"postgresql://empla:x@/empla?host={tmp_path}"
    with pytest.raises(StoreUnavailable):
        async with connect_once(dsn, application_name="tests"):
            pass
    with pytest.raises(StoreUnavailable):
        async with connect(dsn, application_name="tests", min_size=1):
            pass
    async with connect(dsn, application_name="tests") as pool:
        with pytest.raises(StoreUnavailable), translated():
            await pool.execute("SELECT 1")


async def test_other_errors_pass_through(database: Database) -> None:
    async with database.connect() as pool:
        with pytest.raises(asyncpg.UndefinedTableError), translated():
            await pool.execute("SELECT * FROM no_such_table")
        with pytest.raises(asyncpg.InterfaceError), translated():
            await pool.execute("SELECT $1::int", "not a number", 2)
        with pytest.raises(asyncpg.InvalidPasswordError), translated():
            await asyncpg.connect(database.dsn.replace("@", "x@"))
