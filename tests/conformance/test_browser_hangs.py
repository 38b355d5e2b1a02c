"""Pages that never let go: each call ends within its time, the page can be closed, and others go on."""

import asyncio
import contextlib
from functools import partial

import pytest

from tests.conformance.browsing import document, fresh_page_id
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import BrowserError, NavigationFailed, PageCrashed, PageTimedOut
from workstation.interface import Browser, Click, Direction

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOREVER = "<button onclick='while (true) {}'>Hang</button>"


@pytest.fixture
def quick(open_browser):
    """Open a browser whose pages are given up soon."""
    return lambda: open_browser(navigation_seconds=2.0, action_seconds=1.0)


async def hang(tab) -> None:
    """Let the page's script run for ever."""
    ref = await tab.ref("button", "Hang")
    with contextlib.suppress(PageTimedOut, BrowserError):
        await asyncio.wait_for(tab.act(Click(ref=ref)), 15)


async def test_every_call_ends(quick, open_tab: OpenTab, site: Site) -> None:
    async with quick() as browser:
        tab = await open_tab(FOREVER, on=browser)
        await hang(tab)

        async def pdf() -> None:
            async for _ in browser.pdf(tab.page_id):
                pass

        for call in (
            tab.snapshot,
            partial(browser.wait_for, tab.page_id, text="never", timeout=1),
            partial(browser.screenshot, tab.page_id),
            partial(browser.read_text, tab.page_id),
            pdf,
            partial(tab.navigate, Direction.RELOAD),
        ):
            with contextlib.suppress(PageTimedOut, NavigationFailed, PageCrashed):
                await asyncio.wait_for(call(), 40)
        await asyncio.wait_for(browser.log(tab.page_id), 5)
        await asyncio.wait_for(browser.pages(), 5)
        await asyncio.wait_for(browser.close_page(tab.page_id), 15)
        assert await browser.pages() == ()
        assert (await browser.open_page(fresh_page_id(), url=site.show(document("x", title="Well")))).title == "Well"


async def test_others_go_on(quick, open_tab: OpenTab, site: Site) -> None:
    async with quick() as browser:
        tab = await open_tab(FOREVER, on=browser)
        other = await open_tab(url=site.show(document("<p>fine</p>"), host="other.test"), on=browser)
        await hang(tab)
        assert "fine" in await asyncio.wait_for(other.text(), 5)
        await asyncio.wait_for(browser.close_page(tab.page_id), 15)


async def test_a_browser_with_a_hanging_page_can_be_closed(quick, open_tab: OpenTab) -> None:
    async with asyncio.timeout(40):
        async with quick() as browser:
            await hang(await open_tab(FOREVER, on=browser))


@pytest.mark.parametrize(
    "body",
    [
        "<script>while (true) {}</script>",
        "<script>setInterval(() => { const end = Date.now() + 1e6; while (Date.now() < end) {} }, 1)</script>",
        "<script>const on = () => Promise.resolve().then(on); on()</script>",
        "<script>addEventListener('load', () => { while (true) {} })</script>",
        "<script>let a = [1]; while (true) a = a.map((x) => x)</script>",
        "<script>/(a+)+$/.test('a'.repeat(100) + '!')</script>",
        "<script>const on = () => { history.pushState({}, '', '?' + Math.random()); setTimeout(on) }; on()</script>",
        "<script>location = '?' + Math.random()</script>",
        "<script>setInterval(() => { location = location.pathname + '?' + Math.random() }, 10)</script>",
        "<script>setInterval(() => document.write('more '.repeat(1000)), 1)</script>",
        "<script>for (let n = 0; n < 1e5; n++) history.pushState({}, '', '?' + n)</script>",
        "<script>setInterval(() => { document.body.innerHTML = '<p>'.repeat(2000) }, 1)</script>",
        "<meta http-equiv=refresh content=0>",
        "<script>document.addEventListener('DOMContentLoaded', () => { while (true) {} })</script>",
    ],
)
async def test_pages_that_hang_while_they_open(quick, site: Site, body: str) -> None:
    async with quick() as browser:
        page_id = fresh_page_id()
        try:
            await asyncio.wait_for(browser.open_page(page_id, url=site.show(document(body))), 20)
            await asyncio.wait_for(browser.snapshot(page_id), 40)
        except (PageTimedOut, NavigationFailed, PageCrashed):
            pass
        await asyncio.wait_for(browser.close_page(page_id), 15)
        assert await browser.pages() == ()


async def test_a_worker_that_hangs_hangs_only_itself(browser: Browser, open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<script>for (let n = 0; n < 4; n++) new Worker(URL.createObjectURL(new Blob(['while (true) {}'])))</script>"
        "<button onclick=\"say('pressed')\">It</button>"
    )
    await tab.click("button", "It")
    await browser.wait_for(tab.page_id, text="pressed", timeout=20)


async def test_a_page_that_goes_in_circles_can_be_left(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    tab = await open_tab(
        "<script>setInterval(() => { location = location.pathname + '?' + Math.random() }, 300)</script>"
    )
    goal = site.show(document("<p>away</p>", title="Away"))

    for _ in range(5):
        try:
            page = await asyncio.wait_for(tab.navigate(goal), 20)
        except (NavigationFailed, PageTimedOut):
            continue
        if page.url == goal:
            break
    assert "away" in await tab.text()
