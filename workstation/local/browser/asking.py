"""Questions to pages, asked in a world of Playwright's own: what scripts of a page replace there is not replaced here."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import ElementHandle, Error, Frame, Locator, Playwright

_NAME = "empla"


async def teach(playwright: Playwright) -> None:
    """Have contexts that are made from now on know the questions, which `asking.js` answers."""
    await playwright.selectors.register(_NAME, _script(), content_script=True)


async def ask(where: Frame | Locator, question: str, seconds: float) -> Any:
    """The answer to a question about a frame or an element. Raises Playwright's `Error`, for one that comes late as well."""
    answer = await pointed(where, question).text_content(timeout=1000 * seconds)
    if answer is None:
        raise Error("the page does not answer")
    return json.loads(answer)


async def ask_handle(element: ElementHandle, question: str) -> None:
    """Ask an element for something that has no answer; the caller bounds the time. Raises Playwright's `Error`."""
    await element.query_selector(f"{_NAME}={question}")


def pointed(where: Frame | Locator, question: str) -> Locator:
    """The element that is the answer to a question."""
    return where.locator(f"{_NAME}={question}")


@cache
def _script() -> str:
    return Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
