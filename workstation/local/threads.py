"""Running what may block in threads that end when their caller does."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from workstation.errors import LimitExceeded, WorkstationUnavailable


class Stop:
    """Tells work in a thread that nobody waits for it any more, or that it has taken `seconds`, the bound called `limit`."""

    def __init__(self, seconds: float | None = None, limit: str = "") -> None:
        self._event = threading.Event()
        self._seconds = seconds
        self._limit = limit
        self._started = time.monotonic()

    def set(self) -> None:
        """Ask the work to end."""
        self._event.set()

    def check(self) -> None:
        """Raise `WorkstationUnavailable` or `LimitExceeded` if the work is to end; long work calls this often."""
        if self._event.is_set():
            raise WorkstationUnavailable("the workstation was closed, or the call was cancelled")
        if self._seconds is not None and time.monotonic() - self._started > self._seconds:
            message = f"not done after {self._seconds:g} s"
            raise LimitExceeded(message, limit=self._limit, allowed=self._seconds)


class Threads:
    """Work in threads, owned: cancelling a caller stops its work, and closing stops and awaits all."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Future[Any], Stop] = {}
        self._closed = False

    async def run[T](self, work: Callable[[Stop], T], *, stop: Stop | None = None) -> T:
        """Run `work` in a thread; returns only after it ended, even when cancelled, so that what it used can be closed."""
        if self._closed:
            raise WorkstationUnavailable("the workstation is closed")
        stop = stop or Stop()
        future = asyncio.get_running_loop().run_in_executor(None, work, stop)
        self._running[future] = stop
        future.add_done_callback(self._running.pop)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            stop.set()
            await _ended(future)
            raise

    async def aclose(self) -> None:
        """Stop all work and wait until it ended; later work is refused."""
        self._closed = True
        for stop in self._running.values():
            stop.set()
        for future in tuple(self._running):
            await _ended(future)


async def clean_up(work: Callable[[], None]) -> None:
    """Run what must not be left undone in a thread; returns only after it ended, even when cancelled meanwhile."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


async def _ended(future: asyncio.Future[Any]) -> None:
    while not future.done():
        with suppress(asyncio.CancelledError):  # cancelled again: the work is stopping already, and must be gone first
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # retrieved, so that the loop does not report it
