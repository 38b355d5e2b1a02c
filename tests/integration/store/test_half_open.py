"""A server that is gone without a goodbye: nothing waits for ever, and what comes back is used again."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from empla.store import connect as store
from empla.store.connect import Pool, connect, connect_once, translated
from empla.store.errors import StoreUnavailable
from tests.cable import Cable, cabled, cabled_over_tcp
from tests.conftest import Database

BOUND_SECONDS = 1.0
LONG_SECONDS = 600.0
"""Longer than a test waits."""
DROPPED_PACKETS = Path(__file__).with_name("dropped_packets.py")


@asynccontextmanager
async def behind_cable(database: Database, directory: Path) -> AsyncIterator[tuple[Cable, Pool]]:
    """A pool whose connections all go through a cable."""
    there = Path(database.socket)
    async with (
        cabled(str(directory / there.name), database.socket) as cable,
        connect(
            database.dsn.replace(str(there.parent), str(directory)),
            application_name="tests",
            max_size=2,
            connect_timeout=BOUND_SECONDS,
            command_timeout=BOUND_SECONDS,
            acquire_timeout=BOUND_SECONDS,
            close_timeout=BOUND_SECONDS,
        ) as pool,
    ):
        yield cable, pool


async def test_what_is_asked_of_a_server_that_has_gone_ends_and_what_comes_back_is_used(
    database: Database, short_directory: Path
) -> None:
    async with behind_cable(database, short_directory) as (cable, pool):
        assert await pool.fetchval("SELECT 1") == 1
        cable.freeze()
        async with asyncio.timeout(60):  # many times what any of these may take
            for _ in range(3):  # one for each connection of the pool, and one more
                with pytest.raises(StoreUnavailable), translated():
                    await pool.fetchval("SELECT 2")
            with pytest.raises(StoreUnavailable), translated():
                async with pool.acquire() as connection, connection.transaction():
                    await connection.execute("SELECT 3")
            cable.thaw()
            while True:
                try:
                    with translated():
                        assert await pool.fetchval("SELECT 4") == 4
                except StoreUnavailable:
                    continue
                break
            assert len(await asyncio.gather(*[pool.fetchval("SELECT 5") for _ in range(8)])) == 8


async def test_those_in_line_for_a_server_that_has_gone_do_not_wait_for_each_other(
    database: Database, short_directory: Path
) -> None:
    async with behind_cable(database, short_directory) as (cable, pool):
        assert await pool.fetchval("SELECT 1") == 1
        cable.freeze()
        async with asyncio.timeout(60):  # one after the other, 400 take minutes
            ends = await asyncio.gather(*[_asked(pool) for _ in range(400)])
        assert ends == ["the database is unavailable"] * 400
        cable.thaw()
        async with asyncio.timeout(60):
            while await _asked(pool) != "answered":
                pass


async def _asked(pool: Pool) -> str:
    try:
        with translated():
            await pool.fetchval("SELECT 1")
    except StoreUnavailable as error:
        return str(error).partition(":")[0]
    return "answered"


async def test_a_pool_is_closed_though_its_server_has_gone(database: Database, short_directory: Path) -> None:
    async with asyncio.timeout(60), behind_cable(database, short_directory) as (cable, pool):
        assert await pool.fetchval("SELECT 1") == 1
        cable.freeze()


@asynccontextmanager
async def behind_port(database: Database, **bounds: Any) -> AsyncIterator[tuple[Cable, Pool]]:
    """A pool of two connections that are there, over TCP."""
    async with (
        cabled_over_tcp(database.socket) as cable,
        connect(database.over(cable), application_name="tests", **bounds) as pool,
    ):
        async with pool.acquire() as one, pool.acquire() as other:
            assert [await one.fetchval("SELECT 1"), await other.fetchval("SELECT 1")] == [1, 1]
        yield cable, pool


async def test_one_statement_that_is_not_answered_replaces_every_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CANCEL_TIMEOUT", BOUND_SECONDS)
    async with (
        asyncio.timeout(60),
        behind_port(database, command_timeout=LONG_SECONDS, acquire_timeout=LONG_SECONDS) as (cable, pool),
    ):
        cable.silence()
        with pytest.raises(StoreUnavailable), translated():
            await pool.fetchval("SELECT 2", timeout=BOUND_SECONDS)
        for _ in range(3):  # one of these would take the other connection
            assert await pool.fetchval("SELECT 3", timeout=BOUND_SECONDS * 10) == 3
        assert cable.silent == 2


async def test_a_transaction_ends_though_nobody_answers_its_rollback(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CANCEL_TIMEOUT", BOUND_SECONDS)
    async with (
        asyncio.timeout(60),
        behind_port(database, command_timeout=LONG_SECONDS, acquire_timeout=LONG_SECONDS) as (cable, pool),
    ):
        with pytest.raises(StoreUnavailable):
            await _asked_in_silence(cable, pool)
        assert await pool.fetchval("SELECT 3") == 3


async def _asked_in_silence(cable: Cable, pool: Pool) -> None:
    with translated():
        async with pool.acquire() as connection, connection.transaction():
            cable.silence()
            await connection.fetchval("SELECT 2", timeout=BOUND_SECONDS)


async def test_what_a_vanished_client_had_locked_is_free_again(database: Database) -> None:
    async with connect_once(database.dsn, application_name="tests") as owner:
        name = await owner.fetchval("SELECT current_database()")
        await owner.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = 0")  # as servers come
    async with (
        asyncio.timeout(120),
        database.connect() as other,
        behind_port(database) as (cable, pool),
        pool.acquire() as connection,
    ):
        await connection.execute("BEGIN; LOCK TABLE tenants")
        cable.silence()
        while await _is_locked(other):
            await asyncio.sleep(0.5)
        connection.terminate()


async def test_a_process_that_stood_still_in_a_transaction_finds_the_database_unavailable(database: Database) -> None:
    async with database.connect() as pool:
        with pytest.raises(StoreUnavailable):
            await _stood_still(pool)


async def _stood_still(pool: Pool) -> None:
    with translated():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
            await asyncio.sleep(0.5)
            await connection.execute("SELECT 1")


async def test_lost_packets_end_connections_that_wait_and_those_that_do_not(database: Database) -> None:
    command = [sys.executable, str(DROPPED_PACKETS), database.dsn, database.superuser_dsn]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.splitlines() == ["the statement: unavailable", "the idle connection: closed"], ended


async def _is_locked(pool: Pool) -> bool:
    try:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE tenants NOWAIT")
    except asyncpg.LockNotAvailableError:
        return True
    return False
