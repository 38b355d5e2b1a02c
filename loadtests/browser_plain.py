"""`python -m loadtests.browser_plain EXECUTABLE`: the peer, Playwright with the same Chromium and nothing of ours around it.

A process of its own, as a program that somebody writes with Playwright would be: no jail, no proxy, Chromium's own
sandbox off. It does what it is told line by line and says how many milliseconds that took.
"""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from loadtests.browser_refs import ref_named
from loadtests.children import answer_lines

# What a person can act on; what is hidden cannot be.
_ACTIONABLE = """() => [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button], [role=tab], [contenteditable=true]'
)].filter(element => element.checkVisibility()).length"""
# Not `innerText`, which runs neighbours together.
_TEXT = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), texts = []
    while (walker.nextNode())
        if (walker.currentNode.parentElement.checkVisibility()) texts.push(walker.currentNode.data)
    return texts.join(' ')
}"""


class Plain:
    """Playwright and Chromium, started when they are first needed."""

    def __init__(self, executable: str) -> None:
        self._executable = executable
        self._started, self._held = ExitStack(), ExitStack()
        self._browser: Browser | None = None
        self._page: Page | None = None

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what `order["do"]` names."""
        doing: Callable[..., Any] = getattr(self, f"do_{order.pop('do')}")
        return {"value": doing(**order)}

    def do_cold(self, url: str) -> float:
        """Driver, Chromium, context, page, snapshot; all of it is ended again, which is not measured."""
        self.do_stop()
        milliseconds = self.do_warm(url)
        self.do_stop()
        return milliseconds

    def do_warm(self, url: str) -> float:
        """Context, page, snapshot, in the Chromium that runs."""
        before = time.perf_counter()
        context = self._chromium().new_context()
        page = context.new_page()
        page.goto(url)
        _snapshot(page)
        taken = (time.perf_counter() - before) * 1000
        context.close()
        return taken

    def do_hold(self, url: str, count: int) -> None:
        """Open `count` contexts with a page each and keep them."""
        for _ in range(count):
            context = self._chromium().new_context()
            self._held.callback(context.close)
            self._page = context.new_page()
            self._page.goto(url)

    def do_look(self) -> float:
        """The snapshot of the page that is held."""
        before = time.perf_counter()
        _snapshot(self._held_page())
        return (time.perf_counter() - before) * 1000

    def do_click(self, name: str) -> float:
        """Click the button and take a snapshot, in the page that is held."""
        page = self._held_page()
        ref = ref_named(_snapshot(page), name)
        before = time.perf_counter()
        page.locator(f"aria-ref={ref}").click()
        _snapshot(page)
        return (time.perf_counter() - before) * 1000

    def do_contents(self, url: str) -> dict[str, Any]:
        """How many elements of the page and its frames can be acted on, and the words that can be read there."""
        context = self._chromium().new_context()
        page = context.new_page()
        page.goto(url)
        actionable = sum(frame.evaluate(_ACTIONABLE) for frame in page.frames)
        words = {word for frame in page.frames for word in str(frame.evaluate(_TEXT)).split()}
        context.close()
        return {"actionable": actionable, "words": sorted(words)}

    def do_stop(self) -> None:
        """End everything."""
        self._held.close()
        self._started.close()
        self._browser = self._page = None

    def _chromium(self) -> Browser:
        if self._browser is None:
            playwright = self._started.enter_context(sync_playwright())
            self._browser = playwright.chromium.launch(executable_path=self._executable)
            self._started.callback(self._browser.close)
        return self._browser

    def _held_page(self) -> Page:
        assert self._page is not None
        return self._page


def _snapshot(page: Page) -> str:
    return page.aria_snapshot(mode="ai")


if __name__ == "__main__":
    plain = Plain(sys.argv[1])
    try:
        answer_lines(plain.answer)
    finally:
        plain.do_stop()
