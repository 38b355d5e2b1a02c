import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext

from tests.integration.workstation.browser_media.conftest import OpenPage, Site
from workstation.errors import InvalidArgument, LimitExceeded, ProfileBusy
from workstation.local.browser import profile as module
from workstation.local.browser.engine import Engine
from workstation.local.browser.profile import Profile
from workstation.local.browser.storage import parse_storage, put_storage, take_storage

pytestmark = pytest.mark.asyncio(loop_scope="package")

MOST = 1 << 20
FILL = """async () => {
  document.cookie = 'a=1; max-age=1000'; localStorage.b = '2';
  await new Promise(done => {
    const asked = indexedDB.open('c');
    asked.onupgradeneeded = () => asked.result.createObjectStore('s').put('3', 'k');
    asked.onsuccess = () => {
      // Else Chromium lets the page keep it for 30 s when storage is put in its place.
      asked.result.onversionchange = () => asked.result.close();
      done();
    };
  });
}"""
LOOK = """async () => [document.cookie, localStorage.b, await new Promise(done => {
  const asked = indexedDB.open('c');
  asked.onsuccess = () => {
    if (![...asked.result.objectStoreNames].includes('s')) return done(null);
    asked.result.transaction('s').objectStore('s').get('k').onsuccess = event => done(event.target.result);
  };
})]"""


async def look(engine: Engine, site: Site, profile: Profile) -> object:
    chromium: Chromium = await engine.chromium()
    context = await chromium.new_context(storage_state=profile.state)
    page = await context.new_page()
    await page.goto(site.show("x"))
    found = await page.evaluate(LOOK)
    await context.close()
    return found


async def test_what_is_saved_is_found_again(
    open_page: OpenPage, context: BrowserContext, engine: Engine, site: Site, tmp_path: Path
) -> None:
    async with Profile(tmp_path / "a/profile", most_bytes=MOST) as profile:
        assert profile.state is None
        page = await open_page()
        await page.evaluate(FILL)
        await profile.save(context)
    async with Profile(tmp_path / "a/profile", most_bytes=MOST) as profile:
        assert await look(engine, site, profile) == ["a=1", "2", "3"]
    assert (tmp_path / "a/profile").stat().st_mode & 0o777 == 0o700
    assert {path.name for path in (tmp_path / "a/profile").iterdir()} == {"storage.json", "lock"}
    assert (tmp_path / "a/profile/storage.json").stat().st_mode & 0o777 == 0o600


async def test_only_one_may_use_it(tmp_path: Path) -> None:
    async with Profile(tmp_path, most_bytes=MOST):
        with pytest.raises(ProfileBusy, match=f"process {os.getpid()} uses"):
            await Profile(tmp_path, most_bytes=MOST).__aenter__()
    async with Profile(tmp_path, most_bytes=MOST):
        pass


async def test_another_process_is_named_and_its_death_frees_the_profile(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\nfrom workstation.local.browser.profile import Profile\n"
        "async def main():\n    async with Profile(pathlib.Path(sys.argv[1]), most_bytes=1000):\n"
        "        print('held', flush=True)\n        await asyncio.sleep(60)\nasyncio.run(main())"
    )
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", program, tmp_path, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    await holder.stdout.readline()
    with pytest.raises(ProfileBusy, match=f"process {holder.pid} uses"):
        await Profile(tmp_path, most_bytes=MOST).__aenter__()
    holder.kill()
    await holder.communicate()
    async with Profile(tmp_path, most_bytes=MOST):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"cookies": [{"name": 1}]}', b"x" * (MOST + 1)])
async def test_a_damaged_file_is_put_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, context: BrowserContext, content: bytes
) -> None:
    (tmp_path / "storage.json").write_bytes(content)
    async with Profile(tmp_path, most_bytes=MOST) as profile:
        assert profile.state is None
        assert "damaged" in caplog.text
        assert (tmp_path / "storage.damaged.json").read_bytes() == content
        await profile.save(context)
        assert (tmp_path / "storage.json").exists()


