"""Opening, listing and closing pages, and the ids that they go by."""

import asyncio
from functools import partial

import pytest

from tests.conformance.browsing import document, eventually, fresh_page_id
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site, Sites
from workstation.errors import InvalidArgument, LimitExceeded, NavigationFailed, PageNotFound, WorkstationUnavailable
from workstation.interface import Browser, Click, Direction, LoadState

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TestOpening:
    async def test_a_page_is_opened_at_an_address(self, browser: Browser, site: Site) -> None:
        url = site.show(document("<h1>Welcome</h1>", title="The title"))
        page = await browser.open_page("first", url=url)
        assert (page.page_id, page.url, page.title, page.status) == ("first", url, "The title", 200)
        assert "Welcome" in (await browser.snapshot("first")).text

    async def test_a_page_is_opened_empty(self, browser: Browser) -> None:
        page = await browser.open_page("empty")
        assert (page.title, page.status) == ("", None)
        assert await browser.pages() == (page,)

    async def test_the_same_id_is_the_same_page_and_goes_nowhere(self, browser: Browser, site: Site) -> None:
        first = await browser.open_page("one", url=site.show(document("first", title="First")))
        again = site.show(document("second"))
        assert await browser.open_page("one", url=again) == first
        assert await browser.pages() == (first,)
        assert not site.requests(again)

    async def test_opening_one_id_many_times_at_once_opens_one_page(self, browser: Browser, site: Site) -> None:
        url = site.show(document("once"))
        opened = await asyncio.gather(*(browser.open_page("one", url=url) for _ in range(5)))
        assert len(set(opened)) == 1
        assert len(await browser.pages()) == 1
        assert len(site.requests(url)) == 1

    async def test_the_size_is_the_windows(self, browser: Browser, site: Site) -> None:
        script = "<script>document.title = innerWidth + 'x' + innerHeight</script>"
        page = await browser.open_page("small", url=site.show(document(script)), width=640, height=480)
        assert page.title == "640x480"
        picture = await browser.screenshot("small")
        assert (picture.width, picture.height) == (640, 480)

    async def test_a_page_that_cannot_be_reached_is_not_open(self, browser: Browser, sites: Sites) -> None:
        with pytest.raises(NavigationFailed):
            await browser.open_page("dead", url=sites.bad["reset"])
        assert await browser.pages() == ()
        with pytest.raises(PageNotFound):
            await browser.snapshot("dead")
        await browser.open_page("dead")  # its id is free

    async def test_an_answer_that_says_no_is_a_page(self, browser: Browser, site: Site) -> None:
        page = await browser.open_page("gone", url=site.show("<title>Gone</title>It went.", status=410))
        assert (page.status, page.title) == (410, "Gone")

    async def test_pages_are_told_in_the_order_of_their_opening(self, browser: Browser) -> None:
        for page_id in ("c", "a", "b"):
            await browser.open_page(page_id)
        assert [page.page_id for page in await browser.pages()] == ["c", "a", "b"]

    @pytest.mark.parametrize(
        "page_id", ["", "a" * 65, "a b", "a/b", "../a", "ä", "a\n", "\0", "a.b", "[ref=e1]", "a'", "𝖆"]
    )
    async def test_what_is_no_id_is_refused(self, browser: Browser, page_id: str) -> None:
        with pytest.raises(InvalidArgument):
            await browser.open_page(page_id)
        assert await browser.pages() == ()

    @pytest.mark.parametrize("page_id", ["a", "0", "-", "_", "Z" * 64, "tab-1_B"])
    async def test_what_is_an_id_is_taken(self, browser: Browser, page_id: str) -> None:
        assert (await browser.open_page(page_id)).page_id == page_id

    @pytest.mark.parametrize(
        ("width", "height"), [(0, 100), (100, 0), (-1, 100), (100, -1), (10**9, 100), (100, 10**9), (2**31, 2**31)]
    )
    async def test_impossible_sizes_are_refused(self, browser: Browser, width: int, height: int) -> None:
        with pytest.raises((InvalidArgument, LimitExceeded)):
            await browser.open_page("sized", width=width, height=height)
        assert await browser.pages() == ()


class TestClosing:
    async def test_a_closed_page_is_gone(self, browser: Browser, open_tab: OpenTab) -> None:
        tab, other = await open_tab("one"), await open_tab("other")
        await browser.close_page(tab.page_id)
        assert [page.page_id for page in await browser.pages()] == [other.page_id]
        assert "other" in await other.text()

    async def test_closing_twice_or_what_never_was_is_fine(self, browser: Browser, open_tab: OpenTab) -> None:
        tab = await open_tab("one")
        await asyncio.gather(*(browser.close_page(tab.page_id) for _ in range(3)))
        await browser.close_page(tab.page_id)
        await browser.close_page("never-was")

    async def test_the_id_of_a_closed_page_may_be_used_again(self, browser: Browser, site: Site) -> None:
        await browser.open_page("again", url=site.show(document("<button>Before</button>")))
        before = await browser.snapshot("again")
        await browser.close_page("again")
        await browser.open_page("again", url=site.show(document("<button>After</button>")))
        assert "Before" in before.text
        assert "After" in (await browser.snapshot("again")).text

    async def test_closing_ends_what_a_page_loads(self, browser: Browser, sites: Sites) -> None:
        await browser.open_page("slow")
        loading = asyncio.ensure_future(browser.navigate("slow", sites.bad["silent"]))
        await asyncio.sleep(0.3)
        await browser.close_page("slow")
        with pytest.raises((PageNotFound, NavigationFailed)):
            await asyncio.wait_for(loading, 5)

    async def test_a_page_that_closes_itself_is_gone(self, browser: Browser, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button onclick='window.own = window.open()'>Open</button><button onclick='own.close()'>Shut</button>"
        )
        assert len((await tab.click("button", "Open")).opened) == 1
        await tab.click("button", "Shut")
        await eventually(lambda: _only(browser, tab.page_id))

    async def test_every_call_on_an_unknown_page_says_so(self, browser: Browser) -> None:
        async def pdf() -> None:
            async for _ in browser.pdf("none"):
                pass

        async def live() -> None:
            async for _ in browser.live_view("none"):
                pass

        for call in (
            partial(browser.navigate, "none", Direction.BACK),
            partial(browser.navigate, "none", "http://site.test/"),
            partial(browser.snapshot, "none"),
            partial(browser.act, "none", Click(ref="e1")),
            partial(browser.wait_for, "none", load_state=LoadState.LOADED),
            partial(browser.screenshot, "none"),
            partial(browser.read_text, "none"),
            partial(browser.log, "none"),
            pdf,
            live,
        ):
            with pytest.raises(PageNotFound) as caught:
                await call()
            assert caught.value.page_id == "none"


class TestTwoBrowsers:
    async def test_each_has_pages_of_its_own(self, open_browser, site: Site) -> None:
        async with open_browser() as one, open_browser() as two:
            await one.open_page("same", url=site.show(document("of one")))
            await two.open_page("same", url=site.show(document("of two")))
            assert "of one" in (await one.snapshot("same")).text
            assert "of two" in (await two.snapshot("same")).text
            await one.close_page("same")
            assert len(await two.pages()) == 1

    async def test_pages_end_with_their_browser(self, open_browser, site: Site) -> None:
        async with open_browser() as browser:
            await browser.open_page(fresh_page_id(), url=site.show(document("here")))
        with pytest.raises(WorkstationUnavailable):
            await browser.open_page(fresh_page_id())


async def _only(browser: Browser, page_id: str) -> bool:
    return [page.page_id for page in await browser.pages()] == [page_id]
