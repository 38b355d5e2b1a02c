"""What is opened at its first use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from workstation.opening import OpenedOnUse


class Door:
    """Counts how often it was opened and closed; fails as often as it is told."""

    def __init__(self, *, failures: int = 0) -> None:
        self.opened, self.closed, self.failures = 0, 0, failures

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        await asyncio.sleep(0.01)
        if self.failures:
            self.failures -= 1
            raise LookupError("it is stuck")
        self.opened += 1
        try:
            yield "room"
        finally:
            self.closed += 1


async def test_it_is_opened_once_for_all_and_closed_at_the_end():
    door = Door()
    async with OpenedOnUse(door.open) as room:
        assert not room.is_open
        assert await asyncio.gather(*(room.get() for _ in range(3))) == ["room"] * 3
        assert room.is_open
        assert (door.opened, door.closed) == (1, 0)
    assert (door.opened, door.closed) == (1, 1)
    assert not room.is_open


async def test_what_nobody_uses_is_never_opened():
    door = Door()
    async with OpenedOnUse(door.open):
        pass
    assert door.opened == 0


async def test_whoever_asked_first_may_leave():
    door = Door()
    async with OpenedOnUse(door.open) as room:
        first = asyncio.ensure_future(room.get())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert await room.get() == "room"
        assert door.opened == 1


async def test_a_failure_is_told_and_tried_again():
    door = Door(failures=1)
    async with OpenedOnUse(door.open) as room:
        with pytest.raises(LookupError, match="stuck"):
            await room.get()
        assert not room.is_open
        assert await room.get() == "room"


async def test_whoever_waits_at_its_end_hears_how_that_went():
    door = Door(failures=1)
    room = OpenedOnUse(door.open)
    async with room:
        failing = asyncio.ensure_future(room.get())
        await asyncio.sleep(0)
    with pytest.raises(LookupError, match="stuck"):
        await failing


async def test_whoever_waits_is_not_left_waiting_when_opening_is_cancelled():
    @asynccontextmanager
    async def never() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield "room"

    async def hold() -> None:
        async with OpenedOnUse(never) as room:
            waiting.append(asyncio.ensure_future(room.get()))
            await asyncio.sleep(0)

    waiting = list[asyncio.Future[str]]()
    holding = asyncio.ensure_future(hold())
    for _ in range(5):  # it waits for the opening now
        await asyncio.sleep(0)
    holding.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({holding})
        await asyncio.wait(waiting)
    assert waiting[0].cancelled()


async def test_it_can_be_opened_again_after_its_end():
    door = Door()
    room = OpenedOnUse(door.open)
    for _ in range(2):
        async with room:
            await room.get()
    assert (door.opened, door.closed) == (2, 2)


async def test_what_breaks_by_itself_ends_nobody_else_and_is_opened_anew(caplog: pytest.LogCaptureFixture):
    broken = asyncio.Event()

    async def fail() -> None:
        await broken.wait()
        raise LookupError("it broke")

    @asynccontextmanager
    async def open_it() -> AsyncIterator[str]:
        async with asyncio.TaskGroup() as group:
            failing = group.create_task(fail())
            yield "room"
            failing.cancel()

    async with OpenedOnUse(open_it) as room:
        await room.get()
        broken.set()
        while room.is_open:
            await asyncio.sleep(0)
        broken.clear()
        assert await room.get() == "room"
    assert "opens it anew" in caplog.text
