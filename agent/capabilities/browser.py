"""The Browser capability: pages of the web through whatever Browser it was given, in answers that are short."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, ClassVar

from pydantic import BaseModel

from agent.capabilities import browser_actions as act
from agent.capabilities import browser_results as tell
from agent.capabilities.base import MARKED, Action, BaseCapability, EffectKey
from agent.capabilities.browser_risks import Risks
from agent.capabilities.browser_secrets import TypedPasswords
from agent.capabilities.browser_visits import LastUses, SeenElements, Visits, host_of, name_of, page_id_of
from agent.capabilities.policy import ASKED, Policy, Risk, Risky
from agent.errors import ActionFailed, ApprovalNeeded
from workstation.errors import DialogOpen, LimitExceeded, PageCrashed, SubmissionBlocked, WorkstationError
from workstation.interface import (
    Action as PageAction,
)
from workstation.interface import (
    ActResult,
    AnswerDialog,
    Browser,
    Click,
    Direction,
    Download,
    DownloadState,
    Drag,
    FileSystem,
    Fill,
    Hover,
    ImageFormat,
    Page,
    Press,
    Scroll,
    Select,
    Snapshot,
    Upload,
)
from workstation.opening import OpenedOnUse

LOOK_SECONDS = 20.0
"""How long an action that was done waits for a look at what it led to."""
UNUSED_SECONDS = 30.0
"""A page that another message has not used for so long makes room when there are too many."""
_DOWNLOAD_SECONDS = 5.0
"""Small files are complete by then, and nobody has to ask for them again."""
_POLL_SECONDS = 0.1
_ALLOWED_SECONDS = 30.0
"""How long what an approved action leads to has from the action's begin."""
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_OVERLAP = 32


