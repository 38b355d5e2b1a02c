"""Acting on one page: what an action sets in motion, and what has come of it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from playwright.async_api import CDPSession

from workstation.errors import ActionFailed, SubmissionBlocked
from workstation.interface import Action, ActResult, AnswerDialog, DialogKind, Page
from workstation.local.browser.actions import Hands, check_action, perform
from workstation.local.browser.dialogs import Dialogs
from workstation.local.browser.navigation import Navigator
from workstation.local.browser.submissions import Submissions, host_of
from workstation.local.browser.tasks import Tasks
from workstation.local.browser.turns import Turns
from workstation.local.browser.waiting import Motion

if TYPE_CHECKING:
    from workstation.local.browser.page import OpenPage

_PENDING_SECONDS = 1.0
_MOST_DOWNLOADS = 100


class Acting:
    """Actions on one page, and the windows and downloads that come of them; `describe` says where the page is."""

    def __init__(
        self,
        hands: Hands,
        *,
        turns: Turns,
        dialogs: Dialogs,
        navigator: Navigator,
        submissions: Submissions,
        tasks: Tasks,
        describe: Callable[[], Awaitable[Page]],
    ) -> None:
        self._hands, self._turns, self._dialogs = hands, turns, dialogs
        self._navigator, self._submissions, self._tasks, self._describe = navigator, submissions, tasks, describe
        self._signals: tuple[CDPSession, str] | None = None
        self._pending: asyncio.Future[None] | None = None
        self._windows = 0
        self._downloads: deque[str] = deque(maxlen=_MOST_DOWNLOADS)
        self.opened: list[OpenPage] = []
        """The windows that the page opened since its latest action began, and that are still open."""

    async def act(self, action: Action, seconds: float) -> ActResult:
        """See `Browser.act`."""
        if isinstance(action, AnswerDialog):
            return await self._turns.take(lambda: self._answer(action), seconds, dialogs=False)
        return await self._turns.take(lambda: self._act(action, seconds), seconds)

    def add_window(self, page: "OpenPage | None") -> None:
        """The page opened a window, or one that was too many."""
        self._windows += 1
        if page is not None:
            self.opened.append(page)

    def forget_window(self, page: "OpenPage") -> None:
        """A window is closed."""
        if page in self.opened:
            self.opened.remove(page)

    def add_download(self, download_id: str) -> None:
        """The page began a download."""
        self._downloads.append(download_id)

    async def _act(self, action: Action, seconds: float) -> ActResult:
        check_action(action, self._hands)
        since = self._begin()
        with await self._turns.watched(self._motion()) as motion:
            doing = self._tasks.begin(perform(action, self._hands, seconds), f"action on {self._hands.page_id}")
            try:
                await self._turns.first(doing)
                if doing.done():
                    doing.result()
                    await self._turns.until_asked(motion.settle())
                else:
                    self._pending = doing  # it goes on when the dialog is answered
            finally:
                if doing is not self._pending:
                    doing.cancel()
            return await self._result(since, motion)

    async def _answer(self, answer: AnswerDialog) -> ActResult:
        dialog = self._dialogs.current
        if dialog is None:
            raise ActionFailed("the page waits in no dialog", page_id=self._hands.page_id)
        pending, self._pending = self._pending, None
        since = self._begin()
        with self._motion_now() as motion:  # a page that asks answers nothing else
            try:
                await self._dialogs.answer(answer)
                if dialog.kind is DialogKind.BEFORE_UNLOAD and answer.accept:
                    motion.expect()
                if pending is not None:
                    await self._until_done(pending)
            finally:
                if pending is not None and not pending.done():
                    self._pending = pending  # until another action begins
            if not self._dialogs.current:
                await self._turns.until_asked(motion.settle())
            return await self._result(since, motion)

    async def _until_done(self, pending: "asyncio.Future[None]") -> None:
        """Let an action end that a dialog had held up; how it ends says nothing any more."""
        try:
            async with asyncio.timeout(_PENDING_SECONDS):
                await self._turns.first(pending)
        except TimeoutError:
            pass  # it waits for something that the dialog took from it

    def _begin(self) -> datetime:
        if self._pending is not None:
            self._pending.cancel()  # its dialog was dismissed, since nobody answered it
            self._pending = None
        self.opened.clear()
        self._downloads.clear()
        return datetime.now(UTC)

    async def _motion(self) -> Motion:
        if self._signals is None:
            session = await self._hands.page.context.new_cdp_session(self._hands.page)
            session.on("Page.frameRequestedNavigation", self._submissions.announce)
            await session.send("Page.enable")
            tree = await session.send("Page.getFrameTree")
            self._signals = session, tree["frameTree"]["frame"]["id"]
        return self._motion_now()

    def _motion_now(self) -> Motion:
        before = self._windows
        session, main_frame_id = self._signals or (None, "")
        return Motion(self._hands.page, session, main_frame_id, lambda: self._windows - before)

    async def _require_sent(self, since: float) -> None:
        """Raise `SubmissionBlocked` for a form that was held back."""
        hosts = {host_of(frame.url) for frame in self._hands.page.frames}
        try:
            self._submissions.require_sent(self._hands.page_id, since, hosts)
        except SubmissionBlocked:
            for window in tuple(self.opened):
                await window.close_if_empty()
            raise

    async def _result(self, since: datetime, motion: Motion) -> ActResult:
        await self._require_sent(motion.began)
        for response in motion.answers:
            await self._navigator.check(response)
        if motion.failures and self._hands.page.url.startswith("chrome-error:"):
            raise self._navigator.failure(motion.failures[-1], since)
        await self._navigator.leave_forbidden()
        if self._downloads:
            await asyncio.gather(*(window.close_if_left_empty() for window in self.opened))
        return ActResult(
            page=await self._describe(),
            opened=tuple([await page.describe() for page in tuple(self.opened)]),
            download_ids=tuple(self._downloads),
            dialog=self._dialogs.current,
        )
