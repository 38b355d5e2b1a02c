"""Shares of what is there once for all."""

import asyncio

from controlplane.shares import Shares


async def test_a_place_rests_only_while_others_wait_for_it():
    """The clock is the loop's: what rests is due at a time that the test can read."""
    shares, loop = Shares(1, rest=1000.0), asyncio.get_running_loop()
    for _ in range(3):  # nobody waits
        async with asyncio.timeout(5), shares.of("loud"):
            await asyncio.sleep(0.01)
    entered: list[float] = []

    async def take(key: str) -> None:
        async with shares.of(key):
            entered.append(loop.time())
            await asyncio.sleep(0.01)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(take("loud"))
        await asyncio.sleep(0)
        quiet = group.create_task(take("quiet"))
        await quiet
        assert len(entered) == 2  # it waited for nobody
    assert entered[-1] - entered[0] >= 1.0  # the longest rest


async def test_what_fails_or_is_cancelled_gives_its_place_back():
    shares = Shares(1, rest=1.0)

    async def fail() -> None:
        async with shares.of("loud"):
            await asyncio.sleep(0)
            raise ValueError

    results = await asyncio.gather(*(fail() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError] * 3
    async with asyncio.timeout(5), shares.of("loud"):
        waiting = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5), shares.of("loud"):
        pass
