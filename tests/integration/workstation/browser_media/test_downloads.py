import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Download as Given
from playwright.async_api import Page

from tests.integration.workstation.browser_media.conftest import PATIENCE, OpenPage, Site, eventually
from workstation.interface import Download, DownloadState, Entry, FileSystem
from workstation.local.browser import downloads as module
from workstation.local.browser.downloads import Downloads
from workstation.local.browser.engine import Engine
from workstation.local.files import LocalFileSystem

pytestmark = pytest.mark.asyncio(loop_scope="package")

SAVE = "([url, name]) => { const a = document.createElement('a'); a.href = url; a.download = name; a.click() }"


@pytest_asyncio.fixture(loop_scope="package")
async def directory(engine: Engine) -> AsyncIterator[Path]:
    """Where Chromium writes; nothing stays there."""
    await engine.chromium()
    place = engine.exchange / "downloads"
    yield place
    try:
        await eventually(lambda: not os.listdir(place))
    except TimeoutError:
        raise AssertionError(os.listdir(place)) from None


@pytest_asyncio.fixture(loop_scope="package")
async def downloads(files: FileSystem, directory: Path) -> AsyncIterator[Downloads]:
    async with Downloads(files, directory, most_bytes=4 << 20, stall_seconds=2, most_seconds=5) as opened:
        yield opened


def follow(downloads: Downloads, page: Page, page_id: str = "tab") -> None:
    def begin(given: Given) -> None:
        downloads.begin(page_id, given)

    page.on("download", begin)


async def done(downloads: Downloads, count: int = 1) -> tuple[Download, ...]:
    """All downloads once that many ended; the latest first."""
    await eventually(lambda: sum(each.state is not DownloadState.RUNNING for each in downloads.list()) >= count)
    return downloads.list()


def attachment(site: Site, body: bytes, disposition: str = "attachment; filename=a.txt") -> str:
    return site.show(body, Content_Disposition=disposition, Content_Type="application/octet-stream")


def landed(workspace: Path) -> list[str]:
    folder = workspace / "downloads"
    return os.listdir(folder) if folder.exists() else []


async def drip(request: web.Request, *, most: int, piece: bytes, pause: float) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Disposition": "attachment; filename=drip"})
    await answer.prepare(request)
    with suppress(ConnectionError):  # it was given up
        for _ in range(most):
            await answer.write(piece)
            await asyncio.sleep(pause)
    return answer


async def test_a_file_lands_in_the_workspace(
    open_page: OpenPage, site: Site, downloads: Downloads, workspace: Path
) -> None:
    page = await open_page()
    follow(downloads, page)
    url = attachment(site, b"content")
    await page.evaluate(SAVE, [url, ""])
    (download,) = await done(downloads)
    assert download == Download(
        download_id=download.download_id,
        page_id="tab",
        url=url,
        name="a.txt",
        state=DownloadState.COMPLETE,
        size=7,
        path="downloads/a.txt",
    )
    assert (workspace / "downloads/a.txt").read_bytes() == b"content"


async def test_nothing_is_overwritten(open_page: OpenPage, site: Site, downloads: Downloads, workspace: Path) -> None:
    page = await open_page()
    follow(downloads, page)
    for number in range(3):
        await page.evaluate(SAVE, [attachment(site, b"%d" % number, "attachment; filename=a.tar.gz"), ""])
        await done(downloads, number + 1)
    names = {path.name: path.read_bytes() for path in (workspace / "downloads").iterdir()}
    assert names == {"a.tar.gz": b"0", "a (2).tar.gz": b"1", "a (3).tar.gz": b"2"}


@pytest.mark.parametrize(
    "url",
    ["data:application/octet-stream,made", "URL.createObjectURL(new Blob(['made']))"],
)
async def test_files_that_pages_make_land_too(
    open_page: OpenPage, downloads: Downloads, workspace: Path, url: str
) -> None:
    page = await open_page()
    follow(downloads, page)
    made = url if url.startswith("data") else await page.evaluate(url)
    await page.evaluate(SAVE, [made, "made.bin"])
    await done(downloads)
    assert (workspace / "downloads/made.bin").read_bytes() == b"made"


