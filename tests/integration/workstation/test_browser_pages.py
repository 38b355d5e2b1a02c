"""Pages of the local browser: what the contract leaves to it, over a real Chromium."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.errors import NavigationBlocked, PageNotFound, StaleRef
from workstation.interface import AnswerDialog, Click, Dialog, Page
from workstation.local.browser import dialogs, snapshots
from workstation.local.browser.browser import LocalBrowser, default_limits
from workstation.local.browser.outline import Node, read_outline
from workstation.local.files import LocalFileSystem

type Open = Callable[..., AbstractAsyncContextManager[LocalBrowser]]

BODY = """<!doctype html><title>Page</title><p>words</p>
<button onclick="document.querySelector('ul').insertAdjacentHTML('beforeend', '<li><button>Fresh</button>')">Add</button>
<button onclick="document.title = confirm('Sure?')">Ask</button><ul><li>one</ul><a href='http://10.1.2.3/'>Inside</a>
<script>if (location.search) localStorage.setItem('kept', 'yes');
document.title = localStorage.getItem('kept') || 'Page'</script>"""


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(text=BODY, content_type="text/html")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.fixture
def opened(tmp_path: Path, url: str) -> Open:
    @asynccontextmanager
    async def opened(**limits: Any) -> AsyncIterator[LocalBrowser]:
        workspace = tmp_path / "workspace"
        workspace.mkdir()
        if os.geteuid() == 0:
            os.chown(workspace, 1_899_999_999, 1_899_999_999)
        port = int(url.rstrip("/").rpartition(":")[2])
        policy = EgressPolicy((EgressRule("127.0.0.1", (port,), private=True),))
        async with (
            LocalFileSystem(workspace) as files,
            EgressProxy(policy) as egress,
            LocalBrowser(files, egress=egress, limits=replace(default_limits(), **limits)) as browser,
        ):
            yield browser

    return opened


def ref_of(text: str, name: str) -> str:
    [line] = [line for line in text.splitlines() if f'"{name}"' in line]
    return line.rpartition("[ref=")[2].partition("]")[0]


async def none_left(browser: LocalBrowser) -> None:
    async with asyncio.timeout(20):
        while await browser.pages():
            await asyncio.sleep(0.1)


async def test_a_page_that_nobody_uses_is_closed_and_storage_outlives_chromium(opened: Open, url: str) -> None:
    async with opened(idle_seconds=1.0) as browser:
        await browser.open_page("one", url=f"{url}?")
        assert (await browser.open_page("two", url=f"{url}?x")).title == "yes"
        await none_left(browser)
        with pytest.raises(PageNotFound):
            await browser.snapshot("one")
        async with asyncio.timeout(20):
            while browser._engine.door is not None:
                await asyncio.sleep(0.1)
        assert (await browser.open_page("three", url=url)).title == "yes"


async def test_a_dialog_that_nobody_answers_is_dismissed(
    opened: Open, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogs, "UNANSWERED_SECONDS", 1.0)
    async with opened() as browser:
        await browser.open_page("one", url=url)
        ask = Click(ref=ref_of((await browser.snapshot("one")).text, "Ask"))
        assert isinstance((await browser.act("one", ask)).dialog, Dialog)
        assert (await titled(browser)).title == "false"
        assert "dismissed" in (await browser.log("one")).console[-1].text


async def titled(browser: LocalBrowser) -> Page:
    async with asyncio.timeout(20):
        while (page := (await browser.pages())[0]).title == "Page":
            await asyncio.sleep(0.1)
    return page


async def test_refs_after_a_look_at_the_changes(opened: Open, url: str) -> None:
    async with opened() as browser:
        await browser.open_page("one", url=url)
        add = Click(ref=ref_of((await browser.snapshot("one")).text, "Add"))
        await browser.act("one", add)
        changed = await browser.snapshot("one", changes=True)
        assert changed.changes
        assert "words" not in changed.text
        await browser.act("one", Click(ref=ref_of(changed.text, "Fresh")))
        await browser.act("one", add)  # it is as it was, and known as such
        await browser.snapshot("one", ref=ref_of(changed.text.replace("- list", '- "list"'), "list"))
        with pytest.raises(StaleRef):
            await browser.act("one", add)


async def test_a_snapshot_that_nobody_saw_gives_no_refs(
    opened: Open, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def read_slowly(written: str, mask: Callable[[str], str]) -> list[Node]:
        begun.set()
        may_end.wait(20)
        try:
            return read_outline(written, mask)
        finally:
            ended.set()

    async with opened() as browser:
        await browser.open_page("one", url=url)
        add = Click(ref=ref_of((await browser.snapshot("one")).text, "Add"))
        monkeypatch.setattr(snapshots, "_SMALL_CHARACTERS", 0)
        monkeypatch.setattr(snapshots, "read_outline", read_slowly)
        looking = asyncio.ensure_future(browser.snapshot("one"))
        assert await asyncio.to_thread(begun.wait, 20)
        looking.cancel()
        await asyncio.wait([looking])
        may_end.set()
        assert await asyncio.to_thread(ended.wait, 20)
        await asyncio.sleep(0.1)
        with pytest.raises(StaleRef):
            await browser.act("one", add)


async def test_windows_that_are_closed_are_forgotten(opened: Open, url: str) -> None:
    async with opened() as browser:
        await browser.open_page("one", url=url)
        page = browser._pages.get("one")
        windows = "for (let n = 0; n < 10; n++) { const one = open('about:blank'); setTimeout(() => one.close(), 300) }"
        await page.tab.evaluate(f"() => {{ {windows} }}")
        async with asyncio.timeout(20):
            while not page.acting.opened:
                await asyncio.sleep(0.05)
            while page.acting.opened or len(await browser.pages()) > 1:
                await asyncio.sleep(0.05)


async def test_what_an_action_leads_to_is_refused_with_the_rules_reason(opened: Open, url: str) -> None:
    async with opened() as browser:
        await browser.open_page("one", url=url)
        inside = Click(ref=ref_of((await browser.snapshot("one")).text, "Inside"))
        with pytest.raises(NavigationBlocked, match=r"10\.1\.2\.3"):
            await browser.act("one", inside)
        with pytest.raises(NavigationBlocked, match=r"10\.1\.2\.3"):
            await browser.navigate("one", "https://10.1.2.3/")
        assert (await browser.navigate("one", url)).status == 200
        assert (await browser.act("one", Click(ref=ref_of((await browser.snapshot("one")).text, "Ask")))).dialog
        assert (await browser.act("one", AnswerDialog(accept=True))).page.title == "true"
