"""Connections that break, and callers that go away."""

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from random import Random

import grpc
import pytest
from aiohttp import web

from tests.integration.workstation.remote.browser.conftest import PATIENCE, Line, OpenLine, eventually
from workstation.errors import PageNotFound, WorkstationUnavailable
from workstation.interface import Click

pytestmark = pytest.mark.asyncio(loop_scope="package")

BUSY = (
    "<div id=it style='width:900px;height:700px'></div><script>let n = 0; const on = () => {"
    "it.style.background = `linear-gradient(${n += 7}deg, red, blue, green)`; requestAnimationFrame(on) }; on()</script>"
)
STUCK = (
    "<button>Here</button>"
    "<script>setTimeout(() => { const end = Date.now() + 3000; while (Date.now() < end); }, 500)</script>"
)


class Held:
    """An address that answers when a test says so."""

    def __init__(self, line: Line) -> None:
        self._go = asyncio.Event()
        self._site, self.url = line.site, line.site.serve(self._answer)

    @property
    def asked(self) -> int:
        return len(self._site.requests(self.url))

    def release(self) -> None:
        self._go.set()

    async def _answer(self, request: web.Request) -> web.Response:
        await self._go.wait()
        return web.Response(text="<title>Arrived</title>", content_type="text/html")


class TestWhatActs:
    async def test_an_action_is_not_asked_again(self, line: Line) -> None:
        held = Held(line)
        tab = await line.tab(f"<button onclick=\"location = '{held.url}'\">Go</button>")
        acting = asyncio.ensure_future(tab.click("button", "Go"))
        await eventually(lambda: held.asked)
        line.cable.cut()
        with pytest.raises(WorkstationUnavailable, match="may have been done") as caught:
            await acting
        assert caught.value.retryable
        held.release()
        await line.remote.wait_for(tab.page_id, url=held.url)
        assert (line.calls.count("Act"), held.asked) == (1, 1)

    async def test_a_navigation_is_not_asked_again(self, line: Line) -> None:
        held, tab = Held(line), await line.tab("x")
        going = asyncio.ensure_future(tab.navigate(held.url))
        await eventually(lambda: held.asked)
        line.cable.cut()
        with pytest.raises(WorkstationUnavailable, match="may have been done"):
            await going
        held.release()
        await line.remote.wait_for(tab.page_id, url=held.url)
        assert (line.calls.count("Navigate"), held.asked) == (1, 1)

    async def test_nothing_is_asked_twice_when_the_peer_is_away_before(self, line: Line) -> None:
        tab = await line.tab("<button onclick=\"say('pressed')\">It</button>")
        ref = await tab.ref("button", "It")
        line.cable.refusing = True
        line.cable.cut()
        await eventually(lambda: line.connection.channel.get_state() is not grpc.ChannelConnectivity.READY)
        acting = asyncio.ensure_future(tab.act(Click(ref=ref)))
        await asyncio.sleep(0.5)
        line.cable.refusing = False
        await acting
        assert (await tab.text()).count("pressed") == 1


class TestWhatOnlyLooks:
    async def test_a_snapshot_is_taken_again(self, line: Line) -> None:
        tab = await line.tab(STUCK)
        await asyncio.sleep(0.7)
        looking = asyncio.ensure_future(tab.snapshot())
        await line.asked("Snapshot")
        line.cable.cut()
        assert "Here" in (await looking).text
        assert line.calls.count("Snapshot") == 2

    async def test_changes_that_may_have_been_told_are_told_whole(self, line: Line) -> None:
        tab = await line.tab(STUCK)
        await tab.snapshot()
        await asyncio.sleep(0.7)
        looking = asyncio.ensure_future(tab.snapshot(changes=True))
        await line.asked("Snapshot", 2)
        line.cable.cut()
        seen = await looking
        assert (seen.changes, "Here" in seen.text) == (False, True)
        assert (await tab.snapshot(changes=True)).changes

    async def test_a_wait_goes_on_however_long_it_was(self, line: Line) -> None:
        tab = await line.tab("<script>setTimeout(() => say('there'), 6000)</script>")
        waiting = asyncio.ensure_future(line.remote.wait_for(tab.page_id, text="there", timeout=20))
        await asyncio.sleep(PATIENCE + 0.5)
        line.cable.cut()
        await line.asked("WaitFor", 2)
        assert (await waiting).page_id == tab.page_id

    async def test_a_page_is_opened_once(self, line: Line) -> None:
        held = Held(line)
        opening = asyncio.ensure_future(line.remote.open_page("one", url=held.url))
        await eventually(lambda: held.asked)
        line.cable.cut()
        await line.asked("OpenPage", 2)
        held.release()
        page = await opening
        assert page.title == "Arrived"
        assert await line.remote.pages() == (page,)

    async def test_a_peer_that_stays_away(self, line: Line) -> None:
        tab = await line.tab("x")
        line.cable.refusing = True
        line.cable.cut()
        calls: list[Callable[[], Awaitable[object]]] = [
            line.remote.pages,
            line.remote.storage,
            tab.snapshot,
            lambda: tab.navigate("http://site.test/"),
            lambda: anext(line.remote.live_view(tab.page_id)),
            lambda: anext(line.remote.pdf(tab.page_id)),
        ]
        ended = await asyncio.wait_for(asyncio.gather(*(call() for call in calls), return_exceptions=True), 15)
        assert {type(each) for each in ended} == {WorkstationUnavailable}
        line.cable.refusing = False
        assert "x" in await tab.text()


