"""Frames of a page: into which one can look, and how a page is got ready to be told without the others.

Playwright waits for all frames that it tells; some never load, or never answer.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from playwright.async_api import ElementHandle, Error, Frame, Locator, Page

from workstation.local.browser.asking import ask, ask_handle

_SECONDS = 1.0
_PART = 1 / 3
"""Of the time for a look, so much is for frames to answer: they share it, and each gets Playwright's own script first."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Those that can be looked into, the main one always among them, and why the others cannot.

    `elements` are those of the main one, or of what was looked at in its place.
    """

    elements: int
    fit: tuple[Frame, ...]
    unfit: dict[Frame, str]


async def look_at_frames(page: Page, part: Locator | None, most_elements: int, seconds: float) -> Frames:
    """Ask each of them; the main one, or a part of it, waited for as long as that, before those that share its thread.

    One whose address may not be loaded, such as a `file:` one, never has a document. One with which there are more elements
    in all cannot be looked into.
    """
    look = f"size {most_elements + 1}"
    seen = await _asked(part or page.main_frame, look, seconds)
    elements = total = seen["elements"] if seen else 0
    frames = [frame for frame in page.frames if frame != page.main_frame]
    answers = await asyncio.gather(*(_asked(each, look, seconds * _PART) for each in frames))
    unfit: dict[Frame, str] = {}
    for frame, seen in zip(frames, answers, strict=True):
        if why := _unfit(frame, seen, most_elements - total):
            unfit[frame] = why
        elif seen:
            total += seen["elements"]
    return Frames(elements, (page.main_frame, *(frame for frame in frames if frame not in unfit)), unfit)


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


async def _asked(where: Frame | Locator, look: str, seconds: float) -> dict[str, Any] | None:
    """How large it is; None if it does not say so."""
    if isinstance(where, Frame) and not where.url:
        return None
    try:
        seen: dict[str, Any] = await ask(where, look, seconds)
    except Error:
        return None
    return seen


def _unfit(frame: Frame, seen: dict[str, Any] | None, most_elements: int) -> str:
    """Why a frame cannot be looked into, '' if it can."""
    if not frame.url:
        return "have not loaded"
    if seen is None:
        return "do not answer"
    if not seen["html"]:
        return "hold no document of HTML"
    return "are too large to be looked at in time" if seen["elements"] > most_elements else ""


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
