"""The live view: pictures of a page as it changes, to viewers of every kind."""

import asyncio
from contextlib import aclosing, suppress

import pytest
import pytest_asyncio

from tests.conformance.browsing import document
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import InvalidArgument, LimitExceeded, PageNotFound
from workstation.interface import Browser, Frame, ImageFormat

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUSY = (
    "<div id=it style='width:400px;height:400px'></div><script>let n = 0; const on = () => {"
    "it.style.background = `hsl(${n += 7} 100% 50%)`; requestAnimationFrame(on) }; on()</script>"
)


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def declared(browser: Browser) -> None:
    """Those that have none say so."""
    if not (await browser.capabilities()).live_view:
        pytest.skip("this one has no live view, and says so")


async def frames(browser: Browser, page_id: str, count: int, **options) -> list[Frame]:
    """The first `count` frames."""
    found: list[Frame] = []
    async with asyncio.timeout(20), aclosing(browser.live_view(page_id, **options)) as stream:
        async for frame in stream:
            found.append(frame)
            if len(found) == count:
                break
    return found


async def test_a_page_that_keeps_still_has_a_picture(open_tab: OpenTab) -> None:
    tab = await open_tab("<h1>Still</h1>")
    (frame,) = await frames(tab.browser, tab.page_id, 1)
    assert frame.picture.format is ImageFormat.JPEG
    assert frame.picture.data.startswith(b"\xff\xd8\xff")
    assert frame.picture.width > 0 < frame.picture.height


async def test_changes_are_seen_in_their_order(open_tab: OpenTab) -> None:
    tab = await open_tab(BUSY)
    found = await frames(tab.browser, tab.page_id, 4, frames_per_second=10)
    assert len({frame.picture.data for frame in found}) > 1
    times = [frame.captured_ns for frame in found]
    assert times == sorted(times)


async def test_it_goes_on_over_navigations(open_tab: OpenTab, site: Site) -> None:
    tab = await open_tab("<h1>First</h1>")
    async with asyncio.timeout(20), aclosing(tab.browser.live_view(tab.page_id, frames_per_second=10)) as stream:
        first = await anext(stream)
        await tab.navigate(site.show(document("<body style='background:red'><h1>Second")))
        while (await anext(stream)).picture.data == first.picture.data:
            pass


async def test_several_viewers_and_a_slow_one(open_tab: OpenTab) -> None:
    tab = await open_tab(BUSY + "<button onclick=\"say('pressed')\">It</button>")
    async with aclosing(tab.browser.live_view(tab.page_id, frames_per_second=10)) as slow:
        await anext(slow)  # and reads no more
        one, two = await asyncio.gather(*(frames(tab.browser, tab.page_id, 3, frames_per_second=10) for _ in range(2)))
        assert len(one) == len(two) == 3
        await tab.click("button", "It")
        await tab.shows("pressed")
        late = await anext(slow)
        assert late.captured_ns > 0


async def test_it_ends_with_its_page(open_tab: OpenTab) -> None:
    tab = await open_tab(BUSY)

    seen = asyncio.Event()

    async def watch() -> None:
        async for _ in tab.browser.live_view(tab.page_id, frames_per_second=10):
            seen.set()

    watching = asyncio.ensure_future(watch())
    await asyncio.wait_for(seen.wait(), 20)
    await tab.browser.close_page(tab.page_id)
    with suppress(PageNotFound):
        await asyncio.wait_for(watching, 10)


async def test_a_viewer_that_goes_away_leaves_the_page_well(open_tab: OpenTab) -> None:
    tab = await open_tab(BUSY)
    for _ in range(5):
        await frames(tab.browser, tab.page_id, 1)
    watching = asyncio.ensure_future(frames(tab.browser, tab.page_id, 10_000, frames_per_second=10))
    await asyncio.sleep(0.3)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert "A page" in (await tab.snapshot()).page.title
    assert len(await frames(tab.browser, tab.page_id, 2, frames_per_second=10)) == 2


async def test_no_faster_than_was_asked(open_tab: OpenTab) -> None:
    tab = await open_tab(BUSY)
    found = await frames(tab.browser, tab.page_id, 4, frames_per_second=5)
    assert found[-1].captured_ns - found[1].captured_ns >= 200_000_000


@pytest.mark.parametrize(
    "options",
    [
        {"frames_per_second": 0},
        {"frames_per_second": -1},
        {"frames_per_second": float("nan")},
        {"frames_per_second": 1e9},
        {"quality": 0},
        {"quality": 101},
        {"quality": -5},
    ],
)
async def test_impossible_options(open_tab: OpenTab, options: dict[str, float]) -> None:
    tab = await open_tab("x")
    with pytest.raises((InvalidArgument, LimitExceeded)):
        await frames(tab.browser, tab.page_id, 1, **options)
