import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from tests.integration.workstation.browser_media.conftest import PATIENCE, OpenPage
from workstation.errors import InvalidArgument
from workstation.interface import ImageFormat
from workstation.local.browser.live import watch

pytestmark = pytest.mark.asyncio(loop_scope="package")

MOVING = """<body><script>
setInterval(() => document.body.style.background = `hsl(${Date.now() / 10 % 360} 90% 50%)`, 20);
</script>"""
FAST: Any = {"frames_per_second": 20.0, "fastest": 20.0, "quality": 60}


def page_ended() -> asyncio.Future[None]:
    """Of a page that nobody ends."""
    return asyncio.get_running_loop().create_future()


async def test_a_still_page_gives_one_frame_at_once_and_another_when_it_changes(open_page: OpenPage) -> None:
    page = await open_page("<body style='background:red'>")
    async with aclosing(watch(page, page_ended(), **FAST)) as frames, asyncio.timeout(PATIENCE):
        first = await anext(frames)
        assert (first.picture.format, first.picture.width, first.picture.height) == (ImageFormat.JPEG, 800, 600)
        assert first.picture.data[:2] == b"\xff\xd8"
        following = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0.5)
        assert not following.done()
        await page.evaluate("document.body.style.background = 'blue'")
        second = await following
    assert second.picture.data != first.picture.data
    assert second.captured_ns > first.captured_ns


async def test_frames_come_no_faster_than_asked_for(open_page: OpenPage) -> None:
    page = await open_page(MOVING)
    times = []
    async with aclosing(watch(page, page_ended(), frames_per_second=5, fastest=20, quality=60)) as frames:
        async for frame in frames:
            times.append(frame.captured_ns)
            if len(times) == 6:
                break
    assert times[-1] - times[0] >= 5 * 190_000_000


async def test_the_last_change_is_always_seen(open_page: OpenPage) -> None:
    page = await open_page(MOVING)
    async with (
        aclosing(watch(page, page_ended(), frames_per_second=4, fastest=20, quality=90)) as frames,
        asyncio.timeout(PATIENCE),
    ):
        await anext(frames)
        await page.evaluate("() => { for (let i = 1; i < 99999; i++) clearInterval(i) }")
        await page.evaluate("document.body.style.background = 'black'")
        await asyncio.sleep(1)
        latest = await anext(frames)
        still = asyncio.ensure_future(anext(frames))
        done, _ = await asyncio.wait([still], timeout=1)
        latest = still.result() if done else latest
        still.cancel()
        await asyncio.wait([still])
    async with aclosing(watch(page, page_ended(), frames_per_second=4, fastest=20, quality=90)) as fresh:
        assert (await anext(fresh)).picture.data == latest.picture.data


async def test_a_slow_viewer_holds_up_neither_another_nor_the_page(open_page: OpenPage) -> None:
    page = await open_page(MOVING)
    async with (
        aclosing(watch(page, page_ended(), **FAST)) as slow,
        aclosing(watch(page, page_ended(), **FAST)) as quick,
    ):
        await anext(slow)
        async with asyncio.timeout(PATIENCE):
            quick_frames = [await anext(quick) for _ in range(10)]
            assert await page.title() == "A page"
            assert (await anext(slow)).captured_ns >= quick_frames[-1].captured_ns


@pytest.mark.parametrize("moving", [True, False])
async def test_it_ends_with_the_page(open_page: OpenPage, moving: bool) -> None:
    page = await open_page(MOVING if moving else "")

    async def view() -> int:
        return len([frame async for frame in watch(page, page_ended(), **FAST)])

    viewing = asyncio.ensure_future(view())
    await asyncio.sleep(0.5)
    await page.close()
    async with asyncio.timeout(PATIENCE):
        assert await viewing >= 1


async def test_viewers_that_leave_leave_the_page_well(open_page: OpenPage) -> None:
    page = await open_page(MOVING)
    for _ in range(10):
        async with aclosing(watch(page, page_ended(), **FAST)) as frames:
            await anext(frames)
    assert await page.title() == "A page"


@pytest.mark.parametrize(("rate", "quality"), [(0, 60), (-1, 60), (20.1, 60), (float("nan"), 60), (2, 0), (2, 101)])
async def test_rates_and_qualities_that_make_no_sense(open_page: OpenPage, rate: float, quality: int) -> None:
    with pytest.raises(InvalidArgument):
        await anext(watch(await open_page(), page_ended(), frames_per_second=rate, fastest=20, quality=quality))


async def test_a_page_that_is_gone_has_no_frames(open_page: OpenPage) -> None:
    page = await open_page()
    await page.close()
    assert [frame async for frame in watch(page, page_ended(), **FAST)] == []


async def test_a_page_that_is_said_to_have_ended_has_no_more_frames(open_page: OpenPage) -> None:
    ended = page_ended()
    async with aclosing(watch(await open_page(), ended, **FAST)) as frames, asyncio.timeout(PATIENCE):
        await anext(frames)
        following = asyncio.ensure_future(anext(frames, None))
        await asyncio.sleep(0)
        ended.set_result(None)
        assert await following is None
