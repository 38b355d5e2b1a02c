"""Snapshots of a page: its compact tree, the refs that it gave, and what changed since."""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Frame, Locator, Page

from workstation.errors import PageTimedOut
from workstation.local.browser.compaction import FIELDS, compact
from workstation.local.browser.comparison import changed_lines
from workstation.local.browser.failures import failures, stale
from workstation.local.browser.frames import as_told, look_at_frames, said_of, told_frames, unloaded
from workstation.local.browser.outline import Node, read_outline
from workstation.local.browser.passwords import EMPTY, FILLED, HIDDEN, Fields, Passwords
from workstation.local.browser.rendering import Excerpt, excerpt, lines_of

_SMALL_CHARACTERS = 50_000
"""A tree of as much text is worked on without a thread."""
_MOST_ELEMENTS = 15_000
"""Playwright's time grows with their square: 2 s for 10,000, 7 s for 20,000, 40 s for 50,000, and nothing can stop it."""
_TOO_MANY = (
    "- text: (all words are hidden, since a page holds more passwords than can be told from them: close that page)"
)
_LOOKS = 3
_FRAME_SECONDS = 1.0
"""A frame that has not loaded as long after it came is not waited for."""
_NO_REFS: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """Which snapshot is asked for; see `Browser.snapshot`."""

    ref: str | None
    depth: int | None
    changes: bool
    most: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot as text."""

    text: str
    truncated: bool
    changes: bool


@dataclass(frozen=True, slots=True)
class _Read:
    """A tree, and what of it is shown."""

    nodes: list[Node]
    shown: Excerpt
    changes: bool


class Snapshots:
    """The snapshots of one page.

    A ref is known from the snapshot that shows it to the next one. One that shows changes only leaves those known that it
    says nothing about.
    """

    def __init__(self, page_id: str, page: Page, passwords: Passwords) -> None:
        self._page_id, self._page, self._passwords = page_id, page, passwords
        self._known = self._told = _NO_REFS
        self._before: list[Node] | None = None
        self._fields = _NO_REFS
        self._document = 0

    def forget(self) -> None:
        """The page shows another document: no ref is known any more."""
        self._known = self._told = self._fields = _NO_REFS
        self._before = None
        self._document += 1

    def element(self, ref: str) -> Locator:
        """The element of a ref. Raises `StaleRef` for one that is not known."""
        if ref not in self._known:
            raise stale(self._page_id, ref)
        return self._page.locator(f"aria-ref={ref}")

    def is_password(self, ref: str) -> bool:
        """Whether this was a password field when the last snapshot was taken."""
        return ref in self._fields

    async def take(self, wish: Wish, seconds: float) -> Seen:
        """Take one; the caller ends it after these seconds, and Playwright soon after.

        Raises `StaleRef`, `PageTimedOut` for a page nested too deeply, and Playwright's `Error`.
        """
        part = None if wish.ref is None else self.element(wish.ref)
        if part is not None and not await part.count():  # it would be waited for
            raise stale(self._page_id, wish.ref or "")
        with failures(self._page_id, wish.ref):
            written, fields = await self._write(part, seconds)
        self._fields = (self._fields if part is not None else _NO_REFS) | fields.refs
        document, origin = self._document, _origin(self._page.url)
        if len(written) <= _SMALL_CHARACTERS:
            read = self._read(written, fields, wish, origin)
        else:  # it may end after the caller gave up: what nobody has seen is not remembered
            read = await asyncio.to_thread(self._read, written, fields, wish, origin)
        if document == self._document:
            self._remember(read, wish)
        return Seen(read.shown.text, read.shown.truncated, read.changes)

    async def _write(self, part: Locator | None, seconds: float) -> tuple[str, Fields]:
        """A tree as Playwright writes it, and the password fields in it."""
        looks = 0
        while True:
            looks += 1
            frames = await look_at_frames(self._page, part, _MOST_ELEMENTS, seconds)
            if frames.elements > _MOST_ELEMENTS:
                message = f"it has more than {_MOST_ELEMENTS} elements, too many to be looked at in time: read its text"
                raise PageTimedOut(message, page_id=self._page_id)
            before = await self._passwords.learn(self._page, frames.fit, with_refs=part is None)
            self._known = _NO_REFS  # Playwright forgets them too
            async with as_told(frames) as left_out:
                writing = (self._page if part is None else part).aria_snapshot(mode="ai", timeout=1000 * (seconds + 1))
                known = set(frames.unfit) if looks < _LOOKS else None
                written = await self._unless_frames_come(writing, known)
            if written is not None:
                # What has come meanwhile is in the tree as well.
                after = await self._passwords.learn(self._page, told_frames(self._page, left_out))
                fields = replace(before, of_main=after.of_main, of_frames=after.of_frames)
                return written + said_of(left_out), fields

    async def _unless_frames_come(self, look: Coroutine[Any, Any, str], known: set[Frame] | None) -> str | None:
        """What `look` writes; None when it may wait for a frame beside those `known`, which came and has not loaded."""
        writing = asyncio.ensure_future(look)
        try:
            while not writing.done():
                await asyncio.wait([writing], timeout=_FRAME_SECONDS)
                if not writing.done() and known is not None and unloaded(self._page) - known:
                    return None
            return writing.result()
        finally:
            writing.cancel()

    def _read(self, written: str, fields: Fields, wish: Wish, origin: str) -> _Read:
        nodes = read_outline(written, self._passwords.mask)
        self._hide(nodes, fields)
        if self._passwords.too_many:
            nodes += read_outline(_TOO_MANY)
        nodes = compact(nodes, all_refs=wish.ref is not None)
        before = self._before if wish.changes and wish.ref is None else None
        if before is None:
            shown = excerpt(list(lines_of(nodes, origin, most_depth=wish.depth)), wish.most)
        else:
            shown = excerpt(changed_lines(before, nodes, origin), wish.most)
        return _Read(nodes, shown, changes=before is not None)

    def _remember(self, read: _Read, wish: Wish) -> None:
        self._known = read.shown.refs
        if wish.ref is not None:
            return
        if read.changes:
            self._known |= self._told & frozenset(_refs(read.nodes))
        self._told, self._before = self._known, read.nodes

    def _hide(self, nodes: list[Node], fields: Fields) -> None:
        """Put what stands in password fields out of sight."""
        for node in nodes:
            held = [each.text for each in (node, *node.children) if each.text and (each is node or each.role == "text")]
            if node.ref in self._fields and not held:
                node.text = EMPTY  # what it is for need not show in its name
            elif node.ref in self._fields or self._is_secret(node, held, fields):
                node.text = FILLED
                node.children = [child for child in node.children if child.role != "text"]
            self._hide(node.children, fields)

    def _is_secret(self, node: Node, held: list[str], fields: Fields) -> bool:
        is_field = node.role in FIELDS  # a page can call a password field a button
        if (is_field or (node.ref and fields.more)) and any(self._is_one(text) for text in held):
            return True
        answered = fields.of_frames if node.ref.startswith("f") else fields.of_main
        return is_field and bool(held) and not answered

    def _is_one(self, text: str) -> bool:
        return HIDDEN in text or self._passwords.is_one(text)


def _refs(nodes: Iterable[Node]) -> Iterable[str]:
    for node in nodes:
        if node.ref:
            yield node.ref
        yield from _refs(node.children)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
