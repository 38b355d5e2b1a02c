"""The open pages of one Browser: how they come, by our calls or by themselves, and how they go."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import BrowserContext, Error
from playwright.async_api import Dialog as Asked
from playwright.async_api import Page as Tab

from workstation.egress import Door
from workstation.errors import (
    InvalidArgument,
    LimitExceeded,
    PageCrashed,
    PageNotFound,
    PageTimedOut,
    WorkstationUnavailable,
)
from workstation.interface import BrowserLimits, LoadState, Page
from workstation.local.browser.contexts import HEIGHT, WIDTH, Contexts
from workstation.local.browser.downloads import Downloads
from workstation.local.browser.navigation import check_address
from workstation.local.browser.page import OpenPage, Surroundings
from workstation.local.browser.passwords import Passwords
from workstation.local.browser.submissions import Submissions, host_of
from workstation.local.browser.tasks import Tasks
from workstation.local.browser.uploads import Uploads

log = logging.getLogger(__name__)

_PAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_ID = 64
_MOST_PIXELS = 8192
_UNCLAIMED_SECONDS, _CLOSE_SECONDS = 0.1, 5.0


class OpenPages:
    """Pages by id, the oldest first; those that are still being opened count, but are not shown."""

    def __init__(
        self,
        limits: BrowserLimits,
        contexts: Contexts,
        *,
        tasks: Tasks,
        uploads: Uploads,
        downloads: Downloads,
        passwords: Passwords,
        submissions: Submissions,
        door: Callable[[], Door | None],
    ) -> None:
        self._limits, self._contexts, self._tasks, self._uploads = limits, contexts, tasks, uploads
        self._pages: dict[str, OpenPage] = {}
        self._opening: dict[str, tuple[asyncio.Lock, int]] = {}
        self._reserved = 0
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unclaimed: set[Tab] = set()
        self._around = Surroundings(
            limits=limits,
            tasks=tasks,
            passwords=passwords,
            uploads=uploads,
            downloads=downloads,
            submissions=submissions,
            door=door,
            alive=lambda: contexts.alive,
            adopt=self._adopt,
            leave=self._leave,
        )
        contexts.follow(made=self._listen, lost=self._lose)
        submissions.follow(self._tell)

    @property
    def none(self) -> bool:
        """Whether there is no page, and none to come."""
        return not (self._pages or self._reserved)

    def shown(self) -> list[OpenPage]:
        """Those that are open."""
        return [page for page in self._pages.values() if page.shown]

    def get(self, page_id: str) -> OpenPage:
        """The page of that id. Raises `PageNotFound`."""
        page = self._pages.get(page_id)
        if page is None or not page.shown:
            shown = page_id if _PAGE_ID.fullmatch(page_id) else "of that id"
            raise PageNotFound(f"there is no page {shown}", page_id=page_id[:_MOST_ID])
        return page

    async def open(self, page_id: str, url: str, width: int, height: int) -> Page:
        """See `Browser.open_page`."""
        if not _PAGE_ID.fullmatch(page_id):
            raise InvalidArgument("a page id is of 1 to 64 letters, digits, - and _")
        if not (1 <= width <= _MOST_PIXELS and 1 <= height <= _MOST_PIXELS):
            raise InvalidArgument(f"a page is 1 to {_MOST_PIXELS} pixels wide and high")
        if url:
            check_address(url, page_id)
        async with self._turn(page_id):
            if (page := self._pages.get(page_id)) is None:
                return await self._open(page_id, url, width, height)
        if page.turns.crashed:
            raise PageCrashed(f"the page {page_id} died: close it and open it again", page_id=page_id)
        return await page.describe()

    async def close(self, page_id: str) -> None:
        """Close a page, if there is one of that id."""
        if (page := self._pages.get(page_id)) is not None:
            await page.close()

    async def close_idle(self) -> None:
        """Close those that nobody uses."""
        for page in list(self._pages.values()):
            if page.turns.idle_seconds >= self._limits.idle_seconds:
                await page.close()

    def end(self) -> None:
        """The Browser is closed, and all pages with it."""
        if not self._closed.done():
            self._closed.set_result(None)
        for page in self._pages.values():
            page.turns.end(WorkstationUnavailable, "the browser is closed")
        self._pages.clear()

    @asynccontextmanager
    async def _turn(self, page_id: str) -> AsyncIterator[None]:
        """One call at a time opens a page of this id; the next finds it open."""
        lock, waiting = self._opening.get(page_id, (asyncio.Lock(), 0))
        self._opening[page_id] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._opening.pop(page_id)
            if waiting > 1:
                self._opening[page_id] = lock, waiting - 1

    async def _open(self, page_id: str, url: str, width: int, height: int) -> Page:
        self._require_room()
        self._reserved += 1
        try:
            tab = await self._new_tab(page_id)
            page = self._pages[page_id] = OpenPage(page_id, tab, self._around, shown=False)
        finally:
            self._reserved -= 1
        seconds = self._limits.navigation_seconds
        try:
            if (width, height) != (WIDTH, HEIGHT):
                await page.resize(width, height, seconds)
            shown = await page.navigate(url, LoadState.LOADED, seconds) if url else await page.describe()
            page.turns.require_open()
        except BaseException:
            await page.close()
            raise
        page.shown = True
        return shown

    async def _new_tab(self, page_id: str) -> Tab:
        for _ in range(2):
            context = await self._contexts.get()
            try:
                async with asyncio.timeout(self._limits.navigation_seconds):
                    return await self._tab_in(context)
            except TimeoutError:
                await self._contexts.discard()
                raise PageTimedOut("Chromium hung and was replaced: try again", page_id=page_id) from None
            except Error:
                continue  # Chromium died just now, and another is there in a moment
        raise WorkstationUnavailable("Chromium keeps dying")

    async def _tab_in(self, context: BrowserContext) -> Tab:
        """Open a window; when nobody waits for it any more, see it come and close it."""
        opening = asyncio.ensure_future(context.new_page())
        either: list[asyncio.Future[Any]] = [opening, self._closed]  # Playwright waits for ever in a closed context
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            given_up = self._closed.done() or not opening.done()
            if given_up and self._tasks.start(self._drop(opening), "a window that nobody waits for") is None:
                opening.cancel()
        if given_up:
            raise WorkstationUnavailable("the browser is closed")
        self._unclaimed.discard(opening.result())
        return opening.result()

    async def _drop(self, opening: "asyncio.Future[Tab]") -> None:
        self._reserved += 1
        try:
            await asyncio.wait([opening], timeout=_CLOSE_SECONDS)
        finally:
            self._reserved -= 1
            opening.cancel()
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            self._unclaimed.discard(opening.result())
            await _close(opening.result())

    def _adopt(self, opener: OpenPage, tab: Tab) -> None:
        """Take in a window that a page opened, or close it again if there are too many."""
        self._unclaimed.discard(tab)
        if self._closed.done() or len(self._pages) + self._reserved >= self._limits.pages:
            opener.add_opened(None)
            self._tasks.start(_close(tab), "a window too many")
            return
        page_id = self._free_id(opener.page_id)
        page = self._pages[page_id] = OpenPage(page_id, tab, self._around)
        opener.add_opened(page)

    def _free_id(self, opener: str) -> str:
        number = 2
        while (page_id := f"{opener[: _MOST_ID - len(str(number)) - 1]}-{number}") in self._pages:
            number += 1
        return page_id

    def _leave(self, page: OpenPage) -> None:
        if self._pages.get(page.page_id) is page:
            del self._pages[page.page_id]
            self._uploads.forget(page.page_id)
            for other in self._pages.values():
                other.acting.forget_window(page)

    def _require_room(self) -> None:
        most = self._limits.pages
        if len(self._pages) + self._reserved >= most:
            raise LimitExceeded(f"{most} pages are open: close one first", limit="pages", allowed=most)

    def _tell(self, host: str, text: str) -> None:
        """Log something in the pages that may be the one that it is about."""
        for page in self._pages.values():
            if host in ("", *(host_of(frame.url) for frame in page.tab.frames)):
                page.logs.add("warning", text)

    def _lose(self) -> None:
        """Chromium died, and all pages with it."""
        for page in self._pages.values():
            page.turns.end(PageCrashed, "Chromium died, and the page with it: close it and open it again")

    def _listen(self, context: BrowserContext) -> None:
        context.on("page", self._meet)
        context.on("dialog", self._ask)

    def _meet(self, tab: Tab) -> None:
        self._unclaimed.add(tab)
        self._tasks.start(self._expect_claim(tab), "a new window")

    async def _expect_claim(self, tab: Tab) -> None:
        """Take in a window of which Chromium does not say who opened it, as by a middle click: the page used last."""
        await asyncio.sleep(_UNCLAIMED_SECONDS)
        while self._reserved and tab in self._unclaimed:  # noqa: ASYNC110 - several may be opened at once
            await asyncio.sleep(_UNCLAIMED_SECONDS)  # it may be one that we open
        if tab not in self._unclaimed:
            return
        if pages := self.shown():
            self._adopt(max(pages, key=lambda page: page.turns.used), tab)
        else:
            self._unclaimed.discard(tab)
            await _close(tab)

    def _ask(self, asked: Asked) -> None:
        for page in self._pages.values():
            if page.tab == asked.page:
                page.dialogs.ask(asked)
                return
        self._tasks.start(_dismiss(asked), "a dialog of nobody's")


async def _close(tab: Tab) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await tab.close()
    except (Error, TimeoutError):
        log.debug("a window was gone before it was closed, or does not answer")


async def _dismiss(asked: Asked) -> None:
    try:
        await asked.dismiss()
    except Error:
        log.debug("a dialog was gone before it was dismissed")
