import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page

from tests.integration.workstation.browser_media.conftest import OpenPage, Site, eventually
from workstation.errors import (
    ActionFailed,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PathOutsideWorkspace,
    WorkstationUnavailable,
    WrongKind,
)
from workstation.interface import FileSystem
from workstation.local.browser import uploads as module
from workstation.local.browser.engine import Engine
from workstation.local.browser.tasks import Tasks
from workstation.local.browser.uploads import Uploads

pytestmark = pytest.mark.asyncio(loop_scope="package")

READ = "async selector => Promise.all([...document.querySelector(selector).files].map(async f => [f.name, await f.text()]))"


@pytest_asyncio.fixture(loop_scope="package")
async def directory(engine: Engine) -> AsyncIterator[Path]:
    await engine.chromium()
    place = engine.exchange / "uploads"
    yield place
    assert not list(place.iterdir())


@pytest_asyncio.fixture(loop_scope="package")
async def uploads(files: FileSystem, directory: Path) -> AsyncIterator[Uploads]:
    async with Tasks() as tasks:
        opened = Uploads(files, directory, tasks=tasks, most_bytes=64 << 20)
        yield opened
        await opened.clear()


async def given(page: Page, selector: str = "input") -> list[list[str]]:
    return list(await page.evaluate(READ, selector))


async def test_files_are_given_with_their_names(open_page: OpenPage, files: FileSystem, uploads: Uploads) -> None:
    await files.write("a.txt", b"one")
    await files.write("sub/a.txt", b"two", parents=True)
    await files.write("ünï cödé.txt", b"three")
    page = await open_page("<input type=file multiple>")
    await uploads.give("tab", page.locator("input"), ["a.txt", "sub/a.txt", "ünï cödé.txt"])
    assert await given(page) == [["a.txt", "one"], ["a.txt", "two"], ["ünï cödé.txt", "three"]]
    await uploads.give("tab", page.locator("input"), [])
    assert await given(page) == []


async def test_what_is_sent_is_the_file(open_page: OpenPage, site: Site, files: FileSystem, uploads: Uploads) -> None:
    received = []

    async def receive(request: web.Request) -> web.Response:
        sent = (await request.post())["it"]
        assert isinstance(sent, web.FileField)
        received.append((sent.filename, sent.file.read()))
        return web.Response(text="thanks", content_type="text/html")

    content = bytes(range(256)) * 4096 * 55  # beyond what Playwright sends itself
    await files.write("large.bin", content)
    page = await open_page(
        f"<form action={site.serve(receive)} method=post enctype=multipart/form-data>"
        "<input type=file name=it><button>Send</button></form>"
    )
    await uploads.give("tab", page.locator("input"), ["large.bin"])
    await page.click("button")
    await page.wait_for_load_state()
    assert received == [("large.bin", content)]


@pytest.mark.parametrize(
    ("body", "selector"),
    [
        ("<label>Your file <input type=file style='display:none'></label>", "label"),
        ("<div id=zone>Drop here <input type=file hidden></div>", "#zone"),
        (
            "<input type=file hidden><button onclick=\"document.querySelector('input').click()\">Attach</button>",
            "button",
        ),
    ],
    ids=["its label", "what holds it", "a button that asks"],
)
async def test_hidden_inputs_are_reached(
    open_page: OpenPage, files: FileSystem, uploads: Uploads, body: str, selector: str
) -> None:
    await files.write("a.txt", b"one")
    page = await open_page(body)
    await uploads.give("tab", page.locator(selector), ["a.txt"])
    assert await given(page) == [["a.txt", "one"]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<input id=it>", "not a file input"),
        ("<textarea id=it></textarea>", "not a file input"),
        ("<button id=it>Nothing</button>", "asks for no file"),
        ("<input id=it type=file disabled>", "disabled"),
        ("<input id=it type=file>", "one file, not 2"),
        ("<input id=it type=file webkitdirectory>", "directory"),
    ],
)
async def test_what_takes_no_files_says_why(
    open_page: OpenPage, files: FileSystem, uploads: Uploads, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:
    monkeypatch.setattr(module, "_CHOOSER_MILLISECONDS", 300)
    await files.write("a.txt", b"one")
    page = await open_page(body)
    with pytest.raises(ActionFailed, match=words) as caught:
        await uploads.give("tab", page.locator("#it"), ["a.txt", "a.txt"])
    assert caught.value.page_id == "tab"


async def test_bad_paths_raise_what_files_raise(open_page: OpenPage, files: FileSystem, uploads: Uploads) -> None:
    await files.make_directory("sub")
    page = await open_page("<input type=file multiple>")
    for path, error in (("none", NotFound), ("../up", PathOutsideWorkspace), ("sub", WrongKind), (".", WrongKind)):
        with pytest.raises(error):
            await uploads.give("tab", page.locator("input"), [path])
    with pytest.raises(InvalidArgument):
        await uploads.give("tab", page.locator("input"), ["none"] * 1001)


async def test_all_files_together_are_bounded(
    open_page: OpenPage, files: FileSystem, directory: Path, workspace: Path
) -> None:
    await files.write("a", b"x" * 600)
    (workspace / "link").symlink_to("a")
    uploads = Uploads(files, directory, tasks=Tasks(), most_bytes=1000)
    page = await open_page("<input type=file multiple>")
    for paths in (["a", "a"], ["a", "link"]):
        with pytest.raises(LimitExceeded) as caught:
            await uploads.give("tab", page.locator("input"), paths)
        assert (caught.value.limit, caught.value.allowed) == ("upload_bytes", 1000)
        assert not list(directory.iterdir())
    await uploads.give("tab", page.locator("input"), ["link"])
    assert await given(page) == [["link", "x" * 600]]
    await uploads.clear()


async def test_a_full_disk_is_told(
    open_page: OpenPage, files: FileSystem, uploads: Uploads, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    await files.write("a", b"x")
    page = await open_page("<input type=file>")
    monkeypatch.setattr(module, "_write", write)
    with pytest.raises(WorkstationUnavailable, match="No space left"):
        await uploads.give("tab", page.locator("input"), ["a"])
    assert not list(directory.iterdir())


async def test_what_a_closed_page_was_given_is_removed(
    open_page: OpenPage, files: FileSystem, uploads: Uploads, directory: Path
) -> None:
    await files.write("a", b"x")
    await uploads.give("tab", (await open_page("<input type=file>")).locator("input"), ["a"])
    uploads.forget("tab")
    await eventually(lambda: not list(directory.iterdir()))


async def test_only_the_latest_uploads_are_kept(
    open_page: OpenPage, files: FileSystem, uploads: Uploads, directory: Path
) -> None:
    await files.write("a", b"x")
    page = await open_page("<input type=file>")
    for _ in range(20):
        await uploads.give("tab", page.locator("input"), ["a"])
    assert len(list(directory.iterdir())) == 16
    assert await given(page) == [["a", "x"]]
