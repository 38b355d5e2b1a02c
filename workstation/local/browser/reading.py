"""Readable text: the main content of a page as Markdown."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import CDPSession, Error, Frame, Page

from workstation.errors import InvalidArgument
from workstation.local.browser.asking import ask
from workstation.local.browser.devtools import devtools

_WORLD = "empla"
_MOST_CHARACTERS = 4 << 20
"""So much HTML is read of a page; it comes in one message from Chromium."""
_MOST_FRAMES = 30
_FRAME_SECONDS = 3.0
_SCRIPT_MILLISECONDS = 15_000
_DEEPEST = 200
"""Elements below each other that are told apart: neither readers nor the converter gain from more."""
_TOO_LITTLE = 200


@dataclass(frozen=True, slots=True)
class ReadText:
    """Text of a page from character `offset`; `total` is how many there are."""

    text: str
    offset: int
    total: int


@dataclass(frozen=True, slots=True)
class _Content:
    """What a frame shows, as HTML; `shown` is how many characters of text it shows in all."""

    html: str
    cut: bool
    shown: int
    url: str = ""


async def read_text(page: Page, *, offset: int, most_characters: int) -> ReadText:
    """Read the main content of a page and of the frames in it, at most `most_characters` of it from `offset`.

    Menus, scripts and what is hidden are left out; headings, lists, tables and links are kept. Where that leaves next to
    nothing, all that is visible is read. What stands in fields is not told. Of a page without end, its beginning is read.

    Takes as long as the page lets it: the caller bounds the time. Raises `InvalidArgument` for a negative offset, and
    Playwright's `Error` when the page is gone.
    """
    if offset < 0:
        raise InvalidArgument(f"offset is a number of characters from the start, not {offset}")
    async with devtools(page) as session:
        tree = (await session.send("Page.getFrameTree"))["frameTree"]
        content = await _content(session, tree["frame"]["id"])
        text = await _markdown(content)
        if len(text) < _TOO_LITTLE and len(text) < content.shown / 4:
            text = await _markdown(await _content(session, tree["frame"]["id"], whole=True))
        others = await _frames(page, session, tree)
    if not text and not others:
        text = str(await ask(page.main_frame, f"words {_MOST_CHARACTERS}", _SCRIPT_MILLISECONDS / 1000)).strip()
    for other in others:
        text += f"\n\n---\n\nIn a frame from {other.url}:\n\n{await _markdown(other)}"
    return ReadText(text[offset : offset + most_characters], offset, len(text))


async def _content(session: CDPSession, frame_id: str, *, whole: bool = False, url: str = "") -> _Content:
    """What a frame shows: its main part if it has one, or the `whole`; nothing for a frame (with `url`) not worth it."""
    world = await session.send("Page.createIsolatedWorld", {"frameId": frame_id, "worldName": _WORLD})
    arguments = f"{_MOST_CHARACTERS}, {_DEEPEST}, {str(whole).lower()}, {str(bool(url)).lower()}"
    options = {"contextId": world["executionContextId"], "returnByValue": True, "timeout": _SCRIPT_MILLISECONDS}
    answer = await session.send("Runtime.evaluate", {"expression": f"({_script()})({arguments})", **options})
    if "exceptionDetails" in answer:
        raise Error(f"the page cannot be read: {answer['exceptionDetails'].get('text')}")
    return _Content(**answer["result"]["value"], url=url)


async def _frames(page: Page, session: CDPSession, tree: dict[str, Any]) -> list[_Content]:
    """What the frames of other origins show, as far as they answer."""
    inner = list(_below(tree))[:_MOST_FRAMES]
    outer = [frame for frame in page.frames[1:] if frame.url.startswith("http")][:_MOST_FRAMES]
    async with asyncio.TaskGroup() as asking:
        asked = [asking.create_task(_ask(session, frame["id"], frame["url"])) for frame in inner]
        asked += [asking.create_task(_ask_apart(frame)) for frame in outer]
    return [content for task in asked if (content := task.result()) is not None and content.html.strip()]


async def _ask(session: CDPSession, frame_id: str, url: str) -> _Content | None:
    # It may be gone meanwhile, or busy with itself: the page is readable without it.
    with suppress(Error, TimeoutError):
        async with asyncio.timeout(_FRAME_SECONDS):
            return await _content(session, frame_id, url=url)
    return None


async def _ask_apart(frame: Frame) -> _Content | None:
    """Ask a frame that runs in a process of its own; all others are in the tree of the page."""
    with suppress(Error, TimeoutError):
        async with asyncio.timeout(_FRAME_SECONDS), devtools(frame) as session:
            tree = (await session.send("Page.getFrameTree"))["frameTree"]
            return await _content(session, tree["frame"]["id"], url=frame.url)
    return None


def _below(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    waiting = list(reversed(tree.get("childFrames", [])))
    while waiting:
        child = waiting.pop()
        yield child["frame"]
        waiting += reversed(child.get("childFrames", []))


async def _markdown(content: _Content) -> str:
    text = await asyncio.to_thread(_convert, content.html)
    return f"{text}\n\n[The page goes on; only its beginning is read.]" if content.cut else text


def _convert(html: str) -> str:
    # Imported when a page is read: not everybody who has a browser reads.
    from html_to_markdown import ConversionOptions, convert  # noqa: PLC0415

    converted = convert(html, ConversionOptions(extract_metadata=False, compact_tables=True)).content or ""
    return converted.strip()


@cache
def _script() -> str:
    return Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
