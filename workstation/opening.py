"""What is opened at its first use, so that who never needs it holds nothing of it."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)


class OpenedOnUse[T]:
    """Opens a resource when it is first asked for, and closes it with itself; an async context manager.

    A task of its own holds it open: whoever asks first may be cancelled at any moment, which must not close it for the
    others. An attempt that failed is made again when it is next asked for.
    """

    def __init__(self, open_it: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._open = open_it
        self._opened: asyncio.Future[T] | None = None
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._closing.clear()
        self._tasks = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        await self._tasks.__aexit__(None, None, None)
        self._opened = None

    @property
    def is_open(self) -> bool:
        """Whether it was opened and can be used at once."""
        return self._opened is not None and self._opened.done() and self._opened.exception() is None

    async def get(self) -> T:
        """The resource, opened if it is not yet; raises what opening it raises."""
        if self._opened is None or (self._opened.done() and not self.is_open):
            self._opened = asyncio.get_running_loop().create_future()
            self._tasks.create_task(self._hold(self._opened), name="opened on use")
        return await asyncio.shield(self._opened)

    async def _hold(self, opened: asyncio.Future[T]) -> None:
        try:
            async with self._open() as resource:
                opened.set_result(resource)
                await self._closing.wait()
        except Exception as error:
            if not opened.done():
                opened.set_exception(error)  # for whoever asked
            elif self._closing.is_set():
                raise
            else:
                log.exception("what was opened broke by itself; its next use opens it anew")
                self._opened = None
        finally:
            opened.cancel()  # nobody waits for what is opened no more
