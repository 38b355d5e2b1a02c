"""One open page: where it stands, what can be done with it, and how it ends."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from playwright.async_api import Download, Error, Frame, Response
from playwright.async_api import Page as Tab

from workstation.egress import Door
from workstation.errors import PageCrashed, PageNotFound, PageTimedOut
from workstation.interface import BrowserLimits, Direction, ImageFormat, LoadState, Page, PageText, Picture, Snapshot
from workstation.interface import Frame as LiveFrame
from workstation.local.browser.acting import Acting
from workstation.local.browser.actions import Hands
from workstation.local.browser.dialogs import Dialogs
from workstation.local.browser.downloads import Downloads
from workstation.local.browser.ears import Ear
from workstation.local.browser.failures import is_gone, translate
from workstation.local.browser.frames import told_frames
from workstation.local.browser.leaving import despite_leaving
from workstation.local.browser.live import watch
from workstation.local.browser.logs import PageLogs
from workstation.local.browser.navigation import Navigator, check_address
from workstation.local.browser.outline import plain
from workstation.local.browser.passwords import Passwords
from workstation.local.browser.pictures import take_picture
from workstation.local.browser.printing import print_pdf
from workstation.local.browser.reading import read_text
from workstation.local.browser.snapshots import Snapshots, Wish
from workstation.local.browser.submissions import Submissions
from workstation.local.browser.tasks import Tasks
from workstation.local.browser.turns import Turns
from workstation.local.browser.uploads import Uploads
from workstation.local.browser.waiting import Goal, wait_until

_TITLE_SECONDS, _CLOSE_SECONDS = 1.0, 5.0
_DEATH_SECONDS = 0.3
_NOWHERE = ("", ":")
_NO_TITLE = re.compile(r"Loading [a-z-]+:")
"""The address of a window before its first document; the second is Chromium 150's."""
_MOST_TITLE, _MOST_URL = 300, 2000
_DIED = "the page {} died: close it and open another"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pages of one Browser share; `adopt` takes a window in that a page opened, `leave` lets a page go."""

    limits: BrowserLimits
    tasks: Tasks
    passwords: Passwords
    uploads: Uploads
    downloads: Downloads
    submissions: Submissions
    door: Callable[[], Door | None]
    alive: Callable[[], bool]
    adopt: "Callable[[OpenPage, Tab], None]"
    leave: "Callable[[OpenPage], None]"


class OpenPage:
    """A page with an id; its calls run one after another."""

    _status: int | None = None

    def __init__(self, page_id: str, tab: Tab, around: Surroundings, *, shown: bool = True) -> None:
        self.page_id, self.tab, self._around, self.shown = page_id, tab, around, shown
        self._title = ""
        self._answer_of_main: Response | None = None
        mask = around.passwords.mask
        self.logs = PageLogs(tab, most_entries=around.limits.log_entries, mask=mask)
        self.dialogs = Dialogs(page_id, tasks=around.tasks, mask=mask, say=lambda text: self.logs.add("warning", text))
        self.turns = Turns(page_id, self.dialogs, mask=mask, door=around.door, learn_end=self._learn_end)
        self._snapshots = Snapshots(page_id, tab, around.passwords)
        self._navigator = Navigator(page_id, tab, around.door)
        self.acting = Acting(
            Hands(page_id, tab, self._snapshots, around.passwords, around.uploads, text_bytes=around.limits.text_bytes),
            turns=self.turns,
            dialogs=self.dialogs,
            navigator=self._navigator,
            submissions=around.submissions,
            tasks=around.tasks,
            describe=self.describe,
        )
        self._listen()

    async def describe(self) -> Page:
        """Where it is and what it calls itself; of one that does not answer, what it called itself last."""
        if not (self.turns.ended.done() or self.dialogs.current):
            try:
                async with asyncio.timeout(_TITLE_SECONDS):
                    title = await self.tab.title()
                    await self.learn_passwords()
                # Between two documents Playwright makes a title of the address that is being loaded.
                self._title = "" if _NO_TITLE.match(title) else title
            except TimeoutError:
                pass  # it is busy
            except Error as error:
                if not is_gone(error):
                    self._title = ""  # it is between two documents
        mask = self._around.passwords.mask
        url = "" if self.tab.url in _NOWHERE else self.tab.url.encode("utf-8", "replace").decode()
        return Page(
            page_id=self.page_id,
            url=mask(url[: 2 * _MOST_URL])[:_MOST_URL],
            title=plain(mask(self._title[: 2 * _MOST_TITLE]), _MOST_TITLE),
            status=self._status,
        )

    async def learn_passwords(self) -> None:
        """Learn what its password fields hold, before anything of it is told."""
        if not (self.turns.ended.done() or self.dialogs.current):
            await self._around.passwords.learn(self.tab, told_frames(self.tab, {}))

    async def resize(self, width: int, height: int, seconds: float) -> None:
        """Make its window of this size, in pixels."""
        await self.turns.call(lambda: self.tab.set_viewport_size({"width": width, "height": height}), seconds)

    async def navigate(self, to: str | Direction, state: LoadState, seconds: float) -> Page:
        """See `Browser.navigate`."""
        if not isinstance(to, Direction):
            check_address(to, self.page_id)
        reserve = min(_TITLE_SECONDS, seconds / 4)
        deadline = time.monotonic() + seconds

        async def go() -> Page:
            if isinstance(to, Direction):
                await self._navigator.move(to, state, seconds - reserve)
            else:
                await self._navigator.go(to, state, seconds - reserve)
            await self._require_answer(max(deadline - time.monotonic(), reserve))
            await self._navigator.leave_forbidden()
            return await self.describe()

        return await self.turns.call(go, seconds + reserve)

    async def snapshot(self, wish: Wish, seconds: float) -> Snapshot:
        """See `Browser.snapshot`."""

        async def take() -> Snapshot:
            seen = await self._snapshots.take(wish, seconds)
            return Snapshot(page=await self.describe(), text=seen.text, truncated=seen.truncated, changes=seen.changes)

        return await self.turns.call(take, seconds)

    async def wait_for(self, goal: Goal, seconds: float) -> Page:
        """See `Browser.wait_for`."""

        async def wait() -> Page:
            await wait_until(self.tab, goal)
            return await self.describe()

        return await self.turns.call(wait, seconds, "what was waited for did not come")

    async def picture(self, ref: str | None, *, full_page: bool, form: ImageFormat, seconds: float) -> Picture:
        """See `Browser.screenshot`."""

        async def take() -> Picture:
            element = None if ref is None else self._snapshots.element(ref)
            most = self._around.limits.screenshot_pixels
            return await take_picture(self.tab, most_pixels=most, element=element, full_page=full_page, format=form)

        return await self.turns.call(lambda: despite_leaving(self.tab, take), seconds, ref=ref)

    async def read(self, offset: int, most: int, seconds: float) -> PageText:
        """See `Browser.read_text`."""

        async def read() -> PageText:
            got = await read_text(self.tab, offset=offset, most_characters=most)
            page = await self.describe()
            text = self._around.passwords.mask(got.text)
            return PageText(page=page, text=text, offset=got.offset, total=got.total)

        return await self.turns.call(lambda: despite_leaving(self.tab, read), seconds)

    async def pdf(self, seconds: float) -> AsyncGenerator[bytes]:
        """See `Browser.pdf`; others have their turn between two pieces."""
        async with aclosing(print_pdf(self.tab, most_bytes=self._around.limits.pdf_bytes)) as pieces:
            while piece := await self.turns.call(lambda: anext(pieces, b""), seconds):
                yield piece

    async def live(self, frames_per_second: float, quality: int) -> AsyncGenerator[LiveFrame]:
        """See `Browser.live_view`; it takes no turn."""
        fastest = self._around.limits.frames_per_second
        frames = watch(
            self.tab, self.turns.ended, frames_per_second=frames_per_second, fastest=fastest, quality=quality
        )
        async with aclosing(frames):
            async for frame in frames:
                yield frame

    async def close(self) -> None:
        """Close it, whatever it does."""
        self.turns.end(PageNotFound, f"the page {self.page_id} is closed")
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.tab.close()
        except TimeoutError:
            self.logs.add("error", "the page does not close")
        except Error as error:
            if not (is_gone(error) or self.tab.is_closed()):
                raise translate(error, self.page_id) from None
        finally:
            self._around.leave(self)
            await self._around.downloads.cancel(self.page_id)

    async def close_if_empty(self) -> None:
        """Close it if it was opened for what is no page: it never gets a document."""
        if self.tab.url in _NOWHERE and not self.tab.is_closed():
            await self.close()

    async def close_if_left_empty(self) -> None:
        """Close it if a file was all that it was opened for; a document of its own would be on its way."""
        if self.tab.url in _NOWHERE:
            await asyncio.sleep(_DEATH_SECONDS)
            await self.close_if_empty()

    def add_opened(self, page: "OpenPage | None") -> None:
        """It opened a page, or one that was too many."""
        if page is None:
            self.logs.add("warning", "a window that the page opened was closed again: there are too many pages")
        self.acting.add_window(page)

    async def _require_answer(self, seconds: float) -> None:
        """Raise `PageTimedOut` for a page whose scripts never pause."""
        try:
            async with asyncio.timeout(seconds):
                await self.tab.title()
        except TimeoutError:
            raise PageTimedOut("the page is there, but does not answer", page_id=self.page_id) from None
        except Error as error:
            if is_gone(error):
                raise

    # What Playwright tells of it.

    def _listen(self) -> None:
        self.tab.on("close", lambda _: self._close())
        self.tab.on("crash", lambda _: self.turns.end(PageCrashed, _DIED.format(self.page_id)))
        self.tab.on("popup", lambda popup: self._around.adopt(self, popup))
        self.tab.on("download", self._begin_download)
        self.tab.on("framenavigated", self._arrive)
        Ear(self.tab, {"response": self._note}, lambda: None)

    def _close(self) -> None:
        if not self.turns.ended.done():
            self._around.tasks.start(self._learn_end(), f"end of {self.page_id}")
        elif not self.turns.crashed:
            self._around.leave(self)

    async def _learn_end(self) -> None:
        """Tell a page that is closed from one that dies with Chromium, whose pages close a moment before that is known."""
        deadline = time.monotonic() + _DEATH_SECONDS
        while not self.turns.ended.done() and self._around.alive() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_DEATH_SECONDS / 10)  # of a driver's end nothing tells
        if not self._around.alive():
            self.turns.end(PageCrashed, _DIED.format(self.page_id))
        elif self.tab.is_closed() and not self.turns.ended.done():
            self.turns.end(PageNotFound, f"the page {self.page_id} is closed")
            self._around.leave(self)

    def _begin_download(self, given: Download) -> None:
        self.acting.add_download(self._around.downloads.begin(self.page_id, given))
        self._around.tasks.start(self._close_empty(*self.acting.opened), f"empty windows of {self.page_id}")

    async def _close_empty(self, *opened: "OpenPage") -> None:
        """Close windows that this page opened for a file alone."""
        await asyncio.sleep(_DEATH_SECONDS)
        for window in {*opened, *self.acting.opened}:
            await window.close_if_empty()

    def _note(self, response: Response) -> None:
        request = response.request
        try:
            if request.is_navigation_request() and request.frame == self.tab.main_frame:
                self._answer_of_main = response
        except Error:  # its frame does not exist yet: it is a window's first
            self._answer_of_main = response

    def _arrive(self, frame: Frame) -> None:
        if frame != self.tab.main_frame:
            return
        response, self._answer_of_main = self._answer_of_main, None
        if response is not None:
            self._status = response.status
        elif frame.url.startswith(("http:", "https:")):
            return  # another place in the same document
        else:
            self._status = None
        self._snapshots.forget()
