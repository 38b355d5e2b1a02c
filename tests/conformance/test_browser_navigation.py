"""Going to addresses, back and forward, and what comes of addresses that give no page."""

import asyncio

import pytest
from aiohttp import web

from tests.conformance.browsing import document, eventually
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site, Sites
from workstation.errors import (
    InvalidArgument,
    LimitExceeded,
    NavigationBlocked,
    NavigationFailed,
    PageCrashed,
    PageTimedOut,
)
from workstation.interface import Browser, Direction, DownloadState, LoadState

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TestGoing:
    async def test_to_an_address(self, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab("here")
        url = site.show(document("there", title="There"))
        page = await tab.navigate(url)
        assert (page.url, page.title, page.status) == (url, "There", 200)

    async def test_back_forward_and_again(self, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab("first", title="First")
        second = site.show(document("second", title="Second"))
        await tab.navigate(second)
        assert (await tab.navigate(Direction.BACK)).title == "First"
        page = await tab.navigate(Direction.FORWARD)
        assert (page.title, page.url) == ("Second", second)
        before = len(site.requests(second))
        page = await tab.navigate(Direction.RELOAD)
        assert (page.title, page.status) == ("Second", 200)
        assert len(site.requests(second)) == before + 1

    async def test_where_there_is_nothing_to_go_back_or_forward_to(self, open_tab: OpenTab) -> None:
        tab = await open_tab("only", title="Only")
        for direction in (Direction.FORWARD, Direction.BACK, Direction.BACK):
            try:
                page = await tab.navigate(direction)
            except NavigationFailed:
                continue
            assert page.page_id == tab.page_id
        await tab.navigate(Direction.RELOAD)

    @pytest.mark.parametrize("status", [200, 201, 301, 302, 303, 307, 308, 404, 500, 503])
    async def test_status(self, open_tab: OpenTab, site: Site, status: int) -> None:
        goal = site.show(document("goal", title="Goal"), status=200 if 300 <= status < 400 else status)
        url = site.redirect(goal, status) if 300 <= status < 400 else goal
        page = await (await open_tab()).navigate(url)
        assert (page.url, page.title) == (goal, "Goal")
        assert page.status == (200 if 300 <= status < 400 else status)

    async def test_to_a_place_in_a_page(self, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab(url=(url := site.show(document("<h2 id=part>Part</h2>"))))
        page = await tab.navigate(f"{url}#part")
        assert page.url == f"{url}#part"
        assert len(site.requests(url)) == 1

    async def test_the_spelling_of_an_address_is_settled(self, open_tab: OpenTab, site: Site) -> None:
        url = site.show(document("found", title="Found"), path="/x-y/ü")
        page = await (await open_tab()).navigate(f"HTTP://SITE.test:{site.port}/x-y/ü")
        assert page.title == "Found"
        assert page.url == url.replace("ü", "%C3%BC")

    async def test_no_content_leaves_the_page_where_it_was(self, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab("still here", title="Still")
        try:
            page = await tab.navigate(site.show("", status=204))
            assert page.title == "Still"
        except NavigationFailed:
            pass
        assert "still here" in await tab.text()

    @pytest.mark.parametrize(
        ("kind", "disposition"),
        [
            ("application/octet-stream", "attachment; filename=f.bin"),
            ("application/pdf", "inline"),  # which a person's browser would show
        ],
    )
    async def test_a_file_is_downloaded_and_the_page_stays(
        self, browser: Browser, open_tab: OpenTab, site: Site, kind: str, disposition: str
    ) -> None:
        tab = await open_tab("still here", title="Still")
        url = site.show(b"%PDF-1.4 data", content_type=kind, content_disposition=disposition)
        assert (await tab.navigate(url)).title == "Still"

        async def complete() -> bool:
            return [one.state for one in await browser.downloads(tab.page_id)] == [DownloadState.COMPLETE]

        await eventually(complete)
        assert "still here" in await tab.text()

    async def test_a_page_that_goes_on_by_itself(self, open_tab: OpenTab, site: Site) -> None:
        goal = site.show(document("arrived", title="Goal"))
        tab = await open_tab(head=f"<meta http-equiv=refresh content='0;url={goal}'>")
        await tab.shows("arrived")
        other = await open_tab(f"<script>location = '{goal}'</script>")
        await other.shows("arrived")

    async def test_history_that_scripts_write(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button onclick=\"history.pushState({}, '', '/pushed'); say('pushed')\">Push</button>")
        page = (await tab.click("button", "Push")).page
        assert page.url.endswith("/pushed")
        assert not (await tab.navigate(Direction.BACK)).url.endswith("/pushed")

    @pytest.mark.parametrize("kind", ["text/plain", "application/json", "image/svg+xml", "application/xml"])
    async def test_documents_that_are_no_html(self, open_tab: OpenTab, site: Site, kind: str) -> None:
        bodies = {"application/json": '{"a": "word"}', "text/plain": "word"}
        svg = "<svg xmlns='http://www.w3.org/2000/svg'><text y='20'>word</text></svg>"
        tab = await open_tab(url=site.show(bodies.get(kind, svg), content_type=kind))
        assert (await tab.browser.read_text(tab.page_id)).total > 0

    async def test_how_long_to_wait(self, open_tab: OpenTab, site: Site) -> None:
        gate = asyncio.Event()

        async def picture(request: web.Request) -> web.Response:
            await asyncio.wait_for(gate.wait(), 20)
            return web.Response(body=b"")

        url = site.show(document(f"<img src='{site.serve(picture)}'>there", title="There"))
        tab = await open_tab()
        page = await tab.navigate(url, wait_for=LoadState.DOCUMENT)
        assert page.title == "There"
        with pytest.raises(PageTimedOut):
            await tab.browser.wait_for(tab.page_id, load_state=LoadState.LOADED, timeout=0.3)
        gate.set()
        await tab.browser.wait_for(tab.page_id, load_state=LoadState.QUIET, timeout=10)


class TestNoPage:
    @pytest.mark.parametrize(
        "how", ["silent", "slow head", "endless head", "endless redirect", "reset", "empty", "garbage"]
    )
    async def test_servers_without_an_answer(self, open_tab: OpenTab, sites: Sites, how: str) -> None:
        tab = await open_tab("before")
        with pytest.raises(NavigationFailed) as caught:
            await asyncio.wait_for(tab.navigate(sites.bad[how], timeout=2), 10)
        assert caught.value.page_id == tab.page_id
        await tab.navigate(sites.http.show(document("after")))
        assert "after" in await tab.text()

    @pytest.mark.parametrize("how", ["slow body", "endless body", "cut short", "bomb"])
    async def test_servers_that_never_finish(self, open_tab: OpenTab, sites: Sites, how: str) -> None:
        tab = await open_tab("before")
        try:
            page = await asyncio.wait_for(tab.navigate(sites.bad[how], timeout=2), 10)
        except (NavigationFailed, PageTimedOut):
            pass
        else:
            assert page.url == sites.bad[how]
        after = sites.http.show(document("after"))
        try:
            await asyncio.wait_for(tab.navigate(after), 30)
        except PageCrashed:  # it took all the memory that there is, and another page is none the worse
            tab = await open_tab(url=after)
        assert "after" in await tab.text()

    async def test_nobody_listens(self, open_tab: OpenTab, sites: Sites, site: Site) -> None:
        tab = await open_tab("before")
        with pytest.raises((NavigationFailed, NavigationBlocked)):
            await tab.navigate("http://site.test:9/")
        await tab.navigate(site.show(document("after")))

    async def test_a_certificate_that_nobody_vouches_for(self, open_tab: OpenTab, sites: Sites) -> None:
        url = sites.https.show(document("secret"))
        tab = await open_tab("before")
        with pytest.raises(NavigationFailed, match=r"(?i)certificate"):
            await tab.navigate(url)
        assert not sites.https.requests(url)

    async def test_a_certificate_of_another_name(self, open_tab: OpenTab, sites: Sites) -> None:
        with pytest.raises(NavigationFailed, match=r"(?i)certificate"):
            await (await open_tab("before")).navigate(sites.https.show(document("secret"), host="other.test"))

    async def test_plain_http_behind_https(self, open_tab: OpenTab, site: Site) -> None:
        url = site.show(document("x")).replace("http:", "https:")
        with pytest.raises(NavigationFailed):
            await (await open_tab("before")).navigate(url)

    async def test_redirects_in_a_circle(self, open_tab: OpenTab, site: Site) -> None:
        site.show("", path="/circle/one", status=302, location="/circle/two")
        url = site.show("", path="/circle/two", status=302, location="/circle/one")
        with pytest.raises(NavigationFailed):
            await (await open_tab("before")).navigate(url)

    async def test_redirects_that_forbid_themselves(self, open_tab: OpenTab, site: Site) -> None:
        for to in ("file:///etc/passwd", "javascript:alert(1)", "chrome://version", "data:text/html,x", "about:srcdoc"):
            tab = await open_tab("before")
            with pytest.raises((NavigationFailed, NavigationBlocked)):
                await tab.navigate(site.redirect(to))
            assert "root:" not in await tab.text()

    async def test_a_failed_navigation_leaves_a_usable_page(self, open_tab: OpenTab, sites: Sites, site: Site) -> None:
        tab = await open_tab("before")
        for _ in range(3):
            with pytest.raises(NavigationFailed):
                await tab.navigate(sites.bad["reset"])
        await tab.snapshot()
        await tab.browser.screenshot(tab.page_id)
        assert (await tab.navigate(site.show(document("after", title="After")))).title == "After"

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), float("-inf")])
    async def test_times_that_make_no_sense(self, open_tab: OpenTab, site: Site, timeout: float) -> None:
        tab = await open_tab("before")
        url = site.show(document("after"))
        with pytest.raises((InvalidArgument, LimitExceeded)):
            await tab.navigate(url, timeout=timeout)
        assert not site.requests(url)
