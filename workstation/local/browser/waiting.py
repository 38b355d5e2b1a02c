"""Waiting: for what a page is to come to, and for what an action set in motion."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from playwright.async_api import CDPSession, Error, Frame, Page, Request, Response

from workstation.interface import LoadState
from workstation.local.browser.failures import is_gone
from workstation.local.browser.navigation import is_forbidden, load_state

_POLL_SECONDS, _FRAME_SECONDS = 0.1, 1.0
_BEAT_SECONDS, _COMMIT_SECONDS, _LOAD_SECONDS, _REST_SECONDS = 0.5, 5.0, 2.0, 1.0
_TOGETHER = frozenset(("fetch", "xhr", "document", "script", "stylesheet"))
_MOST_REQUESTS = 200
# Whatever a page does at once it has done when it can draw again.
_BEAT = "() => new Promise((done) => { setTimeout(done, 100); requestAnimationFrame(() => setTimeout(done)) })"


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What a page is to come to: all that is given; see `Browser.wait_for`."""

    text: str
    text_gone: str
    url: str
    state: LoadState | None


async def wait_until(page: Page, goal: Goal) -> None:
    """Wait until all of it holds at once, as long as it takes: the caller bounds the time. Raises Playwright's `Error`."""
    while True:
        if goal.state is not None:
            await page.wait_for_load_state(load_state(goal.state), timeout=0)  # type: ignore[arg-type]
        if await _holds(page, goal):
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _holds(page: Page, goal: Goal) -> bool:
    try:
        return (
            goal.url in page.url
            and (not goal.text or True in await _shows(page, goal.text))
            and (not goal.text_gone or not {True, None} & await _shows(page, goal.text_gone))
        )
    except Error as error:
        if is_gone(error):
            raise
        return False  # it goes elsewhere just now


async def _shows(page: Page, text: str) -> set[bool | None]:
    """Whether its frames show it; None of one that does not say so. Those that have not loaded show nothing."""
    return set(await asyncio.gather(*(_frame_shows(frame, text) for frame in page.frames if frame.url)))


async def _frame_shows(frame: Frame, text: str) -> bool | None:
    try:
        async with asyncio.timeout(_FRAME_SECONDS if frame.parent_frame else None):
            return await frame.get_by_text(text).filter(visible=True).count() > 0
    except TimeoutError:
        return None
    except Error:
        if frame.is_detached():
            return False
        raise


class Motion:
    """What a page sets in motion while an action runs; a context manager around the action.

    `session` speaks to the page with its `Page` domain on: Chromium says there that a page is about to go somewhere or to
    open a window before anything of that can be seen. Without one less is known.
    """

    arrived = False
    """Whether the page went somewhere."""

    def __init__(self, page: Page, session: CDPSession | None, main_frame_id: str, windows: Callable[[], int]) -> None:
        self._page, self._session, self._main_id, self._windows = page, session, main_frame_id, windows
        self.began = time.monotonic()
        self._stir = asyncio.Event()
        self._leaving = False
        self._announced = 0
        self._under_way: set[Request] = set()
        self.answers: list[Response] = []
        self.failures: list[str] = []
        self._handlers: dict[str, Callable[[Any], None]] = {
            "request": self._ask,
            "response": self._answer,
            "requestfinished": self._end,
            "requestfailed": self._fail,
            "framenavigated": self._arrive,
        }
        self._signals: dict[str, Callable[[Any], None]] = {
            "Page.frameRequestedNavigation": self._leave,
            "Page.windowOpen": self._announce,
            "Page.downloadWillBegin": self._stay,
        }

    def __enter__(self) -> Self:
        for event, handler in self._handlers.items():
            self._page.on(event, handler)  # type: ignore[call-overload]  # the events are literals there
        if self._session is not None:
            for event, handler in self._signals.items():
                self._session.on(event, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for event, handler in self._handlers.items():
            self._page.remove_listener(event, handler)
        if self._session is not None:
            for event, handler in self._signals.items():
                self._session.remove_listener(event, handler)

    def expect(self) -> None:
        """It is about to go somewhere."""
        self._leaving = True

    async def settle(self) -> None:
        """Wait, for a while only, until the page is where the action leads to and what that opened is open."""
        await self._beat()
        await self._until(lambda: not self._leaving, _COMMIT_SECONDS)
        await self._until(lambda: self._windows() >= self._announced, _REST_SECONDS)
        if self.arrived:
            await self._loaded()
        await self._until(lambda: not self._under_way, _REST_SECONDS)

    async def _beat(self) -> None:
        try:
            async with asyncio.timeout(_BEAT_SECONDS):
                await self._page.evaluate(_BEAT)
        except TimeoutError:
            pass  # it is busy
        except Error as error:
            if is_gone(error):
                raise

    async def _loaded(self) -> None:
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                await self._page.wait_for_load_state("load", timeout=0)
        except TimeoutError:
            pass  # it goes on loading, and can be looked at

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._stir.clear()
                    await self._stir.wait()
        except TimeoutError:
            pass  # what is there then is told

    def _ask(self, request: Request) -> None:
        if request.resource_type in _TOGETHER and len(self._under_way) < _MOST_REQUESTS:
            self._under_way.add(request)

    def _answer(self, response: Response) -> None:
        if self._is_main(response.request):
            self.answers.append(response)

    def _end(self, request: Request) -> None:
        self._under_way.discard(request)
        self._stir.set()

    def _fail(self, request: Request) -> None:
        self._end(request)
        if self._is_main(request):
            self._leaving = False
            self.failures.append(request.failure or "")

    def _arrive(self, frame: Frame) -> None:
        if frame == self._page.main_frame:
            self.arrived, self._leaving = True, False
            self._stir.set()

    def _leave(self, given: dict[str, Any]) -> None:
        if given.get("disposition") == "currentTab" and given["frameId"] == self._main_id:
            self._leaving = not is_forbidden(given["url"])  # there it never comes

    def _stay(self, given: dict[str, Any]) -> None:
        del given
        self._leaving = False
        self._stir.set()

    def _announce(self, given: dict[str, Any]) -> None:
        del given
        self._announced += 1

    def _is_main(self, request: Request) -> bool:
        try:
            return request.is_navigation_request() and request.frame == self._page.main_frame
        except Error:  # its frame does not exist yet: it is a window's first
            return False