async def test_hostile_names_stay_in_the_folder(
    open_page: OpenPage, site: Site, downloads: Downloads, workspace: Path
) -> None:
    page = await open_page()
    follow(downloads, page)
    names = [
        "../../up",
        "/etc/passwd",
        ".bashrc",
        "a\u202egnp.exe",
        "x" * 500 + ".txt",
        "con.txt",
        "a/b\\c",
        "..",
        "\n",
    ]
    for count, name in enumerate(names):
        await page.evaluate(SAVE, ["data:,x", name])
        await done(downloads, count + 1)
    assert all(each.state is DownloadState.COMPLETE for each in downloads.list())
    assert [path.name for path in workspace.iterdir()] == ["downloads"]
    for found in os.listdir(workspace / "downloads"):
        assert found.isprintable()
        assert not found.startswith(".")
        assert len(found.encode()) <= 255


@pytest.mark.parametrize("declared", [True, False])
async def test_too_large_a_file_is_given_up(
    open_page: OpenPage, site: Site, downloads: Downloads, workspace: Path, declared: bool
) -> None:
    page = await open_page()
    follow(downloads, page)
    url = attachment(site, bytes(6 << 20))
    if not declared:
        url = site.serve(lambda request: drip(request, most=10_000, piece=bytes(1 << 20), pause=0.01))
    await page.evaluate(SAVE, [url, ""])
    (download,) = await done(downloads)
    assert download.state is DownloadState.FAILED
    assert f"more than the {4 << 20} bytes" in download.failure
    assert landed(workspace) == []


@pytest.mark.parametrize(("pause", "words"), [(3600, "brought nothing for 2 s"), (0.2, "not complete after 5 s")])
async def test_a_download_without_end_ends(
    open_page: OpenPage, site: Site, downloads: Downloads, pause: float, words: str
) -> None:
    page = await open_page()
    follow(downloads, page)
    await page.evaluate(
        SAVE, [site.serve(lambda request: drip(request, most=9999, piece=b"x" * 4096, pause=pause)), ""]
    )
    (download,) = await done(downloads)
    assert words in download.failure


async def test_an_answer_that_breaks_off_has_failed(
    open_page: OpenPage, site: Site, downloads: Downloads, workspace: Path
) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Disposition": "attachment", "Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b"x")
        assert request.transport is not None
        request.transport.abort()
        return answer

    page = await open_page()
    follow(downloads, page)
    await page.evaluate(SAVE, [site.serve(break_off), ""])
    (download,) = await done(downloads)
    assert download.state is DownloadState.FAILED
    assert download.failure
    assert landed(workspace) == []


