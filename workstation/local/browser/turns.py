"""Calls on one page: whose turn it is, and how each ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import Error

from empla.telemetry import traceparent
from workstation.egress import Door
from workstation.errors import BrowserError, PageCrashed, PageTimedOut, WorkstationUnavailable
from workstation.local.browser.dialogs import Dialogs
from workstation.local.browser.failures import is_gone, translate

_CANCEL_SECONDS = 5.0

type Ending = type[BrowserError | WorkstationUnavailable]


class Turns:
    """Runs the calls on one page one after another; each ends when its time is over, or the page is.

    `learn_end` finds out how the page ended, when Playwright says that it is gone.
    """

    def __init__(
        self,
        page_id: str,
        dialogs: Dialogs,
        *,
        mask: Callable[[str], str],
        door: Callable[[], Door | None],
        learn_end: Callable[[], Awaitable[None]],
    ) -> None:
        self._page_id, self._dialogs, self._mask, self._door = page_id, dialogs, mask, door
        self._learn_end = learn_end
        self._turn = asyncio.Lock()
        self.ended: asyncio.Future[tuple[Ending, str]] = asyncio.get_running_loop().create_future()
        """Done when the page is over: what every call on it raises."""
        self.used = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long nobody has used the page."""
        return 0.0 if self._turn.locked() else time.monotonic() - self.used

    @property
    def crashed(self) -> bool:
        """Whether the page died."""
        return self.ended.done() and self.ended.result()[0] is PageCrashed

    def end(self, kind: Ending, message: str) -> None:
        """The page is over: what runs on it ends with this."""
        if not self.ended.done():
            self.ended.set_result((kind, message))
        self._dialogs.close()

    def require_open(self) -> None:
        """Raise what the page ended with, if it has."""
        if not self.ended.done():
            return
        kind, message = self.ended.result()
        if issubclass(kind, BrowserError):
            raise kind(message, page_id=self._page_id)
        raise kind(message)

    async def call[T](
        self, work: Callable[[], Awaitable[T]], seconds: float, late: str = "", ref: str | None = None
    ) -> T:
        """Do something in turn. Raises what `work` raises, translated, and what a page that ends, asks or is late raises."""
        return await self.take(lambda: self.watched(work()), seconds, late=late, ref=ref)

    async def take[T](
        self,
        work: Callable[[], Awaitable[T]],
        seconds: float,
        *,
        dialogs: bool = True,
        late: str = "",
        ref: str | None = None,
    ) -> T:
        """Do something in turn that watches by itself how the page ends; with `dialogs`, not while one is open."""
        self.require_open()
        self.used = time.monotonic()
        try:
            async with asyncio.timeout(seconds), self._turn:
                self.require_open()
                if dialogs and self._dialogs.current:
                    raise self._dialogs.error()
                self._trace()
                return await work()
        except TimeoutError:
            message = f"{late or 'the page did not answer'} within {seconds:.3g} s"
            raise PageTimedOut(message, page_id=self._page_id) from None
        except Error as error:
            if is_gone(error):
                await self._learn_end()
            self.require_open()
            raise translate(error, self._page_id, ref, self._mask) from None
        finally:
            self.used = time.monotonic()

    async def watched[T](self, work: Awaitable[T]) -> T:
        """Await it unless the page ends, or asks something."""
        task = asyncio.ensure_future(work)
        try:
            await self.first(task)
            if not task.done() and self._dialogs.current:
                raise self._dialogs.error()
            return await task
        finally:
            await _cancelled(task)

    async def until_asked(self, work: Awaitable[None]) -> None:
        """Await it unless the page ends; a dialog ends it as well."""
        task = asyncio.ensure_future(work)
        try:
            await self.first(task)
            if task.done():
                task.result()
        finally:
            await _cancelled(task)

    async def first(self, outcome: "asyncio.Future[Any]") -> None:
        """Wait until it is done, or a dialog is open. Raises what a page that ended meanwhile ended with."""
        await asyncio.wait([outcome, self._dialogs.opened, self.ended], return_when=asyncio.FIRST_COMPLETED)
        self.require_open()

    def _trace(self) -> None:
        """Have the access log name the trace of this call: all pages share one way out, and the latest call counts."""
        if (door := self._door()) is not None:
            door.trace = traceparent()


async def _cancelled(task: "asyncio.Future[Any]") -> None:
    """End a task that is not done, and see what it ended with."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()
