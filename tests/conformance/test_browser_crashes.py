"""The death of a page or of the whole browser: told once, and got over. Nothing of either outlives its owner."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from tests.conformance.brood import Brood, command
from tests.conformance.browsing import Tab, document, eventually, fresh_page_id
from tests.conformance.conftest import OpenTab
from tests.conformance.implementations import Implementation
from tests.conformance.sites import Site
from workstation.egress import EgressProxy
from workstation.errors import NavigationFailed, PageCrashed, PageNotFound, PageTimedOut, WorkstationUnavailable
from workstation.interface import Browser, FileSystem

pytestmark = pytest.mark.asyncio(loop_scope="session")

DYING = (PageCrashed, PageNotFound, PageTimedOut, NavigationFailed, WorkstationUnavailable)
"""What a call may say that was under way when its page died."""


@pytest.fixture
def brood() -> Brood:
    """The processes that begin with this test."""
    return Brood()


@pytest.fixture
def cold_browser(implementation: Implementation, egress: EgressProxy, browser_files: FileSystem, brood: Brood):
    """A browser of the test's own that nothing has warmed up, whose processes may be killed."""
    del brood  # counts from before it

    @asynccontextmanager
    async def opened() -> AsyncIterator[Browser]:
        assert implementation.browser is not None
        async with implementation.browser(egress) as warm, warm(browser_files, None, None) as browser:
            yield browser

    return opened


def processes(brood: Brood, kind: str) -> list[int]:
    """Chromium's processes of a kind, '' the one above all the others."""
    found = [pid for pid in brood.named("chrom") + brood.named("headless") if "headless" in command(pid)]
    if kind:
        return [pid for pid in found if f"--type={kind}" in command(pid)]
    return [pid for pid in found if "--type=" not in command(pid)]


def kill(pids: list[int]) -> None:
    assert pids
    for pid in pids:
        with suppress(ProcessLookupError):  # one takes the others with it
            os.kill(pid, signal.SIGKILL)


async def dead(tab: Tab) -> bool:
    """Whether a page says that it died."""
    try:
        await asyncio.wait_for(tab.snapshot(), 20)
    except PageCrashed as error:
        return error.page_id == tab.page_id
    return False


class TestPage:
    async def test_its_renderer_dies(self, cold_browser, brood: Brood, site: Site) -> None:
        async with cold_browser() as browser:
            tab = Tab(browser, "one")
            await browser.open_page("one", url=site.show(document("<p>alive</p>")))
            kill(processes(brood, "renderer"))
            await eventually(lambda: dead(tab))
            for call in (browser.screenshot, browser.read_text, partial(browser.wait_for, text="x", timeout=1)):
                with pytest.raises(PageCrashed):
                    await asyncio.wait_for(call("one"), 10)
            await browser.close_page("one")
            assert (await browser.open_page("one", url=site.show(document("x", title="Again")))).title == "Again"

    async def test_it_dies_in_the_middle_of_a_call(self, cold_browser, brood: Brood, site: Site) -> None:
        async with cold_browser() as browser:
            await browser.open_page("one", url=site.show(document("<p>alive</p>")))
            waiting = asyncio.ensure_future(browser.wait_for("one", text="never", timeout=30))
            await asyncio.sleep(0.3)
            kill(processes(brood, "renderer"))
            with pytest.raises(PageCrashed):
                await asyncio.wait_for(waiting, 15)

    async def test_another_page_lives_on(self, cold_browser, brood: Brood, site: Site) -> None:
        async with cold_browser() as browser:
            await browser.open_page("one", url=site.show(document("<p>one</p>")))
            before = set(processes(brood, "renderer"))
            await browser.open_page("two", url=site.show(document("<p>two</p>"), host="other.test"))
            kill([pid for pid in processes(brood, "renderer") if pid in before][:1])
            assert not await dead(Tab(browser, "two"))

    async def test_it_takes_all_memory(self, cold_browser, site: Site) -> None:
        fill = "for (;;) all.push(new ArrayBuffer(1 << 26), 'a'.repeat(1 << 20))"
        greedy = f"<script>const all = []; setTimeout(() => {{ {fill} }}, 100)</script>"
        async with cold_browser() as browser:
            tab = Tab(browser, "greedy")
            await browser.open_page("greedy", url=site.show(document(greedy)))

            async def over() -> bool:
                try:
                    await asyncio.wait_for(tab.snapshot(), 60)
                except DYING:
                    return True
                return "uncaught" in repr(await browser.log("greedy")).lower() or "RangeError" in repr(
                    await browser.log("greedy")
                )

            await eventually(over, 60)
            await asyncio.wait_for(browser.close_page("greedy"), 20)
            page_id = fresh_page_id()
            assert (await browser.open_page(page_id, url=site.show(document("x", title="Well")))).title == "Well"


