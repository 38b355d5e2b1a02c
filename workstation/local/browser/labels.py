"""Boxes that a page does not show at all, such as `display: none` ones: a tree tells their labels in their place.

A label has no role of its own, so it would be told as words that nobody can act on, and never whether it is checked.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from playwright.async_api import Error, Frame, Page

from workstation.local.browser.asking import ask

_SECONDS = 1.0


@asynccontextmanager
async def as_boxes(page: Page) -> AsyncIterator[None]:
    """Have such labels be what they stand for meanwhile; it changes nothing of the page's layout."""
    frames = [frame for frame in page.frames if frame.url]  # the others hold nothing yet, and would not answer
    counts = await asyncio.gather(*(_change(frame) for frame in frames))
    try:
        yield
    finally:
        changed = [frame for frame, count in zip(frames, counts, strict=True) if count]
        await asyncio.gather(*(_change_back(frame) for frame in changed))


async def _change(frame: Frame) -> bool:
    try:
        return bool(await ask(frame, "boxes", _SECONDS))
    except Error:  # it goes elsewhere, or answers nobody
        return False


async def _change_back(frame: Frame) -> None:
    with suppress(Error):  # gone, or about to be taken for hung
        await ask(frame, "labels", _SECONDS)
