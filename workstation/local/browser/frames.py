"""Frames that have not loaded: Playwright waits for them whenever it looks at all frames of a page, and some never load."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from playwright.async_api import ElementHandle, Error, Page

_HOLDERS = "iframe, frame, object, embed"
_MOST_HOLDERS = 500
_SHOW_SECONDS = 2.0
# A frame is looked into if it can be seen or is told to assistive programs; neither changes the page's layout.
_HIDE = """holder => {
  const before = [holder.getAttribute('aria-hidden'), holder.style.visibility];
  holder.setAttribute('aria-hidden', 'true');
  holder.style.visibility = 'hidden';
  return before;
}"""
_SHOW = """(holder, [hidden, visibility]) => {
  if (hidden === null) holder.removeAttribute('aria-hidden'); else holder.setAttribute('aria-hidden', hidden);
  holder.style.visibility = visibility;
}"""


@asynccontextmanager
async def without_unloaded(page: Page) -> AsyncIterator[int]:
    """Leave frames that have no document yet out of the accessibility tree meanwhile; yields how many.

    One whose address may not be loaded, such as a `file:` one, never has one.
    """
    hidden: list[tuple[ElementHandle, list[str | None]]] = []
    try:
        waiting = {frame for frame in page.frames if not frame.url}
        for parent in {frame.parent_frame for frame in waiting} - {None}:
            if parent is not None and parent.url:
                for holder in (await parent.locator(_HOLDERS).element_handles())[:_MOST_HOLDERS]:
                    if await holder.content_frame() in waiting:
                        before = await holder.evaluate(_HIDE)
                        hidden.append((holder, before))
        yield len(hidden)
    finally:
        with suppress(TimeoutError):  # the page hangs, and shows nobody anything
            async with asyncio.timeout(_SHOW_SECONDS):
                for holder, before in hidden:
                    with suppress(Error):  # gone meanwhile
                        await holder.evaluate(_SHOW, before)
