"""Frames of a page: into which one can look, and how a page is got ready to be told without the others.

Playwright waits for all frames that it tells; some never load, or never answer.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from playwright.async_api import ElementHandle, Error, Frame, Page

from workstation.local.browser.asking import ask, ask_handle

_SECONDS = 1.0
_UNLOADED = "have not loaded"


@dataclass(frozen=True, slots=True)
class Frames:
    """Those that can be looked into, the main one always among them, and why the others cannot."""

    fit: tuple[Frame, ...]
    unfit: dict[Frame, str]


async def look_at_frames(page: Page, seconds: float) -> Frames:
    """Ask each of them; the main one, which is waited for as long as that, before those that share its thread.

    One whose address may not be loaded, such as a `file:` one, never has a document.
    """
    await _unfit(page.main_frame, seconds)
    frames = page.frames
    reasons = await asyncio.gather(*(_unfit(frame, _SECONDS) for frame in frames))
    unfit = {frame: why for frame, why in zip(frames, reasons, strict=True) if why and frame != page.main_frame}
    return Frames(tuple(frame for frame in frames if frame not in unfit), unfit)


def unloaded(page: Page) -> set[Frame]:
    """Frames that hold nothing yet, and would not answer."""
    return {frame for frame in page.frames if not frame.url}


@asynccontextmanager
async def as_told(frames: Frames) -> AsyncIterator[dict[Frame, str]]:
    """Have a page be as it is told meanwhile, which changes nothing of its layout; yields the frames that are left out.

    A frame that is left out is invisible, and no part of what assistive programs are told. A label is what it stands for
    where its box is not shown at all: it has no role of its own, so it would be told as words that nobody can act on, and
    never whether it is checked.
    """
    try:
        await asyncio.gather(*(_quietly(frame, "boxes") for frame in frames.fit))
        outer = [frame for frame in frames.unfit if frame.parent_frame in frames.fit]
        hidden = await asyncio.gather(*(_hide(frame) for frame in outer))
        yield {frame: frames.unfit[frame] for frame, done in zip(outer, hidden, strict=True) if done}
    finally:
        await asyncio.gather(*(_quietly(frame, "restore") for frame in frames.fit))


def told_frames(page: Page, left_out: dict[Frame, str]) -> list[Frame]:
    """Those that a page has now and that are told with it."""
    return [frame for frame in page.frames if frame.url and not any(each in left_out for each in _up_from(frame))]


def said_of(left_out: dict[Frame, str]) -> str:
    """What is missing of a page, as lines of its tree."""
    counts = Counter(left_out.values())
    return "".join(f"\n- text: (frames that {why} are left out, {count} of them)" for why, count in counts.items())


def _up_from(frame: Frame) -> Iterator[Frame]:
    at: Frame | None = frame
    while at is not None:
        yield at
        at = at.parent_frame


async def _unfit(frame: Frame, seconds: float) -> str:
    if not frame.url:
        return _UNLOADED
    try:
        seen = await ask(frame, "elements", seconds)
    except Error:
        return "do not answer"
    return "" if seen["html"] else "hold no document of HTML"


async def _quietly(frame: Frame, question: str) -> None:
    with suppress(Error):  # it goes elsewhere, or answers nobody
        await ask(frame, question, _SECONDS)


async def _hide(frame: Frame) -> bool:
    try:
        async with asyncio.timeout(_SECONDS):
            holder: ElementHandle = await frame.frame_element()
            await ask_handle(holder, "hide")
    except (Error, TimeoutError):  # gone meanwhile
        return False
    return True