async def test_a_full_workspace_is_told(
    open_page: OpenPage, site: Site, directory: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_UNCOUNTED_BYTES", 100_000)
    page = await open_page()
    async with (
        LocalFileSystem(workspace, quota_bytes=1 << 20) as files,
        Downloads(files, directory, most_bytes=1 << 30) as downloads,
    ):
        follow(downloads, page)
        await page.evaluate(SAVE, [attachment(site, bytes(2 << 20)), ""])
        (download,) = await done(downloads)
        endless = site.serve(lambda request: drip(request, most=10_000, piece=bytes(1 << 18), pause=0.05))
        await page.evaluate(SAVE, [endless, ""])
        assert "no room" in (await done(downloads, 2))[0].failure
    assert download.state is DownloadState.FAILED
    assert landed(workspace) == []


class Planting(LocalFileSystem):
    """Has something else stand in the place of a complete file, just before it is read."""

    def __init__(self, workspace: Path, directory: Path, plant: Callable[[Path], None]) -> None:
        super().__init__(workspace)
        self._directory, self._plant = directory, plant

    async def stat(self, path: str) -> Entry:
        for file in self._directory.iterdir():
            file.unlink()
            self._plant(file)
        return await super().stat(path)


@pytest.mark.parametrize("plant", ["link", "pipe", "directory", "nothing"])
async def test_what_is_planted_in_a_file_s_place_is_not_followed(
    open_page: OpenPage, site: Site, directory: Path, workspace: Path, short_directory: Path, plant: str
) -> None:
    secret = short_directory / "secret"
    secret.write_text("secret")
    plants: dict[str, Callable[[Path], None]] = {
        "link": lambda file: file.symlink_to(secret),
        "pipe": os.mkfifo,
        "directory": Path.mkdir,
        "nothing": lambda file: None,
    }
    page = await open_page()
    async with (
        Planting(workspace, directory, plants[plant]) as files,
        Downloads(files, directory, most_bytes=1000) as downloads,
    ):
        follow(downloads, page)
        await page.evaluate(SAVE, [attachment(site, b"content"), ""])
        (download,) = await done(downloads)
    assert download.state is DownloadState.FAILED
    assert "what was downloaded" in download.failure
    assert landed(workspace) == []
    assert secret.read_text() == "secret"
    for left in directory.glob("*/"):
        left.rmdir()


async def test_a_page_that_begins_a_thousand_is_bounded(
    open_page: OpenPage, site: Site, downloads: Downloads, workspace: Path
) -> None:
    page = await open_page()
    follow(downloads, page)
    await page.evaluate(f"() => {{ for (let i = 0; i < 1000; i++) ({SAVE})(['data:,x', `f${{i}}`]) }}")
    await eventually(lambda: len(downloads.list()) >= 10)
    await eventually(lambda: not downloads._running)
    assert len(downloads.list()) <= 208
    assert len(os.listdir(workspace / "downloads")) <= 60
    assert await page.title() == "A page"


async def test_too_many_within_a_minute_are_refused(
    open_page: OpenPage, files: FileSystem, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_A_MINUTE", 2)
    page = await open_page()
    async with Downloads(files, directory, most_bytes=1000) as downloads:
        follow(downloads, page)
        for count in range(3):
            await page.evaluate(SAVE, ["data:,x", "a"])
            await done(downloads, count + 1)
        assert [each.failure for each in downloads.list()] == ["more than 2 downloads within a minute", "", ""]


async def test_one_that_is_complete_before_it_is_refused_leaves_nothing(
    open_page: OpenPage, files: FileSystem, directory: Path
) -> None:
    async with Downloads(files, directory, most_bytes=1000, refuse=lambda: "no") as downloads:
        for count in range(40):  # the last byte comes before the refusal in some
            if count % 8 == 0:  # Chromium asks for leave after ten of one page
                page = await open_page()
                follow(downloads, page)
            await page.evaluate(SAVE, ["data:,x", "a"])
            await done(downloads, count + 1)
        assert {each.failure for each in downloads.list()} == {"no"}


async def test_one_that_cannot_be_followed_has_failed(downloads: Downloads) -> None:
    """As when another Playwright no longer tells where Chromium writes."""
    given = cast(Given, SimpleNamespace(url="http://a.test/list.csv", suggested_filename="list.csv"))
    downloads.begin("page", given)
    await done(downloads, 1)
    (failed,) = downloads.list()
    assert failed.state is DownloadState.FAILED
    assert "fault" in failed.failure


async def test_the_end_of_a_page_ends_its_downloads(open_page: OpenPage, site: Site, downloads: Downloads) -> None:
    given_up = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = await drip(request, most=9999, piece=b"x" * 4096, pause=0.05)
        given_up.set()
        return answer

    page, other = await open_page(), await open_page()
    follow(downloads, page)
    follow(downloads, other, "other")
    await page.evaluate(SAVE, [site.serve(endless), ""])
    short = site.serve(lambda request: drip(request, most=20, piece=b"x" * 4096, pause=0.1))
    await other.evaluate(SAVE, [short, ""])
    await eventually(lambda: len(downloads.list()) == 2)
    await downloads.cancel("tab")
    (ended,) = downloads.list("tab")
    assert ended.state is DownloadState.FAILED
    assert "closed" in ended.failure
    async with asyncio.timeout(PATIENCE):
        await given_up.wait()
    await done(downloads, 2)
    assert downloads.list("other")[0].state is DownloadState.COMPLETE


async def test_the_end_of_the_context_ends_its_downloads(open_page: OpenPage, site: Site, downloads: Downloads) -> None:
    page = await open_page()
    follow(downloads, page)
    await page.evaluate(SAVE, [site.serve(lambda request: drip(request, most=9999, piece=b"x", pause=0.1)), ""])
    await eventually(downloads.list)
    await page.context.close()
    (download,) = await done(downloads)
    assert "closed" in download.failure or "cancelled" in download.failure


async def test_addresses_are_shown_without_what_is_secret(
    open_page: OpenPage, site: Site, downloads: Downloads
) -> None:
    page = await open_page()
    follow(downloads, page)
    await page.evaluate(SAVE, [f"{attachment(site, b'x')}?token=hush&page=2", ""])
    (download,) = await done(downloads)
    assert download.url.endswith("?token=[hidden]&page=2")