class BrowserCapability(BaseCapability):
    """Uses pages; what `open_browser` gives is opened at the first use and held until the employee stops."""

    name: ClassVar[str] = "browser"
    actions: ClassVar[tuple[Action, ...]] = act.ACTIONS

    def __init__(self, open_browser: Callable[[], AbstractAsyncContextManager[Browser]], files: FileSystem) -> None:
        self._opened, self._files = OpenedOnUse(open_browser), files
        self._visits, self._seen, self._typed = Visits(), SeenElements(), TypedPasswords()
        self._risks, self._uses = Risks(self._visits, self._seen), LastUses()

    async def initialize(self) -> None:
        """Nothing is opened yet."""
        await self._opened.__aenter__()

    async def shutdown(self) -> None:
        """Close all pages, and the browser."""
        await self._opened.__aexit__(None, None, None)

    async def risks(self, action: str, arguments: Any, key: EffectKey) -> tuple[Risky, ...]:
        """Why it is risky to do this on the page: where that was seen, or where it is now if nothing of it is named."""
        if not self._risks.concern(action) or not self._opened.is_open:
            return ()
        page_id = page_id_of(arguments.page, key)
        url = self._seen.url(page_id) if getattr(arguments, "ref", None) else None
        url = await self._url(page_id) if url is None else url
        return () if url is None else self._risks.of(action, arguments, key, page_id=page_id, url=url)

    async def _url(self, page_id: str) -> str | None:
        """Where a page is; None if there is none of that id, which is said by what is done next."""
        try:
            pages = await (await self._opened.get()).pages()
        except WorkstationError as error:
            raise self._failure(error) from error
        return next((page.url for page in pages if page.page_id == page_id), None)

    def replayed(self, action: str, arguments: Any, key: EffectKey) -> None:
        """What was opened before counts as opened."""
        if action == "open_page":
            self._visits.opened(key, arguments.url)
        else:
            self._visits.read(key)

    def refuse_submission(self, sender: str, receiver: str, policy: Policy) -> str:
        """Why a form in a page of one host may not be sent to another; '' if it may."""
        return "" if self._visits.trust_both(sender, receiver) else policy.refusal(Risk.SUBMIT)

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        try:
            browser = await self._opened.get()
            if hasattr(arguments, "page"):
                self._uses.use(page_id_of(arguments.page, key))
            if key.held is not None:
                await _allow(browser, key.held)
            result: BaseModel = await getattr(self, f"_{action}")(browser, arguments, key)
            if getattr(result, MARKED, ""):
                self._visits.read(key)
            return self._typed.hidden_in(result)
        except WorkstationError as error:
            raise self._failure(error) from error

    def _failure(self, error: WorkstationError) -> ActionFailed:
        return ActionFailed(self._typed.hide_in(str(tell.failure(error))))

    # Going to pages and looking at them

    async def _open_page(self, browser: Browser, wanted: act.OpenPage, key: EffectKey) -> act.PageView:
        page_id = page_id_of(wanted.page, key)
        before = {one.download_id for one in await browser.downloads(page_id)}
        self._visits.opened(key, wanted.url)
        try:
            page = await self._go(browser, page_id, wanted.url)
        except PageCrashed:
            await browser.close_page(page_id)
            page = await self._go(browser, page_id, wanted.url)
        self._visits.opened(key, page.url)
        return await self._view(browser, page_id, key, before)

    async def _go(self, browser: Browser, page_id: str, url: str) -> Page:
        if any(page.page_id == page_id for page in await browser.pages()):
            return await browser.navigate(page_id, url)
        try:
            return await browser.open_page(page_id, url=url)
        except LimitExceeded as error:
            if error.limit != "pages" or not await self._make_room(browser):
                raise
            return await browser.open_page(page_id, url=url)

    async def _make_room(self, browser: Browser) -> bool:
        """Close the page that was not used for longest, if there is one that nobody seems to need."""
        unused = self._uses.unused((page.page_id for page in await browser.pages()), UNUSED_SECONDS)
        if unused is None:
            return False
        await browser.close_page(unused)
        return True

    async def _navigate(self, browser: Browser, wanted: act.Navigate, key: EffectKey) -> act.PageView:
        page_id = page_id_of(wanted.page, key)
        before = {one.download_id for one in await browser.downloads(page_id)}
        await browser.navigate(page_id, Direction(wanted.to))
        return await self._view(browser, page_id, key, before)

    async def _view(self, browser: Browser, page_id: str, key: EffectKey, before: set[str]) -> act.PageView:
        seen = await self._look(browser, page_id, max_characters=act.OPENED_CHARACTERS)
        begun = [one.download_id for one in await browser.downloads(page_id) if one.download_id not in before]
        return tell.page_view(seen, key, await self._followed(browser, begun))

    async def _snapshot(self, browser: Browser, wanted: act.TakeSnapshot, key: EffectKey) -> act.PageView:
        seen = await self._look(
            browser,
            page_id_of(wanted.page, key),
            ref=wanted.ref,
            depth=wanted.depth,
            changes=wanted.changes,
            max_characters=wanted.max_characters,
        )
        return tell.page_view(seen, key)

    async def _look(self, browser: Browser, page_id: str, **how: Any) -> Snapshot:
        seen = await browser.snapshot(page_id, **how)
        self._seen.see(seen)
        return seen

    async def _read_page(self, browser: Browser, wanted: act.ReadPage, key: EffectKey) -> act.ReadText:
        page_id = page_id_of(wanted.page, key)
        read = await browser.read_text(page_id, offset=wanted.offset, max_characters=act.READ_CHARACTERS)
        end = read.offset + len(read.text)
        return act.ReadText(
            page=wanted.page,
            next_offset=end if end < read.total else None,
            total=read.total,
            marked=tell.place(read.page, read.text),
        )

    # Acting on them

    async def _click(self, browser: Browser, wanted: act.Click, key: EffectKey) -> act.Acted:
        click = Click(ref=wanted.ref, button=wanted.button, clicks=2 if wanted.double else 1)
        return await self._act(browser, wanted.page, click, key)

    async def _fill(self, browser: Browser, wanted: act.Fill, key: EffectKey) -> act.Acted:
        if self._seen.is_password(page_id_of(wanted.page, key), wanted.ref):
            raise ActionFailed(
                "PASSWORD_FIELD: nothing was typed: use type_password, which keeps what is typed nowhere"
            )
        fill = Fill(ref=wanted.ref, text=wanted.text, submit=wanted.submit)
        return await self._act(browser, wanted.page, fill, key)

    async def _type_password(self, browser: Browser, wanted: act.TypePassword, key: EffectKey) -> act.Acted:
        password = wanted.password.get_secret_value()
        self._typed.add(password)
        return await self._act(browser, wanted.page, Fill(ref=wanted.ref, text=password), key)

    async def _press(self, browser: Browser, wanted: act.Press, key: EffectKey) -> act.Acted:
        return await self._act(browser, wanted.page, Press(key=wanted.key, ref=wanted.ref), key)

    async def _select(self, browser: Browser, wanted: act.Select, key: EffectKey) -> act.Acted:
        return await self._act(browser, wanted.page, Select(ref=wanted.ref, values=tuple(wanted.values)), key)

    async def _hover(self, browser: Browser, wanted: act.Hover, key: EffectKey) -> act.Acted:
        return await self._act(browser, wanted.page, Hover(ref=wanted.ref), key)

    async def _drag(self, browser: Browser, wanted: act.Drag, key: EffectKey) -> act.Acted:
        return await self._act(browser, wanted.page, Drag(ref=wanted.ref, to_ref=wanted.to_ref), key)

    async def _scroll(self, browser: Browser, wanted: act.Scroll, key: EffectKey) -> act.Acted:
        return await self._act(browser, wanted.page, Scroll(ref=wanted.ref, y=wanted.down), key)

    async def _upload_files(self, browser: Browser, wanted: act.UploadFiles, key: EffectKey) -> act.Acted:
        return await self._act(browser, wanted.page, Upload(ref=wanted.ref, paths=tuple(wanted.paths)), key)

    async def _answer_dialog(self, browser: Browser, wanted: act.AnswerDialog, key: EffectKey) -> act.Acted:
        return await self._act(browser, wanted.page, AnswerDialog(accept=wanted.accept, text=wanted.text), key)

    async def _act(self, browser: Browser, page: str, action: PageAction, key: EffectKey) -> act.Acted:
        try:
            result = await browser.act(page_id_of(page, key), action)
        except SubmissionBlocked as error:
            if not str(error).startswith(ASKED):
                raise
            between = (error.sender, error.receiver)
            held = Risky(Risk.SUBMIT, f"have a form of {between[0]} sent to {between[1]}", between)
            raise ApprovalNeeded(f"what the page was to send was held back: {error}", held.to_json()) from error
        for opened in result.opened:
            self._uses.use(opened.page_id)
        seen, note = await self._after(browser, result)
        return tell.acted(result, seen, key, await self._followed(browser, list(result.download_ids)), note)

    async def _after(self, browser: Browser, result: ActResult) -> tuple[Snapshot | None, str]:
        """What an action changed. It is done: whatever keeps us from looking is no failure of it."""
        if result.dialog is not None:
            return None, ""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                page_id = result.page.page_id
                return await self._look(browser, page_id, changes=True, max_characters=act.CHANGED_CHARACTERS), ""
        except TimeoutError:
            return None, "it was done, but the page does not answer: look again with snapshot"
        except DialogOpen:
            return None, "it was done, and the page waits in a dialog: answer_dialog"
        except WorkstationError as error:
            return None, f"it was done, but the page cannot be looked at ({error.reason}): list_pages"

    async def _followed(self, browser: Browser, download_ids: list[str]) -> tuple[Download, ...]:
        """These downloads, once they are complete or it takes too long."""
        end = time.monotonic() + _DOWNLOAD_SECONDS
        while download_ids:
            found = tuple(one for one in await browser.downloads() if one.download_id in download_ids)
            _require_approved(found)
            if time.monotonic() > end or all(one.state is not DownloadState.RUNNING for one in found):
                return found
            await asyncio.sleep(_POLL_SECONDS)
        return ()

    async def _wait_for(self, browser: Browser, wanted: act.WaitFor, key: EffectKey) -> act.Acted:
        if not (wanted.text or wanted.text_gone or wanted.url):
            raise ActionFailed("name what to wait for: text, text_gone or url")
        page = await browser.wait_for(
            page_id_of(wanted.page, key),
            text=wanted.text,
            text_gone=wanted.text_gone,
            url=wanted.url,
            timeout=wanted.timeout,
        )
        result = ActResult(page=page)
        seen, note = await self._after(browser, result)
        return tell.acted(result, seen, key, note=note)

    # Files, lists and the log

    async def _save_screenshot(self, browser: Browser, wanted: act.SaveScreenshot, key: EffectKey) -> act.SavedPicture:
        jpeg = wanted.path.lower().endswith((".jpg", ".jpeg"))
        picture = await browser.screenshot(
            page_id_of(wanted.page, key),
            ref=wanted.ref,
            full_page=wanted.full_page,
            format=ImageFormat.JPEG if jpeg else ImageFormat.PNG,
        )
        entry = await self._files.write(wanted.path, picture.data, parents=True)
        return act.SavedPicture(path=entry.path, size=entry.size, width=picture.width, height=picture.height)

    async def _save_pdf(self, browser: Browser, wanted: act.SavePdf, key: EffectKey) -> act.SavedPdf:
        counted = _CountedPages(browser.pdf(page_id_of(wanted.page, key)))
        async with aclosing(counted.pieces()) as pieces:
            entry = await self._files.write(wanted.path, pieces, parents=True)
        return act.SavedPdf(path=entry.path, size=entry.size, pages=counted.pages)

    async def _list_pages(self, browser: Browser, _: act.ListPages, key: EffectKey) -> act.Pages:
        return tell.pages(await browser.pages(), key)

    async def _close_page(self, browser: Browser, wanted: act.ClosePage, key: EffectKey) -> act.Closed:
        page_id = page_id_of(wanted.page, key)
        await browser.close_page(page_id)
        return act.Closed(page=name_of(page_id, key))

    async def _list_downloads(self, browser: Browser, _: act.ListDownloads, key: EffectKey) -> act.Downloads:
        found = await browser.downloads()
        return act.Downloads(downloads=[tell.download_row(one, key) for one in found[: act.MAX_LISTED]])

    async def _page_log(self, browser: Browser, wanted: act.ReadPageLog, key: EffectKey) -> act.LogEntries:
        log = await browser.log(page_id_of(wanted.page, key))
        return tell.log_entries(log, everything=wanted.everything)


def _require_approved(downloads: tuple[Download, ...]) -> None:
    for one in downloads:
        if one.failure.startswith(ASKED):
            held = Risky(Risk.DOWNLOAD, f"download {one.name} from {host_of(one.url)}", (one.url,))
            raise ApprovalNeeded(
                f"{one.name} was not downloaded from {host_of(one.url)}: {one.failure}", held.to_json()
            )


async def _allow(browser: Browser, held: Risky) -> None:
    """Have the browser let through what a person approved after it had held it back."""
    if held.risk is Risk.SUBMIT:
        await browser.allow_submission(*held.between, seconds=_ALLOWED_SECONDS)
    else:
        await browser.allow_download(*held.between, seconds=_ALLOWED_SECONDS)


class _CountedPages:
    """A PDF on its way, and how many pages it has."""

    def __init__(self, pdf: AsyncGenerator[bytes]) -> None:
        self._pdf = pdf
        self.pages = 0

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The bytes as they come."""
        before = b""
        async with aclosing(self._pdf) as pieces:
            async for piece in pieces:
                self.pages += len(_PDF_PAGE.findall(before + piece)) - len(_PDF_PAGE.findall(before))
                before = piece[-_OVERLAP:]
                yield piece
