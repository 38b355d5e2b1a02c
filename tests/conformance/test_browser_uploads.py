"""Uploads: files of the workspace, and nothing else, given to a page."""

import os
from pathlib import Path

import pytest

from tests.conformance.browsing import Tab, document, ref_of
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import (
    ActionFailed,
    FileSystemError,
    InvalidArgument,
    InvalidPath,
    LimitExceeded,
    NotFound,
    PathOutsideWorkspace,
    StaleRef,
    WrongKind,
)
from workstation.interface import Upload

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOW = "say([...this.files].map((file) => file.name + ':' + file.size).join(' ') + '.')"


@pytest.fixture
def plant(planted: Path):
    """Put a file into the workspace."""

    def plant(name: str, data: bytes = b"words") -> str:
        path = planted / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
        for made in (path, *path.parents):
            if made == planted:
                break
            os.chown(made, planted.stat().st_uid, planted.stat().st_gid)
        return name

    return plant


async def chooser(open_tab: OpenTab, attributes: str = "", **how: object) -> Tab:
    return await open_tab(
        f'<input type=file aria-label=Files {attributes} onchange="{SHOW}"><button>Other</button>', **how
    )


async def upload(tab: Tab, *paths: str) -> None:
    await tab.act(Upload(ref=await tab.ref("button", "Files"), paths=paths))


async def test_one_file(open_tab: OpenTab, plant) -> None:
    tab = await chooser(open_tab)
    await upload(tab, plant("notes.txt"))
    await tab.shows("notes.txt:5.")


async def test_what_the_site_gets_is_the_file(open_tab: OpenTab, site: Site, plant) -> None:
    goal = site.show(document("received"))
    tab = await open_tab(
        f"<form method=post enctype=multipart/form-data action='{goal}'><input type=file name=f aria-label=Files>"
        f"<button>Send</button></form>"
    )
    await upload(tab, plant("deep/down/data.bin", bytes(range(256)) * 100))
    await tab.click("button", "Send")
    await tab.shows("received")
    body = site.requests(goal)[0].body
    assert bytes(range(256)) * 100 in body
    assert b'filename="data.bin"' in body


async def test_several_files(open_tab: OpenTab, plant) -> None:
    tab = await chooser(open_tab, "multiple")
    await upload(tab, plant("a.txt", b"1"), plant("b/a.txt", b"22"), plant("ü ß.txt", b"333"))
    await tab.shows("a.txt:1 a.txt:2 ü ß.txt:3.")


async def test_an_empty_file(open_tab: OpenTab, plant) -> None:
    tab = await chooser(open_tab)
    await upload(tab, plant("empty", b""))
    await tab.shows("empty:0.")


async def test_several_where_one_is_taken(open_tab: OpenTab, plant) -> None:
    tab = await chooser(open_tab)
    with pytest.raises((ActionFailed, InvalidArgument)):
        await upload(tab, plant("a"), plant("b"))


@pytest.mark.parametrize(
    "how",
    [
        f'<label>Attach <input type=file style="opacity:0;width:1px" onchange="{SHOW}"></label>',
        f'<label>Attach <input type=file style="display:none" onchange="{SHOW}"></label>',
        f'<input type=file id=it hidden onchange="{SHOW}"><button onclick="it.click()">Attach</button>',
    ],
)
async def test_a_hidden_chooser_behind_a_button_is_not_needed(open_tab: OpenTab, plant, how: str) -> None:
    tab = await open_tab(f"<main aria-label=Core>{how}</main>")
    await tab.act(Upload(ref=await tab.ref("button", "Attach"), paths=(plant("a.txt"),)))
    await tab.shows("a.txt:5.")
    part = (await tab.snapshot(ref=await tab.ref("main", "Core"))).text
    await tab.act(Upload(ref=ref_of(part, "button", "Attach"), paths=(plant("scan.pdf", b"123"),)))
    await tab.shows("scan.pdf:3.")


async def test_clicking_a_chooser_hangs_nothing(open_tab: OpenTab, plant) -> None:
    tab = await chooser(open_tab)
    await tab.click("button", "Files")
    await upload(tab, plant("a.txt"))
    await tab.shows("a.txt:5.")


async def test_more_than_may_be(open_browser, open_tab: OpenTab, plant) -> None:
    async with open_browser(upload_bytes=1000) as browser:
        tab = await chooser(open_tab, "multiple", on=browser)
        await upload(tab, plant("a", b"a" * 500), plant("b", b"b" * 500))
        await tab.shows("a:500 b:500.")
        with pytest.raises(LimitExceeded) as caught:
            await upload(tab, "a", "b", plant("c", b"c"))
        assert caught.value.limit == "upload_bytes"


async def test_a_huge_sparse_file_is_not_read(open_tab: OpenTab, plant, planted: Path) -> None:
    plant("huge", b"")
    os.truncate(planted / "huge", 1 << 40)
    with pytest.raises((LimitExceeded, FileSystemError)):
        await upload(await chooser(open_tab), "huge")


async def test_what_is_no_chooser(open_tab: OpenTab, plant) -> None:
    tab = await chooser(open_tab)
    with pytest.raises(ActionFailed):
        await tab.act(Upload(ref=await tab.ref("button", "Other"), paths=(plant("a"),)))
    with pytest.raises(StaleRef):
        await tab.act(Upload(ref="e4711", paths=(plant("a"),)))


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("missing.txt", NotFound),
        ("missing/missing.txt", NotFound),
        ("", InvalidPath),
        ("a\0b", InvalidPath),
        ("../outside/file", PathOutsideWorkspace),
        ("/etc/passwd", PathOutsideWorkspace),
        ("directory", WrongKind),
        ("fifo", WrongKind),
    ],
)
async def test_what_is_no_file(
    open_tab: OpenTab, plant, planted: Path, outside: Path, path: str, error: type[Exception]
) -> None:
    plant("directory/a")
    os.mkfifo(planted / "fifo")
    tab = await chooser(open_tab)
    with pytest.raises(error):
        await upload(tab, path)
    assert "secret" not in await tab.text()


async def test_a_link_that_was_planted_is_not_followed(open_tab: OpenTab, planted: Path, outside: Path) -> None:
    (planted / "link").symlink_to(outside / "file")
    (planted / "links").symlink_to(outside)
    tab = await chooser(open_tab)
    for path in ("link", "links/file"):
        with pytest.raises(FileSystemError):
            await upload(tab, path)
    assert ":6." not in await tab.text()


async def test_no_files_clear_it_or_are_refused(open_tab: OpenTab, plant) -> None:
    tab = await chooser(open_tab)
    await upload(tab, plant("a"))
    await tab.shows("a:5.")
    try:
        await upload(tab)
    except InvalidArgument:
        return
    await tab.shows("a:5. .")


async def test_the_page_learns_no_path(open_tab: OpenTab, plant) -> None:
    tab = await open_tab(
        "<input type=file aria-label=Files onchange=\"say(this.value + ' | ' + this.files[0].webkitRelativePath + '.')\">"
    )
    await upload(tab, plant("deep/a.txt"))
    await tab.shows("C:\\fakepath\\a.txt | .")
