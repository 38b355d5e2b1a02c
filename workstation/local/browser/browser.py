"""LocalBrowser: pages of a Chromium on this machine, in its jail."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

from workstation.egress import EgressProxy
from workstation.errors import BrowserError, InvalidArgument, WorkstationUnavailable
from workstation.interface import (
    Action,
    ActResult,
    BrowserCapabilities,
    BrowserLimits,
    Direction,
    Download,
    FileSystem,
    Frame,
    ImageFormat,
    LoadState,
    Page,
    PageLog,
    PageText,
    Picture,
    Snapshot,
)
from workstation.local.browser.bounds import characters_allowed, seconds_allowed
from workstation.local.browser.contexts import HEIGHT, WIDTH, Contexts
from workstation.local.browser.downloads import Downloads
from workstation.local.browser.engine import Engine
from workstation.local.browser.page import OpenPage
from workstation.local.browser.pages import OpenPages
from workstation.local.browser.passwords import Passwords
from workstation.local.browser.profile import Profile
from workstation.local.browser.snapshots import Wish
from workstation.local.browser.submissions import Refuse, Submissions
from workstation.local.browser.tasks import Tasks
from workstation.local.browser.uploads import Uploads
from workstation.local.browser.waiting import Goal

log = logging.getLogger(__name__)

_MOST_WAIT = 600.0
_LOOK_SECONDS = 5.0


def default_limits() -> BrowserLimits:
    """The bounds of a LocalBrowser that is given none."""
    return BrowserLimits(
        pages=20,
        snapshot_characters=100_000,
        text_characters=200_000,
        text_bytes=256 << 10,
        screenshot_pixels=32_000_000,
        pdf_bytes=64 << 20,
        download_bytes=256 << 20,
        upload_bytes=64 << 20,
        log_entries=1000,
        storage_bytes=8 << 20,
        navigation_seconds=30.0,
        action_seconds=15.0,
        frames_per_second=10.0,
        idle_seconds=900.0,
    )


class LocalBrowser:
    """A `Browser` over a workspace's files, open as an async context manager.

    Its pages share one context of Chromium: cookies and storage are theirs together. With a `profile`, a directory for one
    Browser at a time, they are found again. Chromium reaches what the rules of `egress` allow, and nothing without it. An
    `engine` may serve several Browsers; without one this has its own, which ends with it. `refuse_download` is asked as
    each download begins why it may not; '' if it may. `refuse_submission` is asked so for each form that a page sends to
    another host, with its own host and that; what is held back, `act` raises as `SubmissionBlocked`. It takes an engine that
    is not shared.
    """

    def __init__(
        self,
        files: FileSystem,
        *,
        egress: EgressProxy | None,
        profile: Path | None = None,
        limits: BrowserLimits | None = None,
        engine: Engine | None = None,
        refuse_download: Callable[[], str] = lambda: "",
        refuse_submission: Refuse | None = None,
    ) -> None:
        if engine is not None and engine.shared and refuse_submission is not None:
            raise ValueError("refuse_submission would be asked for the forms of all Browsers of this engine")
        self._files, self._egress, self._profile_place, self._given_engine = files, egress, profile, engine
        self._limits = limits or default_limits()
        self._refuse_download, self._refuse_submission = refuse_download, refuse_submission
        self._open = False

    async def __aenter__(self) -> Self:
        """Nothing is started yet. Raises `ProfileBusy`, `SandboxUnavailable`."""
        async with AsyncExitStack() as opened:
            engine = Engine(self._egress) if self._given_engine is None else self._given_engine
            self._engine = engine if self._given_engine else await opened.enter_async_context(engine)
            profile = None
            if self._profile_place is not None:
                kept = Profile(self._profile_place, most_bytes=self._limits.storage_bytes)
                profile = await opened.enter_async_context(kept)
            self._tasks = await opened.enter_async_context(Tasks())
            await self._open_parts(opened, profile)
            self._tasks.start(self._rest_when_idle(), "idle pages")
            self._opened = opened.pop_all()
        self._open = True
        return self

    async def _open_parts(self, opened: AsyncExitStack, profile: Profile | None) -> None:
        exchange, most, passwords = self._engine.exchange, self._limits, Passwords()
        self._submissions = Submissions(self._refuse_submission, self._tasks)
        self._contexts = Contexts(self._engine, profile, self._tasks, self._submissions)
        uploads = Uploads(self._files, exchange / "uploads", tasks=self._tasks, most_bytes=most.upload_bytes)
        opened.push_async_callback(uploads.clear)
        opened.push_async_callback(self._contexts.rest, for_ever=True)
        self._downloads = await opened.enter_async_context(
            Downloads(
                self._files,
                exchange / "downloads",
                most_bytes=most.download_bytes,
                refuse=self._refuse_download,
                mask=passwords.mask,
            )
        )
        self._pages = OpenPages(
            most,
            self._contexts,
            tasks=self._tasks,
            uploads=uploads,
            downloads=self._downloads,
            passwords=passwords,
            submissions=self._submissions,
            door=lambda: self._engine.door,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what runs, save cookies and storage, close all pages."""
        self._open = False
        self._pages.end()
        await self._opened.aclose()

    async def capabilities(self) -> BrowserCapabilities:
        """Say what works here and within which limits."""
        chromium = await self._engine.chromium()
        return BrowserCapabilities(
            engine=f"Chromium {chromium.version}",
            sandboxed=self._engine.sandboxed,
            egress_checked=True,
            live_view=True,
            persistent=self._profile_place is not None,
            limits=self._limits,
        )

    async def open_page(self, page_id: str, *, url: str = "", width: int = WIDTH, height: int = HEIGHT) -> Page:
        """Open a page; see `Browser.open_page`."""
        self._require_open()
        return await self._pages.open(page_id, url, width, height)

    async def pages(self) -> tuple[Page, ...]:
        """All open pages; see `Browser.pages`."""
        self._require_open()
        return tuple(await asyncio.gather(*(page.describe() for page in self._pages.shown())))

    async def navigate(
        self, page_id: str, to: str | Direction, *, wait_for: LoadState = LoadState.LOADED, timeout: float | None = None
    ) -> Page:
        """Go somewhere; see `Browser.navigate`.

        A page that is still loading when its time is over is given as far as it is, if there is anything of it.
        """
        page, most = self._page(page_id), self._limits.navigation_seconds
        seconds = seconds_allowed(timeout, most, limit="navigation_seconds", most=most)
        return await page.navigate(to, wait_for, seconds)

    async def snapshot(
        self,
        page_id: str,
        *,
        ref: str | None = None,
        depth: int | None = None,
        changes: bool = False,
        max_characters: int | None = None,
    ) -> Snapshot:
        """Take the accessibility tree; see `Browser.snapshot`. The snapshot of a part gives a ref to everything in it."""
        page = self._page(page_id)
        most = characters_allowed("snapshot_characters", max_characters, self._limits.snapshot_characters)
        if depth is not None and depth < 1:
            raise InvalidArgument(f"a depth is at least 1, not {depth}")
        wish = Wish(ref=ref, depth=depth, changes=changes, most=most)
        return await page.snapshot(wish, self._limits.action_seconds)

    async def act(self, page_id: str, action: Action, *, timeout: float | None = None) -> ActResult:
        """Act on an element; see `Browser.act`. Raises `NavigationFailed` too, if it leads to an address without a page."""
        page, most = self._page(page_id), self._limits.action_seconds
        return await page.acting.act(action, seconds_allowed(timeout, most, limit="action_seconds", most=most))

    async def allow_submission(self, sender: str, receiver: str, *, seconds: float) -> None:
        """Let forms go; see `Browser.allow_submission`."""
        self._require_open()
        self._submissions.allow(sender, receiver, seconds)

    async def allow_download(self, url: str, *, seconds: float) -> None:
        """Let downloads come; see `Browser.allow_download`."""
        self._require_open()
        self._downloads.allow(url, seconds)

    async def wait_for(
        self,
        page_id: str,
        *,
        text: str = "",
        text_gone: str = "",
        url: str = "",
        load_state: LoadState | None = None,
        timeout: float | None = None,
    ) -> Page:
        """Wait for what is named; see `Browser.wait_for`."""
        page = self._page(page_id)
        seconds = seconds_allowed(timeout, self._limits.action_seconds, most=_MOST_WAIT)
        if not (text or text_gone or url or load_state):
            raise InvalidArgument("say what to wait for: a text, a text that goes, an address, or a load state")
        return await page.wait_for(Goal(text=text, text_gone=text_gone, url=url, state=load_state), seconds)

    async def screenshot(
        self,
        page_id: str,
        *,
        ref: str | None = None,
        full_page: bool = False,
        format: ImageFormat = ImageFormat.PNG,  # noqa: A002  # the word for it
    ) -> Picture:
        """Take a picture; see `Browser.screenshot`."""
        page = self._page(page_id)
        if ref is not None and full_page:
            raise InvalidArgument("a picture is of one element or of the full page")
        return await page.picture(ref, full_page=full_page, form=format, seconds=self._limits.action_seconds)

    async def pdf(self, page_id: str) -> AsyncGenerator[bytes]:
        """Print the page; see `Browser.pdf`."""
        async with aclosing(self._page(page_id).pdf(self._limits.navigation_seconds)) as pieces:
            async for piece in pieces:
                yield piece

    async def read_text(self, page_id: str, *, offset: int = 0, max_characters: int | None = None) -> PageText:
        """Read the page; see `Browser.read_text`."""
        page = self._page(page_id)
        if offset < 0:
            raise InvalidArgument(f"an offset is at least 0, not {offset}")
        most = characters_allowed("text_characters", max_characters, self._limits.text_characters)
        return await page.read(offset, most, self._limits.navigation_seconds)

    async def downloads(self, page_id: str | None = None) -> tuple[Download, ...]:
        """The downloads; see `Browser.downloads`. Those of closed pages are among them."""
        self._require_open()
        return self._downloads.list(page_id)

    async def log(self, page_id: str, *, after: int = 0) -> PageLog:
        """Console and requests; see `Browser.log`."""
        page = self._page(page_id)
        if after < 0:
            raise InvalidArgument(f"entries are counted from 1; after {after} is no place")
        await page.learn_passwords()
        return page.logs.read(after)

    async def storage(self) -> str:
        """Cookies and storage; see `Browser.storage`."""
        self._require_open()
        return await self._contexts.storage(self._limits.storage_bytes, self._limits.navigation_seconds)

    async def set_storage(self, state: str) -> None:
        """Replace cookies and storage; see `Browser.set_storage`."""
        self._require_open()
        await self._contexts.set_storage(state, self._limits.storage_bytes, self._limits.navigation_seconds)

    async def close_page(self, page_id: str) -> None:
        """Close a page; see `Browser.close_page`."""
        self._require_open()
        await self._pages.close(page_id)

    async def live_view(
        self, page_id: str, *, frames_per_second: float = 2.0, quality: int = 60
    ) -> AsyncGenerator[Frame]:
        """Watch a page; see `Browser.live_view`."""
        async with aclosing(self._page(page_id).live(frames_per_second, quality)) as frames:
            async for frame in frames:
                yield frame

    def _page(self, page_id: str) -> OpenPage:
        """The page of that id. Raises `PageNotFound`, `WorkstationUnavailable`."""
        self._require_open()
        return self._pages.get(page_id)

    def _require_open(self) -> None:
        if not self._open:
            raise WorkstationUnavailable("the browser is not open")

    async def _rest_when_idle(self) -> None:
        """Close pages that nobody uses; when there are none, let Chromium go as well."""
        idle = self._limits.idle_seconds
        used = time.monotonic()
        while True:
            await asyncio.sleep(min(idle / 4, _LOOK_SECONDS))
            self._contexts.look()
            try:
                await self._pages.close_idle()
            except BrowserError:
                log.exception("a page that nobody uses is not closed")
            if not self._pages.none:
                used = time.monotonic()
            elif time.monotonic() - used >= idle:
                await self._contexts.rest()
                await self._engine.rest()
                used = time.monotonic()
