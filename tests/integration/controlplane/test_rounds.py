"""Rounds that are told of, by a connection that may fall silent."""

import asyncio
import logging

import pytest

from controlplane import rounds as rounding
from controlplane.rounds import rounds
from empla.store import connect as store
from empla.store.outage import Outage
from tests.cable import cabled_over_tcp
from tests.conftest import Database

SOON, NEVER = 0.1, 3600.0


async def test_a_connection_that_stands_and_says_nothing_any_more_gives_place_to_another(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    for module, name in ((rounding, "ANSWER_SECONDS"), (rounding, "RETRY_SECONDS"), (store, "CANCEL_TIMEOUT")):
        monkeypatch.setattr(module, name, SOON)
    until_next, worked = SOON, 0

    async def work() -> float:
        nonlocal worked
        worked += 1
        return until_next

    async def until_worked(times: int) -> None:
        end = worked + times
        while worked < end:
            await pool.execute("SELECT pg_notify('news', '')")
            await asyncio.sleep(0.02)

    async with (
        database.connect() as pool,
        cabled_over_tcp(database.socket) as cable,
        asyncio.timeout(20),
        asyncio.TaskGroup() as group,
    ):
        outage = Outage(logging.getLogger(__name__), "the test")
        running = group.create_task(rounds(database.over(cable), "news", work, name="tests", outage=outage))
        await until_worked(1)
        before = cable.connections
        cable.silence()
        while cable.connections == before:
            await asyncio.sleep(0.01)
        until_next = NEVER
        await until_worked(3)  # each of them told of
        running.cancel()
