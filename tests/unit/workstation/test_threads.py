"""Work in threads ends before those who asked for it go on."""

import asyncio
import threading
import time

import pytest

from workstation.errors import LimitExceeded, WorkstationUnavailable
from workstation.local.threads import Stop, Threads, clean_up


class Work:
    """Works until it is stopped, and then needs a moment to end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = False

    def __call__(self, stop: Stop) -> None:
        self.begun.set()
        try:
            while True:
                stop.check()
                time.sleep(0.001)
        finally:
            time.sleep(0.05)
            self.ended = True

    async def begins(self) -> None:
        while not self.begun.is_set():
            await asyncio.sleep(0.001)


async def test_cancelling_stops_the_work_and_waits_for_it_even_when_cancelled_twice() -> None:
    work = Work()
    task = asyncio.ensure_future(Threads().run(work))
    await work.begins()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended


async def test_closing_stops_the_work_and_refuses_more() -> None:
    work, threads = Work(), Threads()
    task = asyncio.ensure_future(threads.run(work))
    await work.begins()
    await threads.aclose()
    assert work.ended
    with pytest.raises(WorkstationUnavailable):
        await task
    with pytest.raises(WorkstationUnavailable):
        await threads.run(lambda _: None)


async def test_work_beyond_its_bound_ends() -> None:
    with pytest.raises(LimitExceeded) as caught:
        await Threads().run(Work(), stop=Stop(0.01, "tree_seconds"))
    assert (caught.value.limit, caught.value.allowed) == ("tree_seconds", 0.01)


async def test_clean_up_is_done_even_if_cancelled_before_a_thread_is_free() -> None:
    cleaned, free = threading.Event(), threading.Event()
    busy = [asyncio.to_thread(free.wait) for _ in range(40)]  # more than the executor has threads
    waiting = asyncio.gather(*busy)
    await asyncio.sleep(0)
    task = asyncio.ensure_future(clean_up(cleaned.set))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    free.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
    await waiting
