"""Rounds that come one after the other, whatever happens in them."""

import asyncio

import pytest

from controlplane.rounds import every
from empla.store.errors import StoreUnavailable


async def test_what_a_round_raises_ends_no_other_and_an_outage_is_told_once(caplog: pytest.LogCaptureFixture):
    away = StoreUnavailable("the server is gone")
    outcomes = [None, away, away, RuntimeError("nobody foresaw this"), away, None]
    done = asyncio.Event()

    async def work() -> None:
        if not outcomes:
            done.set()
        elif (error := outcomes.pop(0)) is not None:
            raise error

    caplog.set_level("INFO")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(every(0.001, work, name="counting"))
        await done.wait()
        running.cancel()
    assert [record.getMessage() for record in caplog.records] == [
        "the database is away, counting waits: the server is gone",
        "counting waits for the next round",
        "the database is back, counting goes on",
    ]