class TestBrowser:
    @pytest.mark.parametrize("which", ["", "zygote", "gpu-process"])
    async def test_it_dies_and_is_replaced(self, cold_browser, brood: Brood, site: Site, which: str) -> None:
        async with cold_browser() as browser:
            await browser.open_page("one", url=site.show(document("<p>alive</p>")))
            victims = processes(brood, which)
            if which and not victims:
                pytest.skip(f"this browser has no {which}")
            kill(victims)
            await asyncio.sleep(0.3)
            try:
                text = (await asyncio.wait_for(browser.snapshot("one"), 30)).text
            except PageCrashed:
                await browser.close_page("one")
            else:
                assert "alive" in text
            page = await asyncio.wait_for(browser.open_page("two", url=site.show(document("x", title="New"))), 30)
            assert page.title == "New"

    async def test_it_dies_in_the_middle_of_calls(self, cold_browser, brood: Brood, site: Site) -> None:
        async with cold_browser() as browser:
            for page_id in ("one", "two"):
                await browser.open_page(page_id, url=site.show(document("<p>alive</p>")))
            calls = [
                asyncio.ensure_future(browser.wait_for(page_id, text="never", timeout=30)) for page_id in ("one", "two")
            ]
            await asyncio.sleep(0.3)
            kill(processes(brood, ""))
            done, _ = await asyncio.wait(calls, timeout=15)
            assert len(done) == 2
            assert all(isinstance(call.exception(), DYING) for call in calls)

    async def test_cookies_survive_its_death(self, cold_browser, brood: Brood, site: Site) -> None:
        """Not promised: they are kept or gone, and nothing else breaks."""
        async with cold_browser() as browser:
            await browser.open_page(
                "one", url=site.show(document("<script>document.cookie = 'a=b; max-age=100'</script>"))
            )
            kill(processes(brood, ""))
            await eventually(lambda: dead(Tab(browser, "one")))
            await browser.close_page("one")
            await browser.open_page("two", url=site.show(document("x")))
            assert isinstance(await browser.storage(), str)

    async def test_the_driver_dies(self, cold_browser, brood: Brood, site: Site) -> None:
        async with cold_browser() as browser:
            await browser.open_page("one", url=site.show(document("<p>alive</p>")))
            drivers = [pid for pid in brood.named("node") if "chrom" not in command(pid)[:20]]
            if not drivers:
                pytest.skip("this browser is driven without one")
            kill(drivers)
            await eventually(lambda: dead(Tab(browser, "one")), 30)
            await asyncio.wait_for(browser.close_page("one"), 10)
            page = await asyncio.wait_for(browser.open_page("two", url=site.show(document("x", title="New"))), 30)
            assert page.title == "New"

    async def test_again_and_again(self, cold_browser, brood: Brood, site: Site) -> None:
        async with cold_browser() as browser:
            for n in range(3):
                page = await asyncio.wait_for(browser.open_page(f"p{n}", url=site.show(document("x", title="Up"))), 30)
                assert page.title == "Up"
                kill(processes(brood, ""))
                await eventually(partial(dead, Tab(browser, f"p{n}")), 30)
                await browser.close_page(f"p{n}")
        assert not await brood.left()


class TestNothingIsLeft:
    async def test_after_an_ordinary_end(self, cold_browser, brood: Brood, site: Site) -> None:
        async with cold_browser() as browser:
            await browser.open_page("one", url=site.show(document("x")))
            assert brood.look()
        assert not await brood.left()

    async def test_after_an_end_by_an_error(self, cold_browser, brood: Brood, site: Site) -> None:
        async def fail() -> None:
            async with cold_browser() as browser:
                await browser.open_page("one", url=site.show(document("x")))
                brood.look()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert not await brood.left()

    async def test_after_being_cancelled(self, cold_browser, brood: Brood, site: Site) -> None:
        async def use() -> None:
            async with cold_browser() as browser:
                await browser.open_page("one", url=site.show(document("x")))
                await browser.wait_for("one", text="never", timeout=20)

        for seconds in (0.05, 0.3, 1.5):
            using = asyncio.ensure_future(use())
            await asyncio.sleep(seconds)
            brood.look()
            using.cancel()
            done, _ = await asyncio.wait([using], timeout=15)
            assert done
            assert using.cancelled(), f"after {seconds} s: {using.exception()!r}"
        assert not await brood.left()

    async def test_descriptors(self, cold_browser, site: Site) -> None:
        async def use() -> None:
            async with cold_browser() as browser:
                await browser.open_page("one", url=site.show(document("x")))

        await use()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await use()
        assert len(os.listdir("/proc/self/fd")) <= before

    async def test_pages_of_a_closed_browser_on_a_warm_one(
        self, open_browser, browser: Browser, open_tab: OpenTab
    ) -> None:
        await browser.open_page("keeps-it-warm")
        brood = Brood()
        async with open_browser() as other:
            for _ in range(3):
                await open_tab("<p>one more</p>", on=other)
            brood.look()

        async def few() -> bool:
            return len([pid for pid in brood.named("chrom") if "--type=renderer" in command(pid)]) <= 1  # a spare one

        await eventually(few)
