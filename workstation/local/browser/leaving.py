"""Looking at a page that goes elsewhere meanwhile: what looks at the old document fails, or never ends."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.async_api import Error, Frame, Page

from workstation.local.browser.failures import is_gone

_LOOKS = 5
_GRACE_SECONDS = 1.0
"""For a look that goes on when another document has come; most are done by then, such as those within one document."""
_NEWS_SECONDS = 0.5
"""For the word of another document, when a look has failed."""


async def despite_leaving[T](page: Page, look: Callable[[], Awaitable[T]]) -> T:
    """What `look` finds, begun again when another document takes the place of the one that it looks at.

    Takes as long as the page lets it: the caller bounds the time. Raises what `look` raises.
    """
    for _ in range(_LOOKS - 1):
        with _arrival(page) as arrived:
            task = asyncio.ensure_future(look())
            either: list[asyncio.Future[Any]] = [task, arrived]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait([task], timeout=_GRACE_SECONDS)
                if task.done() and not await _met_another_document(task, arrived):
                    return task.result()
            finally:
                await _ended(task)
    return await look()


@contextmanager
def _arrival(page: Page) -> Iterator["asyncio.Future[None]"]:
    """Done when the page shows another document."""
    arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def arrive(frame: Frame) -> None:
        if frame == page.main_frame and not arrived.done():
            arrived.set_result(None)

    page.on("framenavigated", arrive)
    try:
        yield arrived
    finally:
        page.remove_listener("framenavigated", arrive)
        arrived.cancel()


async def _met_another_document(task: "asyncio.Future[Any]", arrived: "asyncio.Future[None]") -> bool:
    error = task.exception()
    if not isinstance(error, Error) or is_gone(error):
        return False
    await asyncio.wait([arrived], timeout=_NEWS_SECONDS)
    return arrived.done()


async def _ended(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    await asyncio.wait([task], timeout=_GRACE_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()
