"""What stands in password fields: found, remembered, and taken out of what is told."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from playwright.async_api import Error, Frame, Page

from workstation.local.browser.asking import ask

HIDDEN = "[hidden]"
FILLED, EMPTY = "[filled, hidden]", "[empty, hidden]"
"""What is told of password fields in place of what they hold."""
_MOST_TYPED, _MOST_OF_PAGE = 2000, 1000
"""With more than so many nothing is told any more, until the page that holds them is closed: no one is let out."""
_KEPT = 2000
"""So many stay known of pages that are closed, the latest."""
_MOST_CHARACTERS = 1000
_BEGINNING = 100
"""Of a longer one only so much is known: what a text says after it is taken out as well, for a text may be cut anywhere."""
_SHORTEST = 4
"""Shorter ones are hidden where they stand as the value of a field, but not within other text: they are everywhere."""
_FRAME_SECONDS = 1.0
_MOST_REFS = 20

_REF = re.compile(r"\[ref=((?:f\d+)?e\d+)\]")


@dataclass(frozen=True, slots=True)
class Fields:
    """The password fields of a page: refs as far as they have some, and whether its main frame and the others answered.

    There are `more` where not each of them was asked for its ref.
    """

    refs: frozenset[str]
    more: bool
    of_main: bool
    of_frames: bool


class Passwords:
    """The passwords that the pages of one Browser hold or held, as far as we saw or typed them.

    How many are remembered is bounded; where there are more, no text is told rather than one of them.
    """

    def __init__(self) -> None:
        self._typed: dict[str, bool] = {}  # and whether there is more of it than is known
        self._found: dict[Page, dict[str, bool]] = {}  # apart, for a page can hold as many as it likes
        self._left: dict[str, bool] = {}
        self._overfull: set[Page] = set()
        self._spelled: _Spelled | None = None

    @property
    def too_many(self) -> bool:
        """Whether there are more than are remembered."""
        return len(self._typed) > _MOST_TYPED or any(not page.is_closed() for page in self._overfull)

    def add(self, value: str) -> None:
        """Never tell this again, which was typed."""
        if len(self._typed) <= _MOST_TYPED:
            self._remember(value, self._typed)

    def is_one(self, value: str) -> bool:
        """Whether all of a field's value is a password."""
        plain = {value[:_BEGINNING], _one_line(value[:_MOST_CHARACTERS])[:_BEGINNING]}
        return any(each in values for each in plain for values in self._all())

    def mask(self, text: str) -> str:
        """The text without them."""
        if self.too_many:
            return HIDDEN if text.strip() else text
        if self._spelled is None:
            values = [value for each in self._all() for value in each.items()]
            self._spelled = _Spelled({value for value, _ in values}, {value for value, more in values if more})
        return self._spelled.mask(text)

    async def learn(self, page: Page, frames: Sequence[Frame], *, with_refs: bool = False) -> Fields:
        """Look into these frames of a page.

        With refs, those that the page's next snapshot will give; the refs of the one before are lost by that.
        """
        self._forget_closed()
        counts = await asyncio.gather(*(self._look(page, frame) for frame in frames))
        refs: set[str] = set()
        more = False
        for frame, count in zip(frames, counts, strict=True):
            if with_refs and count:
                found, left = await _refs(frame, _MOST_REFS - len(refs))
                refs |= found
                more |= left
        unknown = [frame for frame, count in zip(frames, counts, strict=True) if count is None]
        others = [frame for frame in unknown if frame != page.main_frame]
        return Fields(frozenset(refs), more, of_main=len(others) == len(unknown), of_frames=not others)

    def _all(self) -> tuple[dict[str, bool], ...]:
        return (self._typed, self._left, *self._found.values())

    def _remember(self, value: str, values: dict[str, bool]) -> None:
        plain = value[:_MOST_CHARACTERS]
        for whole in {plain, _one_line(plain)} - {""}:
            known, more = whole[:_BEGINNING], len(whole) > _BEGINNING or len(plain) == _MOST_CHARACTERS
            before = values.pop(known, None)
            values[known] = more or bool(before)  # the latest is the last
            if values[known] != before:
                self._spelled = None

    def _forget_closed(self) -> None:
        """Keep the latest of pages that are closed; what they told is told no more."""
        for page in [page for page in self._found if page.is_closed()]:
            self._left |= self._found.pop(page)
            self._overfull.discard(page)
        while len(self._left) > _KEPT:
            del self._left[next(iter(self._left))]
            self._spelled = None

    async def _look(self, page: Page, frame: Frame) -> int | None:
        """How many password fields a frame has or had; None if it did not answer."""
        try:
            found = await ask(frame, "passwords", _FRAME_SECONDS)
        except Error:  # it goes elsewhere, or answers nobody
            return None
        known = self._found.setdefault(page, {})
        for value in found["values"]:
            if len(known) <= _MOST_OF_PAGE:
                self._remember(value, known)
        if found["more"] or len(known) > _MOST_OF_PAGE:
            self._overfull.add(page)
        return int(found["count"])


async def _refs(frame: Frame, most: int) -> tuple[set[str], bool]:
    """The refs of so many password fields of a frame, and whether it has more."""
    found = set()
    more = False
    try:
        fields = await frame.locator("input[type=password]").all()
        more = len(fields) > most
        for field in fields[:most]:
            if ref := _REF.search(await field.aria_snapshot(mode="ai", timeout=1000 * _FRAME_SECONDS)):
                found.add(ref[1])
    except Error:
        more = True  # the frame changes; their values are known all the same
    return found, more


class _Spelled:
    """Values as they may stand in a text, found there by how they begin: a text is looked through once for all of them.

    With one of the `beginnings` the rest of a text is taken out.
    """

    def __init__(self, values: set[str], beginnings: set[str]) -> None:
        self._ways = {each for value in values if len(value) >= _SHORTEST for each in _spellings(value)}
        self._beginnings = {each for value in beginnings for each in _spellings(value)}
        lengths: dict[str, set[int]] = {}
        for way in self._ways:
            lengths.setdefault(way[:_SHORTEST], set()).add(len(way))
        self._lengths = {start: sorted(each, reverse=True) for start, each in lengths.items()}

    def mask(self, text: str) -> str:
        """The text without them; of those that begin in one place, without the longest."""
        told: list[str] = []
        done = at = 0
        last = len(text) - _SHORTEST if self._ways else -1
        while at <= last:
            lengths = self._lengths.get(text[at : at + _SHORTEST], ())
            length = next((length for length in lengths if text[at : at + length] in self._ways), 0)
            if text[at : at + length] in self._beginnings:
                return "".join([*told, text[done:at], HIDDEN])
            if length:
                told += [text[done:at], HIDDEN]
                done = at + length
            at += length or 1
        return "".join([*told, text[done:]])


def _spellings(value: str) -> set[str]:
    encoded = value.encode("utf-8", "replace")
    return {value, quote(encoded), quote(encoded, safe=""), quote_plus(encoded)}


def _one_line(text: str) -> str:
    return " ".join(text.split())
