"""Looking at a page that goes elsewhere meanwhile: what looks at the old document fails, or never ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import Error, Page

from workstation.local.browser.asking import ask
from workstation.local.browser.failures import is_gone

_LOOKS = 5
_GRACE_SECONDS = 1.0
"""So often it is seen whether another document has come; most looks are done by then."""
_NEWS_SECONDS, _NEWS_LOOKS = 0.1, 5
"""For another document to be there, when a look has failed."""
_ASK_SECONDS = 1.0


async def despite_leaving[T](page: Page, look: Callable[[], Awaitable[T]]) -> T:
    """What `look` finds, begun again when another document takes the place of the one that it looks at.

    Another address of the same document, as scripts give it, is none. Takes as long as the page lets it: the caller bounds
    the time. Raises what `look` raises.
    """
    for _ in range(_LOOKS - 1):
        document = await _document(page)
        task = asyncio.ensure_future(look())
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_GRACE_SECONDS)
                if not task.done() and await _is_another(page, document):
                    break
            if task.done() and not await _met_another_document(task, page, document):
                return task.result()
        finally:
            await _ended(task)
    return await look()


async def _document(page: Page) -> float | None:
    """What tells the document from all others; None while there is none that answers."""
    try:
        return float(await ask(page.main_frame, "document", _ASK_SECONDS))
    except Error:
        return None


async def _is_another(page: Page, document: float | None) -> bool:
    now = await _document(page)
    return now is not None and now != document


async def _met_another_document(task: "asyncio.Future[Any]", page: Page, document: float | None) -> bool:
    error = task.exception()
    if not isinstance(error, Error) or is_gone(error):
        return False
    for _ in range(_NEWS_LOOKS):
        if await _is_another(page, document):
            return True
        await asyncio.sleep(_NEWS_SECONDS)
    return False


async def _ended(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    await asyncio.wait([task], timeout=_GRACE_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()
