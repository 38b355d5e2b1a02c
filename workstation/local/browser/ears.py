"""Listening to a page without being talked to death by it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from playwright.async_api import Page

_A_SECOND = 500
"""Events within a second; a page that brings more is not listened to for the rest of it."""


class Ear:
    """Listens to some events of a page; calls `left_out` each time that it stops listening for a while.

    Playwright's driver sends only what somebody listens to, so that what is not heard costs us nothing.
    """

    def __init__(self, page: Page, handlers: Mapping[str, Callable[[Any], None]], left_out: Callable[[], None]) -> None:
        self._page, self._left_out = page, left_out
        self._handlers = {event: self._counted(handler) for event, handler in handlers.items()}
        self._began, self._heard = 0.0, 0
        self._listens = False
        self._listen()

    def _listen(self) -> None:
        if not self._listens and not self._page.is_closed():
            self._listens = True
            for event, handler in self._handlers.items():
                self._page.on(event, handler)  # type: ignore[call-overload]  # the events are literals there

    def _counted(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        def hear(given: Any) -> None:
            now = time.monotonic()
            if now - self._began >= 1:
                self._began, self._heard = now, 0
            self._heard += 1
            if self._heard <= _A_SECOND:
                handler(given)
            elif self._listens:
                self._rest(1 - (now - self._began))

        return hear

    def _rest(self, seconds: float) -> None:
        self._listens = False
        for event, handler in self._handlers.items():
            self._page.remove_listener(event, handler)
        self._left_out()
        asyncio.get_running_loop().call_later(max(seconds, 0), self._listen)
