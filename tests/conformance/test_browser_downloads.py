"""Downloads: into the workspace and nowhere else, bounded, with the truth about how far they came."""

import asyncio
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.conformance.browsing import document, eventually
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import NavigationBlocked
from workstation.interface import Browser, Download, DownloadState, FileSystem, FileSystemLimits

pytestmark = pytest.mark.asyncio(loop_scope="session")


def attachment(site: Site, data: bytes, name: str = "file.bin") -> str:
    return site.show(
        data, content_type="application/octet-stream", content_disposition=f'attachment; filename="{name}"'
    )


async def finished(browser: Browser, count: int = 1) -> list[Download]:
    """All downloads, once so many there are and none runs any more."""

    async def over() -> list[Download]:
        downloads = list(await browser.downloads())
        running = [one for one in downloads if one.state is DownloadState.RUNNING]
        return downloads if len(downloads) >= count and not running else []

    return await eventually(over, 30)


class TestComplete:
    async def test_a_link(
        self, browser: Browser, browser_files: FileSystem, open_tab: OpenTab, site: Site, planted: Path
    ) -> None:
        url = attachment(site, b"the data", "report.bin")
        tab = await open_tab(f"<a href='{url}'>Save</a>")
        result = await tab.click("link", "Save")
        (download,) = await finished(browser)
        assert result.download_ids in ((download.download_id,), ())
        assert (download.state, download.size, download.name) == (DownloadState.COMPLETE, 8, "report.bin")
        assert (download.page_id, download.url, download.failure) == (tab.page_id, url, "")
        assert download.path is not None
        assert (planted / download.path).read_bytes() == b"the data"
        assert (await browser_files.stat(download.path)).size == 8

    async def test_an_action_tells_which_it_began(self, browser: Browser, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab(f"<a href='{attachment(site, b'x')}'>Save</a>")
        (download_id,) = (await tab.click("link", "Save")).download_ids
        assert [one.download_id for one in await finished(browser)] == [download_id]

    @pytest.mark.parametrize(
        ("link", "data"),
        [
            ("<a download=made.txt href='data:text/plain,of%20data'>Save</a>", b"of data"),
            (
                "<a id=it download=made.txt>Save</a><script>it.href = URL.createObjectURL(new Blob(['of a blob']))</script>",
                b"of a blob",
            ),
            (
                "<a id=it download=made.txt>Save</a>"
                "<script>it.href = URL.createObjectURL(new Blob([new Uint8Array(5e6).fill(7)]))</script>",
                b"\x07" * 5_000_000,
            ),
        ],
    )
    async def test_made_by_the_page_itself(
        self, browser: Browser, open_tab: OpenTab, planted: Path, link: str, data: bytes
    ) -> None:
        await (await open_tab(link)).click("link", "Save")
        (download,) = await finished(browser)
        assert (download.state, download.name) == (DownloadState.COMPLETE, "made.txt")
        assert (planted / (download.path or "")).read_bytes() == data
        assert len(download.url) < 10_000

    async def test_many_at_once_with_one_name(
        self, browser: Browser, open_tab: OpenTab, site: Site, planted: Path
    ) -> None:
        links = "".join(f"<iframe src='{attachment(site, str(n).encode(), 'same.txt')}'></iframe>" for n in range(8))
        await open_tab(links)
        downloads = await finished(browser, 8)
        assert {one.state for one in downloads} == {DownloadState.COMPLETE}
        assert len({one.path for one in downloads}) == len({one.download_id for one in downloads}) == 8
        assert {(planted / (one.path or "")).read_text() for one in downloads} == set("01234567")

    async def test_nothing_is_overwritten(
        self, browser: Browser, open_tab: OpenTab, site: Site, planted: Path, browser_files
    ) -> None:
        tab = await open_tab(f"<a href='{attachment(site, b'first', 'a.txt')}'>Save</a>")
        await tab.click("link", "Save")
        (first,) = await finished(browser)
        assert first.path is not None
        await tab.navigate(site.show(document(f"<a href='{attachment(site, b'second', 'a.txt')}'>Save</a>")))
        await tab.click("link", "Save")
        second, again = await finished(browser, 2)
        assert again == first, "the latest comes first"
        assert (planted / first.path).read_bytes() == b"first"
        assert (planted / (second.path or "")).read_bytes() == b"second"

    async def test_an_empty_file(self, browser: Browser, open_tab: OpenTab, site: Site, planted: Path) -> None:
        await (await open_tab(f"<a href='{attachment(site, b'')}'>Save</a>")).click("link", "Save")
        (download,) = await finished(browser)
        assert (download.state, download.size) == (DownloadState.COMPLETE, 0)
        assert (planted / (download.path or "")).read_bytes() == b""

    async def test_a_post(self, browser: Browser, open_tab: OpenTab, site: Site) -> None:
        url = attachment(site, b"x", "posted.bin")
        await (await open_tab(f"<form method=post action='{url}'><button>Save</button></form>")).click("button", "Save")
        assert (await finished(browser))[0].state is DownloadState.COMPLETE

    async def test_of_one_page_or_of_all(self, browser: Browser, open_tab: OpenTab, site: Site) -> None:
        one, two = [await open_tab(f"<a href='{attachment(site, b'x')}'>Save</a>") for _ in range(2)]
        await one.click("link", "Save")
        await two.click("link", "Save")
        await finished(browser, 2)
        assert {download.page_id for download in await browser.downloads(one.page_id)} == {one.page_id}
        assert len(await browser.downloads()) == 2


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "../../../../etc/cron.d/evil",
            "/etc/passwd",
            "..",
            ".",
            ".bashrc",
            "a/b/c.txt",
            "a\\b.txt",
            "..\\..\\evil",
            "x" * 1000 + ".txt",
            "ü" * 300 + ".txt",
            "日本語.txt",
            "a%2f..%2f..%2fevil",
            "CON",
            " spaces ",
            "a\u202etxt.exe",
            "-rf",
            "$(touch evil)",
        ],
    )
    async def test_they_stay_below_the_workspace(
        self, browser: Browser, open_tab: OpenTab, site: Site, planted: Path, name: str
    ) -> None:
        url = site.show(
            b"data",
            content_type="application/octet-stream",
            content_disposition=f"attachment; filename*=UTF-8''{quote(name, '')}",
        )
        tab = await open_tab()
        await tab.navigate(url)
        (download,) = await finished(browser)
        assert download.state is DownloadState.COMPLETE, download
        assert download.path is not None
        place = planted / download.path
        assert place.resolve().is_relative_to(planted.resolve())
        assert place.read_bytes() == b"data"
        assert 0 < len(place.name.encode()) <= 255
        assert not place.name.startswith(".")
        assert not set(place.name) & set("/\\\0\n\r")

    async def test_a_link_that_was_planted_is_not_followed(
        self, browser: Browser, open_tab: OpenTab, site: Site, planted: Path, outside: Path
    ) -> None:
        (planted / "downloads").symlink_to(outside)
        await (await open_tab()).navigate(attachment(site, b"data", "file"))
        (download,) = await finished(browser)
        if download.state is DownloadState.COMPLETE:  # elsewhere in the workspace
            assert (planted / (download.path or "")).resolve().is_relative_to(planted.resolve())
        else:
            assert download.failure


