"""A thread of its own for what may hang: code of others that knows nothing of an event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

type Outcome = tuple[Any, BaseException | None]


class OwnThread:
    """A thread that does one thing after another for an event loop. One that hangs ends with the process and keeps nobody.

    It is `free` when it has nothing to do, and `left` while it is at something that nobody waits for any more.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._orders: SimpleQueue[tuple[asyncio.Future[Outcome], Callable[[], Any]] | None] = SimpleQueue()
        self.free = asyncio.Event()
        self.left = False
        self.free.set()
        Thread(target=self._serve, name=name, daemon=True).start()

    async def call(self, what: Callable[[], Any]) -> Any:
        """What `what` gives or raises; when this is cancelled it goes on, and until its end the thread is not `free`."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self.free.clear()
        self._orders.put((future, partial(copy_context().run, what)))
        try:
            result, error = await future
        finally:
            self.left = not self.free.is_set()
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        """End the thread once it has done what it is at."""
        self._orders.put(None)

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            future, what = order
            outcome: Outcome
            try:
                outcome = what(), None
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                outcome = None, error
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._done, future, outcome)

    def _done(self, future: asyncio.Future[Outcome], outcome: Outcome) -> None:
        self.free.set()
        self.left = False
        if not future.done():
            future.set_result(outcome)
