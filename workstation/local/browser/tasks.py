"""Tasks of a Browser's that run beside its calls, and end with it."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from playwright.async_api import Error

log = logging.getLogger(__name__)


class Tasks:
    """Owns tasks, open as an async context manager: leaving it cancels those that run and waits for them.

    A task that fails takes neither the others with it nor whoever opened this.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._open = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        for task in tuple(self._running):
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def begin[T](self, work: Coroutine[Any, Any, T], name: str) -> "asyncio.Future[T]":
        """Do something whose outcome somebody waits for, or nobody any more; cancelling the outcome cancels it.

        What begins after the end never runs: its outcome is cancelled.
        """
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = self.start(_settle(work, outcome), name)
        if task is None:
            work.close()
            outcome.cancel()
            return outcome

        def end(_: object) -> None:
            work.close()  # of a task that was cancelled before it ran
            outcome.cancel()

        task.add_done_callback(end)
        outcome.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)
        return outcome

    def start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None] | None":
        """Do something that nobody waits for: the log says how it failed. After the end nothing is started."""
        if not self._open:
            work.close()
            return None
        task = self._group.create_task(_logged(work, name), name=name)
        self._running.add(task)

        def end(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            work.close()  # of a task that was cancelled before it ran

        task.add_done_callback(end)
        return task


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Error as error:  # Playwright quotes what was typed
        log.warning("%s failed: %s", name, error.message.partition("\n")[0])
    except Exception:
        log.exception("%s failed", name)


async def _settle[T](work: Coroutine[Any, Any, T], outcome: "asyncio.Future[T]") -> None:
    try:
        result = await work
    except Exception as error:  # noqa: BLE001 - whoever waits for the outcome learns of it
        if not outcome.done():
            outcome.set_exception(error)
            outcome.exception()  # it counts as retrieved: nobody may be waiting any more
    else:
        if not outcome.done():
            outcome.set_result(result)
