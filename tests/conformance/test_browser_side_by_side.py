"""Many calls at once: pages side by side, calls of one page in order, and calls given up midway."""

import asyncio

import pytest
from aiohttp import web

from tests.conformance.browsing import document, fresh_page_id, ref_of
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site, Sites
from workstation.errors import NavigationFailed, PageNotFound, WorkstationError
from workstation.interface import Browser, Click, Fill, Press

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_ten_pages_side_by_side(browser: Browser, open_tab: OpenTab) -> None:
    async def visit(number: int) -> None:
        tab = await open_tab(
            f"<button onclick=\"say('pressed {number}')\">Button {number}</button>", title=f"Page {number}"
        )
        await tab.click("button", f"Button {number}")
        assert (await tab.shows(f"pressed {number}")).title == f"Page {number}"
        assert (await browser.screenshot(tab.page_id)).data
        assert f"pressed {number}" in (await browser.read_text(tab.page_id)).text

    async with asyncio.timeout(60):
        await asyncio.gather(*(visit(number) for number in range(10)))
    assert len(await browser.pages()) == 10


async def test_a_page_that_waits_holds_up_no_other(browser: Browser, open_tab: OpenTab, sites: Sites) -> None:
    slow, other = await open_tab("slow"), await open_tab("<p>fine</p>")
    loading = asyncio.ensure_future(slow.navigate(sites.bad["silent"], timeout=20))
    await asyncio.sleep(0.2)
    assert "fine" in await other.text()
    assert not loading.done()
    assert len(await asyncio.wait_for(browser.pages(), 5)) == 2
    await browser.close_page(slow.page_id)
    with pytest.raises((PageNotFound, NavigationFailed)):
        await asyncio.wait_for(loading, 5)


async def test_calls_of_one_page_are_done_in_their_order(open_tab: OpenTab) -> None:
    tab = await open_tab("<input aria-label=Field>")
    ref = await tab.ref("textbox", "Field")
    async with asyncio.TaskGroup() as group:
        for letter in "abcdefghij":
            group.create_task(tab.act(Press(key=letter, ref=ref)))
    assert "abcdefghij" in await tab.text()


async def test_a_navigation_that_is_given_up(open_tab: OpenTab, sites: Sites) -> None:
    tab = await open_tab("before")
    for how in ("silent", "slow head", "slow body"):
        going = asyncio.ensure_future(tab.navigate(sites.bad[how]))
        await asyncio.sleep(0.3)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        page = await asyncio.wait_for(tab.navigate(sites.http.show(document("after", title="After"))), 20)
        assert page.title == "After"


async def test_calls_that_are_given_up_at_any_moment(browser: Browser, open_tab: OpenTab) -> None:
    tab = await open_tab("".join(f"<button>Button {n}</button>" for n in range(500)))
    ref = await tab.ref("button", "Button 0")

    async def pdf() -> None:
        async for _ in browser.pdf(tab.page_id):
            pass

    for begin in (
        tab.snapshot,
        lambda: browser.screenshot(tab.page_id, full_page=True),
        lambda: browser.read_text(tab.page_id),
        lambda: tab.act(Click(ref=ref)),
        lambda: browser.wait_for(tab.page_id, text="never"),
        pdf,
    ):
        for milliseconds in (0, 1, 5, 20, 60):
            call = asyncio.ensure_future(begin())
            await asyncio.sleep(milliseconds / 1000)
            call.cancel()
            await asyncio.wait([call])
    async with asyncio.timeout(20):
        assert "Button 1" in await tab.text()
        await tab.click("button", "Button 1")


async def test_an_opening_that_is_given_up(browser: Browser, sites: Sites) -> None:
    for how in ("silent", "slow head"):
        page_id = fresh_page_id()
        opening = asyncio.ensure_future(browser.open_page(page_id, url=sites.bad[how]))
        await asyncio.sleep(0.3)
        opening.cancel()
        await asyncio.wait([opening])
        assert page_id not in [page.page_id for page in await browser.pages()]
        assert (await browser.open_page(page_id, url=sites.http.show(document("x", title="Free")))).title == "Free"


async def test_openings_that_are_given_up_at_any_moment_leave_no_page(browser: Browser, open_tab: OpenTab) -> None:
    tab = await open_tab("<p>fine</p>")
    for milliseconds in (0, 1, 5, 10, 20, 30, 40):
        page_id = fresh_page_id()
        opening = asyncio.ensure_future(browser.open_page(page_id))
        await asyncio.sleep(milliseconds / 1000)
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled():
            await browser.close_page(page_id)
    await asyncio.sleep(0.5)  # one that nobody waits for may still come
    assert [page.page_id for page in await browser.pages()] == [tab.page_id]
    assert "fine" in await tab.text()


async def test_the_browser_is_closed_while_calls_run(open_browser, sites: Sites) -> None:
    async with open_browser() as browser:
        await browser.open_page("one")
        await browser.open_page("two", url=sites.http.show(document("two")))
        calls = [
            asyncio.ensure_future(browser.navigate("one", sites.bad["silent"])),
            asyncio.ensure_future(browser.wait_for("two", text="never")),
        ]
        await asyncio.sleep(0.3)
    done, _ = await asyncio.wait(calls, timeout=10)
    assert len(done) == 2
    for call in calls:
        assert type(call.exception()).__name__ in ("PageNotFound", "WorkstationUnavailable", "NavigationFailed")


async def test_the_browser_is_closed_while_pages_open(open_browser) -> None:
    for milliseconds in (0, 5, 20, 50):
        async with open_browser() as browser:
            openings = [asyncio.ensure_future(browser.open_page(fresh_page_id())) for _ in range(3)]
            await asyncio.sleep(milliseconds / 1000)
        done, _ = await asyncio.wait(openings, timeout=10)
        assert len(done) == 3
        for opening in openings:
            assert not opening.cancelled()
            assert isinstance(opening.exception(), WorkstationError | None)


async def test_two_browsers_side_by_side(open_browser, site: Site) -> None:
    async def use(number: int) -> None:
        async with open_browser() as browser:
            for _ in range(3):
                page_id = fresh_page_id()
                await browser.open_page(
                    page_id, url=site.show(document(f"<input aria-label=Field><p>Browser {number}</p>"))
                )
                text = (await browser.snapshot(page_id)).text
                await browser.act(page_id, Fill(ref=ref_of(text, "textbox", "Field"), text=f"typed {number}"))
                assert f"typed {number}" in (await browser.snapshot(page_id)).text
                await browser.close_page(page_id)

    async with asyncio.timeout(60):
        await asyncio.gather(*(use(number) for number in range(4)))


async def test_a_server_with_a_hundred_requests_at_once(open_tab: OpenTab, site: Site) -> None:
    at_once = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal at_once
        at_once += 1
        await asyncio.sleep(0.02)
        return web.Response(text="ok", headers={"Cache-Control": "no-store"})

    url = site.serve(answer)
    tab = await open_tab(
        f"<script>Promise.all([...Array(100).keys()].map((n) => fetch('{url}?' + n)))"
        ".then((all) => say('all ' + all.length))</script>"
    )
    await tab.shows("all 100")
    assert at_once == 100
