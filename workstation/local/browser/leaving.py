"""Looking at a page that goes elsewhere meanwhile: what looks at the old document fails, or never ends."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.async_api import Error, Frame, Page

_LOOKS = 5
_GRACE_SECONDS = 1.0
"""For a look that goes on when another document has come; most are done by then, such as those within one document."""
_OTHER_DOCUMENT = re.compile(r"Cannot find context|context was destroyed|No frame (for|with) given id", re.IGNORECASE)


async def despite_leaving[T](page: Page, look: Callable[[], Awaitable[T]]) -> T:
    """What `look` finds, begun again when another document takes the place of the one that it looks at.

    Takes as long as the page lets it: the caller bounds the time. Raises what `look` raises.
    """
    for _ in range(_LOOKS - 1):
        with _arrival(page) as arrived:
            task = asyncio.ensure_future(look())
            try:
                await asyncio.wait([task, arrived], return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait([task], timeout=_GRACE_SECONDS)
                if task.done() and not _met_another_document(task):
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


def _met_another_document(task: "asyncio.Future[Any]") -> bool:
    error = task.exception()
    return isinstance(error, Error) and bool(_OTHER_DOCUMENT.search(error.message))


async def _ended(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    await asyncio.wait([task], timeout=_GRACE_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()