async def test_only_changes_are_written(open_page: OpenPage, context: BrowserContext, tmp_path: Path) -> None:
    page = await open_page()
    async with Profile(tmp_path, most_bytes=MOST) as profile:
        await profile.save(context)
        first = (tmp_path / "storage.json").stat().st_ino
        await profile.save(context)
        assert (tmp_path / "storage.json").stat().st_ino == first
        await page.evaluate("() => { localStorage.b = '5' }")
        await profile.save(context)
        assert (tmp_path / "storage.json").stat().st_ino != first


async def test_it_is_kept_while_it_changes(
    open_page: OpenPage, context: BrowserContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.1)
    page = await open_page()
    async with Profile(tmp_path, most_bytes=MOST) as profile:
        keeping = asyncio.ensure_future(profile.keep(context))
        await page.evaluate("() => { localStorage.b = 'kept' }")
        async with asyncio.timeout(20):
            while not (tmp_path / "storage.json").exists() or "kept" not in (tmp_path / "storage.json").read_text():
                await asyncio.sleep(0.05)
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_too_much_and_a_context_that_is_gone_leave_what_was_saved(
    open_page: OpenPage, context: BrowserContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page = await open_page()
    async with Profile(tmp_path, most_bytes=10_000) as profile:
        await profile.save(context)
        before = (tmp_path / "storage.json").read_bytes()
        await page.evaluate("() => { localStorage.b = 'x'.repeat(20000) }")
        with caplog.at_level(logging.WARNING):
            await profile.save(context)
            assert "more than the 10000" in caplog.text
            caplog.clear()
            await context.close()
            await profile.save(context)
            assert "not saved" in caplog.text
        assert (tmp_path / "storage.json").read_bytes() == before


async def test_storage_goes_out_and_in_again(open_page: OpenPage, context: BrowserContext) -> None:
    page = await open_page()
    await page.evaluate(FILL)
    taken = await take_storage(context, most_bytes=MOST)
    await put_storage(context, "", most_bytes=MOST)
    assert json.loads(await take_storage(context, most_bytes=MOST)) == {"cookies": [], "origins": []}
    await put_storage(context, taken, most_bytes=MOST)
    assert await page.evaluate(LOOK) == ["a=1", "2", "3"]
    with pytest.raises(LimitExceeded) as caught:
        await take_storage(context, most_bytes=10)
    assert (caught.value.limit, caught.value.allowed) == ("storage_bytes", 10)


COOKIE = {"name": "a", "value": "1", "domain": "127.0.0.1", "path": "/"}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("nonsense", "Invalid JSON"),
        ("[]", "it"),
        ('{"else": 1}', "else"),
        ('{"credentials": []}', "credentials"),
        (json.dumps({"cookies": [COOKIE | {"value": 1}]}), "cookies.0.value"),
        (json.dumps({"cookies": [COOKIE | {"sameSite": "Perhaps"}]}), "sameSite"),
        ('{"origins": [{"origin": "file:///etc"}]}', "origins.0.origin"),
        ('{"origins": [{"origin": "http://x/path"}]}', "origins.0.origin"),
        ('{"origins": [{"origin": "http://x", "localStorage": [{"name": "a"}]}]}', "value"),
    ],
)
async def test_what_is_no_storage_says_where(state: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_storage(state, most_bytes=MOST)


async def test_what_chromium_refuses_changes_nothing(open_page: OpenPage, context: BrowserContext) -> None:
    page = await open_page()
    await page.evaluate(FILL)
    for cookie in (COOKIE | {"domain": "\u0000bad"}, COOKIE | {"name": "a;b", "value": "\n"}):
        with pytest.raises(InvalidArgument):
            await put_storage(context, json.dumps({"cookies": [cookie]}), most_bytes=MOST)
    assert await page.evaluate(LOOK) == ["a=1", "2", "3"]


async def test_too_much_is_not_even_parsed(context: BrowserContext) -> None:
    with pytest.raises(LimitExceeded):
        await put_storage(context, "[" * 1000, most_bytes=100)
