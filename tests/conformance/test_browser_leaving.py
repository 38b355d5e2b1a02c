"""Pages that go elsewhere while they are looked at or acted on, and ways to a page that lead over others."""

import asyncio

import pytest

from tests.conformance.browsing import document, ref_of
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site, Sites
from workstation.errors import ActionFailed
from workstation.interface import ActResult, Click, Direction, Fill, LoadState

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("look", ["snapshot", "read_text", "screenshot", "log"])
async def test_looking_on_while_it_goes(open_tab: OpenTab, site: Site, look: str) -> None:
    goal = site.show(document("arrived"))
    tab = await open_tab(f"<button onclick=\"setTimeout(() => location = '{goal}', 100)\">Go</button>")
    await tab.click("button", "Go")
    looking = getattr(tab.browser, look)
    for _ in range(15):
        await looking(tab.page_id)
    await tab.shows("arrived")


@pytest.mark.parametrize("how", ["replaceState", "pushState"])
async def test_a_page_that_only_gives_itself_another_address_is_not_left(
    open_browser, open_tab: OpenTab, how: str
) -> None:
    """What is hidden is waited for, longer than is left when the look begins again."""
    async with open_browser(action_seconds=6.0) as browser:
        tab = await open_tab(
            '<button id=it>It</button><button onclick="it.hidden = true; let n = 0;'
            f" setInterval(() => history.{how}({{}}, '', '#' + n++ % 7), 200)\">Go</button>",
            on=browser,
        )
        text = await tab.text()
        await tab.act(Click(ref=ref_of(text, "button", "Go")))
        with pytest.raises(ActionFailed, match="hidden"):
            await browser.screenshot(tab.page_id, ref=ref_of(text, "button", "It"))


@pytest.mark.parametrize("milliseconds", [0, 20, 100])
async def test_a_click_after_which_it_goes(open_tab: OpenTab, site: Site, milliseconds: int) -> None:
    goal = site.show(document("<button>Next</button>", title="Arrived"))
    tab = await open_tab(
        f"<button onclick=\"setTimeout(() => location = '{goal}', {milliseconds})\">Go</button>", title="Before"
    )
    result = await tab.click("button", "Go")
    assert isinstance(result, ActResult)
    assert result.page.title in ("Before", "Arrived", "")
    await tab.shows("Next")
    await tab.click("button", "Next")


async def test_to_nothing(open_tab: OpenTab, site: Site) -> None:
    tab = await open_tab("<button onclick=\"setTimeout(() => location = 'about:blank', 50)\">Go</button>")
    await tab.click("button", "Go")
    page = await tab.browser.wait_for(tab.page_id, url="about:blank", timeout=10)
    assert (page.title, page.url) == ("", "about:blank")
    assert len(await tab.text()) < 100
    assert (await tab.navigate(site.show(document("x", title="Back")))).title == "Back"


async def test_a_form_that_is_sent_while_it_is_filled_in(open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("sent", title="Sent"))
    tab = await open_tab(f"<form action='{goal}'><input name=a aria-label=Field oninput='form.submit()'></form>")
    await tab.act(Fill(ref=await tab.ref("textbox", "Field"), text="words"))
    await tab.shows("sent")
    assert len(site.requests(f"{goal}?a=words")) == 1


async def test_back_to_one_that_never_has_loaded(open_tab: OpenTab, sites: Sites, site: Site) -> None:
    tab = await open_tab()
    never = site.show(document(f"<img src='{sites.bad['silent']}'>words", title="Never"), cache_control="no-store")
    await tab.navigate(never, wait_for=LoadState.DOCUMENT)
    await tab.navigate(site.show(document("second", title="Second")))
    page = await asyncio.wait_for(tab.navigate(Direction.BACK, timeout=1), 15)
    assert (page.title, page.url) == ("Never", never)
    assert "words" in await tab.text()


async def test_over_a_chain_of_redirects(open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("goal", title="Goal"), host="third.test")
    chain = [goal]
    for status, host in ((301, "other.test"), (307, "site.test"), (302, "third.test"), (308, "other.test")):
        chain.append(site.redirect(chain[-1], status, host=host))
    tab = await open_tab(f"<a href='{chain[-1]}'>Go</a>")
    page = (await tab.act(Click(ref=await tab.ref("link", "Go")))).page
    assert (page.url, page.title, page.status) == (goal, "Goal", 200)
    assert [len(site.requests(url)) for url in chain] == [1] * 5
    log = await tab.browser.log(tab.page_id)
    hops = [(one.url, one.status) for one in log.requests if one.url in chain]
    assert hops == list(zip(reversed(chain), (308, 302, 307, 301, 200), strict=True))