class TestBounds:
    async def endless(self, site: Site, length: str = "") -> str:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Disposition": "attachment; filename=endless.bin"})
            if length:
                response.content_length = int(length)
            await response.prepare(request)
            for _ in range(int(length) >> 16 if length else 10**9):
                await response.write(b"a" * 65_536)
                await asyncio.sleep(0)  # a write to a client that is gone does not always say so
            return response

        return site.serve(answer)

    @pytest.mark.parametrize("length", ["", "900000000"])
    async def test_without_an_end(
        self, open_browser, open_tab: OpenTab, site: Site, planted: Path, length: str
    ) -> None:
        async with open_browser(download_bytes=1 << 20) as browser:
            tab = await open_tab(on=browser)
            await tab.navigate(await self.endless(site, length))
            (download,) = await finished(browser)
            assert download.state is DownloadState.FAILED
            assert download.failure
            assert download.path is None
            assert not [path for path in planted.rglob("*") if path.is_file()]
            await tab.navigate(site.show(document("after")))

    async def test_exactly_as_much_as_may_be(self, open_browser, open_tab: OpenTab, site: Site) -> None:
        async with open_browser(download_bytes=100_000) as browser:
            tab = await open_tab(on=browser)
            await tab.navigate(attachment(site, b"a" * 100_000))
            assert (await finished(browser))[0].state is DownloadState.COMPLETE
            await tab.navigate(attachment(site, b"a" * 100_001))
            assert (await finished(browser, 2))[0].state is DownloadState.FAILED

    async def test_one_that_breaks_off(self, browser: Browser, open_tab: OpenTab, site: Site, planted: Path) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Disposition": "attachment; filename=half.bin"})
            response.content_length = 1_000_000
            await response.prepare(request)
            await response.write(b"a" * 1000)
            await asyncio.sleep(0.2)
            assert request.transport is not None
            request.transport.abort()
            return response

        await (await open_tab()).navigate(site.serve(answer))
        (download,) = await finished(browser)
        assert download.state is DownloadState.FAILED
        assert download.failure
        assert not [path for path in planted.rglob("*") if path.is_file()]

    async def test_a_full_workspace(
        self, implementation, open_browser, open_tab: OpenTab, site: Site, planted: Path
    ) -> None:
        async with (
            implementation.files(planted, FileSystemLimits(), 50_000) as files,
            open_browser(files=files) as browser,
        ):
            await (await open_tab(on=browser)).navigate(attachment(site, b"a" * 100_000))
            (download,) = await finished(browser)
            assert download.state is DownloadState.FAILED
            assert "room" in download.failure.lower() or "quota" in download.failure.lower()

    async def test_a_page_that_starts_hundreds(self, browser: Browser, open_tab: OpenTab) -> None:
        script = (
            "for (let n = 0; n < 200; n++) { const a = document.createElement('a'); a.download = 'f' + n;"
            "a.href = window.URL.createObjectURL(new Blob(['x'])); a.click() }"
        )
        tab = await open_tab(f"<button onclick=\"{script}; say('started')\">Flood</button>")
        await tab.click("button", "Flood")
        await tab.shows("started")
        await finished(browser)
        assert len(await browser.downloads()) <= 200
        assert "Flood" in await tab.text()

    async def test_closing_ends_those_that_run(
        self, open_browser, open_tab: OpenTab, site: Site, planted: Path
    ) -> None:
        async with open_browser() as browser:
            tab = await open_tab(on=browser)
            await tab.navigate(await self.slow(site))

            async def runs() -> bool:
                return bool(await browser.downloads(tab.page_id))

            await eventually(runs)
            await browser.close_page(tab.page_id)
        assert not [path for path in planted.rglob("*") if path.is_file()]

    async def slow(self, site: Site) -> str:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Disposition": "attachment; filename=slow.bin"})
            await response.prepare(request)
            while True:
                await response.write(b"a")
                await asyncio.sleep(0.1)

        return site.serve(answer)


async def test_those_the_rules_forbid_are_none(browser: Browser, open_tab: OpenTab, site: Site, planted: Path) -> None:
    tab = await open_tab(f"<a download href='http://forbidden.test:{site.port}/x.bin'>Save</a>")
    with suppress(NavigationBlocked):
        await tab.click("link", "Save")
    await asyncio.sleep(0.3)
    assert DownloadState.COMPLETE not in [one.state for one in await browser.downloads()]
    assert not [path for path in planted.rglob("*") if path.is_file()]
