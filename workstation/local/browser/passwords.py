"""What stands in password fields: found, remembered, and taken out of what is told."""

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from playwright.async_api import Error, Frame, Page

from workstation.local.browser.shadows import ROOT

HIDDEN = "[hidden]"
FILLED, EMPTY = "[filled, hidden]", "[empty, hidden]"
"""What is told of password fields in place of what they hold."""
_KEPT, _MOST_FOUND = 100, 100
_MOST_CHARACTERS = 1000
_SHORTEST = 4
"""Shorter ones are hidden where they stand as the value of a field, but not within other text: they are everywhere."""
_FRAME_SECONDS = 1.0
_MOST_REFS = 20

# Fields that were password fields once are remembered in the page: what a "show" button uncovers stays hidden.
_FIND = f"""() => {{
  const key = Symbol.for('empla.once');
  if (!self[key]) Object.defineProperty(self, key, {{value: new Set(), enumerable: false}});
  const once = self[key];
  const look = (root) => {{
    for (const field of root.querySelectorAll('input[type=password]')) if (once.size < 200) once.add(field);
    for (const element of root.querySelectorAll('*')) {{
      const tree = element[{ROOT}] ?? element.shadowRoot;
      if (tree) look(tree);
    }}
  }};
  look(document);
  return [once.size, [...new Set([...once].map((field) => field.value).filter((value) => value))].slice(0, 100)];
}}"""
_REF = re.compile(r"\[ref=((?:f\d+)?e\d+)\]")


@dataclass(frozen=True, slots=True)
class Fields:
    """The password fields of a page: refs as far as they have some, and whether its main frame and the others answered."""

    refs: frozenset[str]
    of_main: bool
    of_frames: bool


class Passwords:
    """The passwords that the pages of one Browser hold or held, as far as we saw or typed them; the latest are kept."""

    def __init__(self) -> None:
        self._typed: dict[str, None] = {}
        self._found: dict[str, None] = {}  # apart, for a page can hold as many as it likes
        self._spelled: tuple[str, ...] | None = ()

    def add(self, value: str) -> None:
        """Never tell this again, which was typed."""
        self._remember(value, self._typed)

    def is_one(self, value: str) -> bool:
        """Whether all of a field's value is a password."""
        plain = {value, _one_line(value)[:_MOST_CHARACTERS]}
        return any(each in self._typed or each in self._found for each in plain)

    def mask(self, text: str) -> str:
        """The text without them."""
        if self._spelled is None:
            self._spelled = _spelled({**self._typed, **self._found})
        if not (there := [each for each in self._spelled if each in text]):
            return text
        return re.sub("|".join(map(re.escape, there)), HIDDEN, text)

    async def learn(self, page: Page, *, with_refs: bool = False) -> Fields:
        """Look into all frames of a page.

        With refs, those that the page's next snapshot will give; the refs of the one before are lost by that.
        """
        frames = [frame for frame in page.frames if frame.url]  # the others hold nothing yet, and would not answer
        counts = await asyncio.gather(*(self._look(frame) for frame in frames))
        refs: set[str] = set()
        for frame, count in zip(frames, counts, strict=True):
            if with_refs and count and len(refs) < _MOST_REFS:
                refs.update(await _refs(frame))
        unknown = [frame for frame, count in zip(frames, counts, strict=True) if count is None]
        others = [frame for frame in unknown if frame != page.main_frame]
        return Fields(frozenset(refs), of_main=len(others) == len(unknown), of_frames=not others)

    def _remember(self, value: str, values: dict[str, None]) -> None:
        plain = value[:_MOST_CHARACTERS]
        for known in {plain, _one_line(plain)} - {""}:
            if known not in values:
                self._spelled = None
            values.pop(known, None)
            values[known] = None  # the latest is the last
        while len(values) > _KEPT:
            del values[next(iter(values))]
            self._spelled = None

    async def _look(self, frame: Frame) -> int | None:
        """How many password fields a frame has or had; None if it did not answer."""
        try:
            async with asyncio.timeout(_FRAME_SECONDS):
                count, values = await frame.evaluate(_FIND)
                found = [str(value) for value in values]
                count = int(count)
        except (Error, TimeoutError, TypeError, ValueError):  # a page can make anything of what we ask it
            return None
        for value in found[:_MOST_FOUND]:
            self._remember(value, self._found)
        return count


async def _refs(frame: Frame) -> set[str]:
    found = set()
    try:
        for field in (await frame.locator("input[type=password]").all())[:_MOST_REFS]:
            if ref := _REF.search(await field.aria_snapshot(mode="ai", timeout=1000 * _FRAME_SECONDS)):
                found.add(ref[1])
    except Error:
        pass  # the frame changes; their values are known all the same
    return found


def _spelled(values: dict[str, None]) -> tuple[str, ...]:
    """As they may stand in a text, the longest first."""
    spelled = {each for value in values if len(value) >= _SHORTEST for each in _spellings(value)}
    return tuple(sorted(spelled, key=len, reverse=True))


def _spellings(value: str) -> set[str]:
    encoded = value.encode("utf-8", "replace")
    return {value, quote(encoded), quote(encoded, safe=""), quote_plus(encoded)}


def _one_line(text: str) -> str:
    return " ".join(text.split())
