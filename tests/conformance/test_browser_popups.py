"""Pages that pages open: links with a target, `window.open`, chains and floods of them."""

import asyncio
from contextlib import suppress

import pytest

from tests.conformance.browsing import document, eventually
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import LimitExceeded
from workstation.interface import Browser, Click, DownloadState

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_link_with_a_target(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("<button onclick=\"say('popup pressed')\">Inside</button>", title="Popup"))
    tab = await open_tab(f"<a href='{goal}' target=_blank>Open</a>")
    (popup,) = (await tab.click("link", "Open")).opened
    assert popup.page_id != tab.page_id
    await browser.wait_for(popup.page_id, text="Inside", timeout=10)
    assert [page.page_id for page in await browser.pages()] == [tab.page_id, popup.page_id]
    assert (await browser.pages())[1].title == "Popup"


async def test_it_is_a_page_like_any_other(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("<button onclick=\"opener.say('hello from the popup')\">Inside</button>"))
    tab = await open_tab(f"<button onclick=\"window.open('{goal}')\">Open</button>")
    (popup,) = (await tab.click("button", "Open")).opened
    await browser.wait_for(popup.page_id, text="Inside", timeout=10)
    inside = type(tab)(browser, popup.page_id)
    await inside.click("button", "Inside")
    await tab.shows("hello from the popup")
    assert (await browser.screenshot(popup.page_id)).data
    await inside.navigate(site.show(document("elsewhere")))
    assert (await tab.navigate(site.show(document("the first goes on", title="On")))).title == "On"
    await browser.close_page(popup.page_id)
    assert [page.page_id for page in await browser.pages()] == [tab.page_id]


async def test_one_that_opens_after_the_action(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("late"))
    tab = await open_tab(f"<button onclick=\"setTimeout(() => window.open('{goal}'), 600)\">Open</button>")
    await tab.click("button", "Open")
    await eventually(lambda: _count(browser, 2))


async def test_a_middle_click_or_control_opens_another(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    tab = await open_tab(f"<a href='{site.show(document('goal'))}'>Open</a>")
    await tab.act(Click(ref=await tab.ref("link", "Open"), button="middle"))
    await eventually(lambda: _count(browser, 2))


async def test_one_without_an_address(browser: Browser, open_tab: OpenTab) -> None:
    tab = await open_tab("<button onclick=\"window.open().document.write('<p>written from outside')\">Open</button>")
    (popup,) = (await tab.click("button", "Open")).opened
    assert "written from outside" in (await browser.snapshot(popup.page_id)).text


async def test_chains(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    last = site.show(document("the last", title="Last"))
    second = site.show(f"<script>open('{last}')</script>second")
    tab = await open_tab(f"<button onclick=\"window.open('{second}')\">Open</button>")
    await tab.click("button", "Open")

    async def last_is_open() -> bool:
        return "Last" in [page.title for page in await browser.pages()]

    with suppress(TimeoutError):  # a browser may want a click for each
        await eventually(last_is_open, 3)
    ids = [page.page_id for page in await browser.pages()]
    assert len(ids) == len(set(ids)) >= 2


async def test_a_flood_is_bounded(open_browser, open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("one of many"))
    async with open_browser(pages=4) as browser:
        tab = await open_tab(
            f"<button onclick=\"for (let n = 0; n < 50; n++) window.open('{goal}?' + n)\">Open</button>", on=browser
        )
        result = await tab.click("button", "Open")
        assert len(result.opened) <= 3
        await asyncio.sleep(0.5)
        assert len(await browser.pages()) <= 4
        assert "Open" in await tab.text()
        for page in (await browser.pages())[1:]:
            await browser.close_page(page.page_id)
        await eventually(lambda: _count(browser, 1))
        await browser.open_page("another")


async def test_no_more_than_may_be_open(open_browser) -> None:
    async with open_browser(pages=2) as browser:
        await browser.open_page("one")
        await browser.open_page("two")
        with pytest.raises(LimitExceeded) as caught:
            await browser.open_page("three")
        assert (caught.value.limit, caught.value.allowed) == ("pages", 2)
        await browser.open_page("two")  # is open
        await browser.close_page("one")
        await browser.open_page("three")


async def test_a_popup_with_a_name_is_used_again(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    first, second = (site.show(document(word)) for word in ("first", "second"))
    tab = await open_tab(
        f"<button onclick=\"window.open('{first}', 'named')\">One</button>"
        f"<button onclick=\"window.open('{second}', 'named')\">Two</button>"
    )
    (popup,) = (await tab.click("button", "One")).opened
    assert (await tab.click("button", "Two")).opened == ()
    await browser.wait_for(popup.page_id, text="second", timeout=10)
    assert len(await browser.pages()) == 2


async def test_one_that_is_a_download(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    file = site.show(b"data", content_type="text/csv", content_disposition="attachment; filename=list.csv")
    tab = await open_tab(f"<a href='{file}' target=_blank>Save</a>")
    result = await tab.click("link", "Save")
    assert (len(result.download_ids), result.opened) == (1, ())

    async def complete() -> bool:
        return [one.state for one in await browser.downloads()] == [DownloadState.COMPLETE]

    await eventually(complete)
    await eventually(lambda: _count(browser, 1))


async def test_the_ids_of_popups_never_hit_one_that_is_open(browser: Browser, open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("popup"))
    url = site.show(document(f"<button onclick=\"window.open('{goal}')\">Open</button>"))
    for page_id in ("x", "x-2", "x-3", "y" * 64):
        await browser.open_page(page_id, url=url)
    tab = await open_tab()
    for page_id in ("x", "y" * 64):
        (popup,) = (await type(tab)(browser, page_id).click("button", "Open")).opened
        assert len(popup.page_id) <= 64
    ids = [page.page_id for page in await browser.pages()]
    assert len(ids) == len(set(ids)) == 7


async def _count(browser: Browser, count: int) -> bool:
    return len(await browser.pages()) == count
