"""Tasks that run beside the calls of a browser."""

import asyncio

import pytest
from playwright.async_api import Error

from workstation.local.browser.tasks import Tasks


async def fail(error: Exception) -> None:
    raise error


async def test_one_that_fails_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async with Tasks() as tasks:
        other = tasks.begin(asyncio.sleep(0.01, "done"), "other")
        tasks.start(fail(ValueError("a fault")), "the first")
        tasks.start(fail(Error("it went wrong\nCall log: fill('a password')")), "the second")
        assert await other == "done"
    assert "the first failed" in caplog.text
    assert "it went wrong" in caplog.text
    assert "a password" not in caplog.text


async def test_who_waits_learns_how_it_failed(caplog: pytest.LogCaptureFixture) -> None:
    async with Tasks() as tasks:
        with pytest.raises(ValueError, match="a fault"):
            await tasks.begin(fail(ValueError("a fault")), "the first")
    assert not caplog.text


async def test_cancelling_the_outcome_cancels_the_work() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async with Tasks() as tasks:
        outcome = tasks.begin(work(), "work")
        await asyncio.sleep(0)
        outcome.cancel()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_the_end_ends_what_runs_and_what_has_not_begun_to() -> None:
    async with Tasks() as tasks:
        running = tasks.begin(asyncio.sleep(60), "running")
        await asyncio.sleep(0)
        fresh = tasks.begin(asyncio.sleep(60), "fresh")
        task = tasks.start(asyncio.sleep(60), "nobody's")
    assert running.cancelled()
    assert fresh.cancelled()
    assert task is not None
    assert task.done()


async def test_after_the_end_nothing_begins() -> None:
    async with Tasks() as tasks:
        pass
    assert tasks.begin(asyncio.sleep(60), "late").cancelled()
    assert tasks.start(asyncio.sleep(60), "late") is None
