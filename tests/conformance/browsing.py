"""Looking at pages and acting on them as a test means it."""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from workstation.interface import Action, ActResult, Browser, Click, Fill, Page, Snapshot

PATIENCE = 15.0
"""Seconds after which a test stops waiting for what should have come long ago."""
_POLL_SECONDS = 0.05

_numbers = itertools.count(1)


def fresh_page_id() -> str:
    return f"tab-{next(_numbers)}"


def document(body: str, *, title: str = "A page", head: str = "") -> str:
    """A whole document; what its scripts `say` stands in it as text."""
    script = "function say(text) { document.getElementById('said').textContent += ' ' + text; }"
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title><script>{script}</script>{head}"
        f"</head><body>{body}<p id=said></p></body></html>"
    )


def refs(text: str) -> list[str]:
    """All refs that a snapshot gives, in their order: the last on each line, a name that looks like one comes before."""
    found = (re.findall(r"\[ref=([^\]\s]+)\]", line) for line in text.splitlines())
    return [line[-1] for line in found if line]


def ref_of(text: str, role: str, name: str = "") -> str:
    """The ref of the first element of this role whose line holds `name`."""
    for line in text.splitlines():
        stripped = line.strip().removeprefix("- ").lstrip("'")
        if re.match(rf"{role}\b", stripped) and name in stripped and (found := re.findall(r"\[ref=([^\]\s]+)\]", line)):
            return str(found[0])
    raise AssertionError(f"no {role} {name!r} with a ref in\n{text}")


async def eventually[T](look: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T:
    """What `look` gives as soon as it is something."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(_POLL_SECONDS)
    return found


@dataclass(frozen=True)
class Tab:
    """An open page of a browser."""

    browser: Browser
    page_id: str

    async def snapshot(self, **options: Any) -> Snapshot:
        return await self.browser.snapshot(self.page_id, **options)

    async def text(self) -> str:
        return (await self.snapshot()).text

    async def ref(self, role: str, name: str = "") -> str:
        """The ref of an element, of a new snapshot."""
        return ref_of(await self.text(), role, name)

    async def act(self, action: Action, **options: Any) -> ActResult:
        return await self.browser.act(self.page_id, action, **options)

    async def click(self, role: str, name: str = "", **how: Any) -> ActResult:
        return await self.act(Click(ref=await self.ref(role, name), **how))

    async def fill(self, role: str, name: str, text: str, **how: Any) -> ActResult:
        return await self.act(Fill(ref=await self.ref(role, name), text=text, **how))

    async def shows(self, text: str) -> Page:
        """Wait until the text is there to be seen."""
        return await self.browser.wait_for(self.page_id, text=text, timeout=PATIENCE)

    async def navigate(self, to: Any, **options: Any) -> Page:
        return await self.browser.navigate(self.page_id, to, **options)
