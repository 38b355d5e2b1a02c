"""A server that is gone without a goodbye: nothing waits for ever, and what comes back is used again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from empla.store.connect import Pool, connect, translated
from empla.store.errors import StoreUnavailable
from tests.cable import Cable, cabled
from tests.conftest import Database

SOCKET = ".s.PGSQL.5432"
BOUND_SECONDS = 1.0


@asynccontextmanager
async def behind_cable(database: Database, directory: Path) -> AsyncIterator[tuple[Cable, Pool]]:
    """A pool whose connections all go through a cable."""
    there = parse_qs(urlsplit(database.dsn).query)["host"][0]
    async with (
        cabled(str(directory / SOCKET), f"{there}/{SOCKET}") as cable,
        connect(
            database.dsn.replace(there, str(directory)),
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
