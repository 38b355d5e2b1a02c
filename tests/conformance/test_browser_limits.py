"""What a browser says of itself, and that its usual limits make sense."""

import math
from dataclasses import fields

import pytest

from tests.conformance.browsing import eventually
from tests.conformance.conftest import OpenTab
from workstation.errors import InvalidArgument, PageTimedOut
from workstation.interface import Browser, BrowserLimits

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_it_is(browser: Browser) -> None:
    capabilities = await browser.capabilities()
    assert "chrom" in capabilities.engine.lower()
    assert any(letter.isdigit() for letter in capabilities.engine), "with its version"
    assert capabilities.egress_checked
    assert capabilities.sandboxed


async def test_every_limit_is_one(browser: Browser) -> None:
    limits = (await browser.capabilities()).limits
    for field in fields(BrowserLimits):
        value = getattr(limits, field.name)
        assert value > 0, field.name
        assert math.isfinite(value), field.name


async def test_limits_that_are_given_are_told(open_browser) -> None:
    async with open_browser(pages=3, snapshot_characters=4321) as browser:
        limits = (await browser.capabilities()).limits
        assert (limits.pages, limits.snapshot_characters) == (3, 4321)


async def test_a_page_that_nobody_uses_is_closed(open_browser, open_tab: OpenTab) -> None:
    async with open_browser(idle_seconds=0.5) as browser:
        await open_tab("x", on=browser)

        async def closed() -> bool:
            return not await browser.pages()

        await eventually(closed)
        tab = await open_tab("<p>again</p>", on=browser)
        assert "again" in await tab.text()


async def test_a_page_that_is_used_stays(open_browser, open_tab: OpenTab) -> None:
    async with open_browser(idle_seconds=1.5) as browser:
        tab = await open_tab("<p>here</p>", on=browser)
        for _ in range(8):
            await browser.wait_for(tab.page_id, text="here", timeout=5)
            with pytest.raises(PageTimedOut):
                await browser.wait_for(tab.page_id, text="never", timeout=0.3)
        assert "here" in await tab.text()


@pytest.mark.parametrize("fps", [-1.0, math.nan])
async def test_no_argument_is_a_trap(browser: Browser, fps: float) -> None:
    await browser.open_page("one")
    with pytest.raises(InvalidArgument):
        async for _ in browser.live_view("one", frames_per_second=fps):
            pass


@pytest.mark.parametrize("seconds", [0, -1, 300.001, math.inf, math.nan])
async def test_nothing_is_allowed_for_ever(browser: Browser, seconds: float) -> None:
    with pytest.raises(InvalidArgument):
        await browser.allow_submission("a.test", "b.test", seconds=seconds)
    with pytest.raises(InvalidArgument):
        await browser.allow_download("http://a.test/list.csv", seconds=seconds)
    await browser.allow_submission("", "b.test", seconds=1)
    await browser.allow_download("data:text/csv,a", seconds=1)