class TestTheLiveView:
    async def test_it_opens_again_however_long_it_was_still(self, line: Line) -> None:
        tab = await line.tab("<h1>Still</h1>")
        async with asyncio.timeout(30), aclosing(line.remote.live_view(tab.page_id, frames_per_second=10)) as frames:
            first = await anext(frames)
            following = asyncio.ensure_future(anext(frames))
            await asyncio.sleep(PATIENCE + 0.5)
            line.cable.cut()
            await line.asked("LiveView", 2)
            await line.local.navigate(tab.page_id, line.site.show("<body style='background:red'>"))
            frame = await following
            while frame.picture.data == first.picture.data:
                frame = await anext(frames)
        assert frame.captured_ns > first.captured_ns

    async def test_of_a_page_that_is_gone_meanwhile(self, line: Line) -> None:
        tab = await line.tab(BUSY)
        async with asyncio.timeout(30), aclosing(line.remote.live_view(tab.page_id)) as frames:
            await anext(frames)
            line.cable.refusing = True
            line.cable.cut()
            await line.local.close_page(tab.page_id)
            line.cable.refusing = False
            with pytest.raises(PageNotFound):
                async for _ in frames:
                    pass

    async def test_closing_it_ends_it_there(self, line: Line) -> None:
        tab = await line.tab("<h1>Still</h1>")
        frames = line.remote.live_view(tab.page_id)
        await anext(frames)
        assert line.local.views == 1
        await frames.aclose()
        await eventually(lambda: not line.local.views)

    async def test_closing_one_that_nobody_read(self, line: Line) -> None:
        """The server waits for room on the wire, and not for a frame."""
        tab = await line.tab(BUSY)
        frames = line.remote.live_view(tab.page_id, frames_per_second=10, quality=100)
        await anext(frames)
        await asyncio.sleep(3)
        await frames.aclose()
        await eventually(lambda: not line.local.views)

    async def test_a_connection_that_breaks_ends_it_there(self, line: Line) -> None:
        tab = await line.tab("<h1>Still</h1>")
        frames = line.remote.live_view(tab.page_id)
        await anext(frames)
        line.cable.refusing = True
        line.cable.cut()
        await eventually(lambda: not line.local.views)
        await frames.aclose()
        line.cable.refusing = False

    async def test_a_caller_that_is_cancelled(self, line: Line) -> None:
        tab = await line.tab("<p>x</p>")
        waiting = asyncio.ensure_future(line.remote.wait_for(tab.page_id, text="never", timeout=15))
        await line.asked("WaitFor")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(5):
            assert "x" in await tab.text(), "the page is free for the next"


class TestAClientThatIsClosed:
    async def test_calls_that_run_end(self, open_line: OpenLine) -> None:
        async with open_line() as line:
            tab = await line.tab("<h1>Still</h1>")
            frames = line.remote.live_view(tab.page_id)
            await anext(frames)
            calls = [
                asyncio.ensure_future(line.remote.wait_for(tab.page_id, text="never")),
                asyncio.ensure_future(anext(frames)),
            ]
            await line.asked("WaitFor")
            await line.connection.channel.close()
            ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
            assert {type(each) for each in ended} == {WorkstationUnavailable}
            with pytest.raises(WorkstationUnavailable, match="closed"):
                await line.remote.pages()

    async def test_calls_that_wait_for_the_peer_end(self, open_line: OpenLine) -> None:
        async with open_line() as line:
            line.cable.refusing = True
            waiting = asyncio.ensure_future(line.remote.pages())
            await asyncio.sleep(0.3)
            await line.connection.channel.close()
            with pytest.raises(WorkstationUnavailable, match="closed"):
                await asyncio.wait_for(waiting, 1)


class TestPdf:
    async def test_one_that_is_closed_ends_there(self, line: Line) -> None:
        tab = await _big(line)
        pieces = line.remote.pdf(tab.page_id)
        assert (await anext(pieces)).startswith(b"%PDF")
        await pieces.aclose()
        await eventually(lambda: not line.local.prints)

    async def test_one_that_breaks_off_is_no_pdf(self, line: Line) -> None:
        tab = await _big(line)
        async with aclosing(line.remote.pdf(tab.page_id)) as pieces:
            await anext(pieces)
            line.cable.cut()
            with pytest.raises(WorkstationUnavailable, match="print it again"):
                async for _ in pieces:
                    pass
        assert line.calls.count("Pdf") == 1

    async def test_it_is_whole(self, open_line: OpenLine) -> None:
        async with open_line() as line:
            tab = await _big(line)
            pieces = [piece async for piece in line.remote.pdf(tab.page_id)]
            assert len(pieces) > 3
            assert b"".join(pieces).rstrip().endswith(b"%%EOF")


async def _big(line: Line):
    """A page whose PDF is more than the wire holds on its way."""
    image = line.site.show(_noise(1800, 1800), content_type="image/png")
    return await line.tab(f"<img src='{image}' style='width:100%'>")


def _noise(width: int, height: int) -> bytes:
    """A picture that nothing makes smaller (PNG, RFC 2083)."""
    rows = b"".join(b"\0" + Random(row).randbytes(3 * width) for row in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows, 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")
