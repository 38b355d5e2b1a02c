import asyncio
from collections.abc import Awaitable, Callable

import pytest

from workstation.egress.clock import Clock
from workstation.egress.endings import Ending, failed, limited


async def ending_of(work: Callable[[Clock], Awaitable[object]], *, total: float = 60) -> Ending:
    """The ending of a block that does `work`."""
    try:
        async with Clock(total) as clock:
            await work(clock)
    except Ending as ending:
        return ending
    raise AssertionError("the block came to its own end")


async def test_a_step_that_takes_too_long_ends_with_its_own_ending() -> None:
    late = failed(504, "late")

    async def work(clock: Clock) -> None:
        clock.allow(60, failed(504, "another"))
        clock.allow(0.01, late)
        await asyncio.Event().wait()

    assert await ending_of(work) is late


async def test_progress_gives_a_step_its_time_anew_but_not_beyond_the_end() -> None:
    async def work(clock: Clock) -> None:
        clock.allow(0.2, failed(504, "late"))
        while True:
            await asyncio.sleep(0.02)
            clock.touch()

    assert (await ending_of(work, total=0.3)).reason == "it was not done after 0.3 seconds"


async def test_whoever_stops_a_block_says_why_and_nothing_after_that_counts() -> None:
    why = limited(503, "stopped")

    async def work(clock: Clock) -> None:
        clock.stop(why)
        clock.stop(limited(503, "again"))
        clock.allow(60, failed(504, "late"))
        await asyncio.Event().wait()

    assert await ending_of(work) is why


async def test_a_block_that_is_over_is_stopped_by_nobody() -> None:
    async with Clock(60) as clock:
        pass
    clock.stop(limited(503, "too late"))
    clock.touch()


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(KeyError):
        async with Clock(60):
            raise KeyError
