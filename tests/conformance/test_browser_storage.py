"""Cookies and storage: shared by a Browser's pages, apart from another's, kept by a profile."""

import json
from pathlib import Path

import pytest

from tests.conformance.browsing import document
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import InvalidArgument, LimitExceeded, ProfileBusy
from workstation.interface import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

REMEMBER = document(
    "<script>document.cookie = 'who=ann; max-age=3600'; localStorage.setItem('size', 'large'); say('kept')</script>"
)
RECALL = document(
    "<p id=seen></p><script>seen.textContent = `[${document.cookie}] [${localStorage.getItem('size')}]`</script>"
)
KEPT, NOTHING = "[who=ann] [large]", "[] [null]"


@pytest.fixture
def recalled(site: Site):
    """What the pages of a browser remember."""

    async def recalled(browser: Browser, host: str = "site.test") -> str:
        await browser.open_page("recall", url=site.show(RECALL, host=host))
        text = (await browser.read_text("recall")).text
        await browser.close_page("recall")
        return text.strip()

    return recalled


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """Where a profile is kept, outside of the workspace."""
    return tmp_path / "profile"


class TestOneBrowser:
    async def test_pages_share_it(self, browser: Browser, open_tab: OpenTab, site: Site, recalled) -> None:
        await open_tab(url=site.show(REMEMBER))
        assert KEPT in await recalled(browser)

    async def test_it_outlives_a_page_but_sites_do_not_share_it(
        self, browser: Browser, open_tab: OpenTab, site: Site, recalled
    ) -> None:
        tab = await open_tab(url=site.show(REMEMBER))
        await browser.close_page(tab.page_id)
        assert KEPT in await recalled(browser)
        assert NOTHING in await recalled(browser, "other.test")

    async def test_cookies_that_a_server_sets(self, open_tab: OpenTab, site: Site) -> None:
        url = site.show(document("x"), set_cookie="session=abc; HttpOnly; SameSite=Lax")
        tab = await open_tab(url=url)
        await tab.navigate(url)
        assert site.requests(url)[-1].headers["Cookie"] == "session=abc"
        assert "abc" in await tab.browser.storage()

    async def test_two_browsers_know_nothing_of_each_other(
        self, open_browser, open_tab: OpenTab, site: Site, recalled
    ) -> None:
        async with open_browser() as one, open_browser() as two:
            await open_tab(url=site.show(REMEMBER), on=one)
            assert KEPT in await recalled(one)
            assert NOTHING in await recalled(two)
            assert "ann" not in await two.storage()


class TestState:
    async def test_it_is_taken_and_put_back(
        self, browser: Browser, open_browser, open_tab: OpenTab, site: Site, recalled
    ) -> None:
        await open_tab(url=site.show(REMEMBER))
        state = await browser.storage()
        json.loads(state)
        async with open_browser() as other:
            await other.set_storage(state)
            assert KEPT in await recalled(other)
            assert json.loads(await other.storage()) == json.loads(state)

    async def test_it_is_cleared(self, browser: Browser, open_tab: OpenTab, site: Site, recalled) -> None:
        await open_tab(url=site.show(REMEMBER))
        await browser.set_storage("")
        assert NOTHING in await recalled(browser)
        assert "ann" not in await browser.storage()

    async def test_what_is_put_replaces_what_was(
        self, browser: Browser, open_tab: OpenTab, site: Site, recalled
    ) -> None:
        empty = await browser.storage()
        await open_tab(url=site.show(REMEMBER))
        await browser.set_storage(empty)
        assert NOTHING in await recalled(browser)

    async def test_it_can_be_set_before_any_page(self, open_browser, recalled) -> None:
        cookie = {"name": "who", "value": "ann", "domain": "site.test", "path": "/"}
        async with open_browser() as browser:
            await browser.set_storage(json.dumps({"cookies": [cookie], "origins": []}))
            assert "[who=ann]" in await recalled(browser)

    @pytest.mark.parametrize(
        "state",
        [
            "no json",
            "[]",
            "7",
            "null",
            '"text"',
            '{"cookies": 7}',
            '{"cookies": [7]}',
            '{"cookies": [{"name": "a"}]}',
            '{"cookies": [], "origins": [{"origin": 7}]}',
            '{"origins": [{"origin": "file:///", "localStorage": [{"name": "a"}]}]}',
            '{"cookies": [{"name": "a", "value": "b", "domain": "site.test", "path": "/", "sameSite": "Odd"}]}',
            "[" * 100_000,
            "\ud800",
        ],
    )
    async def test_what_is_no_state_changes_nothing(
        self, browser: Browser, open_tab: OpenTab, site: Site, recalled, state: str
    ) -> None:
        await open_tab(url=site.show(REMEMBER))
        with pytest.raises(InvalidArgument):
            await browser.set_storage(state)
        assert KEPT in await recalled(browser)

    async def test_more_than_may_be_kept(self, open_browser, recalled) -> None:
        async with open_browser(storage_bytes=10_000) as browser:
            with pytest.raises(LimitExceeded) as caught:
                await browser.set_storage(json.dumps({"cookies": [], "origins": [], "more": "a" * 10_000}))
            assert caught.value.limit == "storage_bytes"

    async def test_a_page_that_keeps_too_much(self, open_browser, open_tab: OpenTab) -> None:
        async with open_browser(storage_bytes=10_000) as browser:
            await open_tab("<script>localStorage.setItem('a', 'a'.repeat(100000))</script>", on=browser)
            with pytest.raises(LimitExceeded) as caught:
                await browser.storage()
            assert caught.value.limit == "storage_bytes"


class TestProfile:
    async def test_it_keeps_for_the_next(
        self, open_browser, open_tab: OpenTab, site: Site, profile: Path, recalled
    ) -> None:
        async with open_browser(profile=profile) as browser:
            if not (await browser.capabilities()).persistent:
                pytest.skip("keeps nothing, and says so")
            await open_tab(url=site.show(REMEMBER), on=browser)
        async with open_browser(profile=profile) as browser:
            assert KEPT in await recalled(browser)
            await browser.set_storage("")
        async with open_browser(profile=profile) as browser:
            assert NOTHING in await recalled(browser)

    async def test_without_one_nothing_is_kept(self, open_browser, open_tab: OpenTab, site: Site, recalled) -> None:
        async with open_browser() as browser:
            assert not (await browser.capabilities()).persistent
            await open_tab(url=site.show(REMEMBER), on=browser)
        async with open_browser() as browser:
            assert NOTHING in await recalled(browser)

    async def test_one_at_a_time(self, open_browser, profile: Path) -> None:
        async with open_browser(profile=profile) as browser:
            with pytest.raises(ProfileBusy):
                async with open_browser(profile=profile):
                    pass
            await browser.open_page("still-works")
        async with open_browser(profile=profile) as browser:
            await browser.open_page("free-again")

    async def test_two_profiles_are_two(
        self, open_browser, open_tab: OpenTab, site: Site, tmp_path: Path, recalled
    ) -> None:
        async with open_browser(profile=tmp_path / "one") as one, open_browser(profile=tmp_path / "two") as two:
            await open_tab(url=site.show(REMEMBER), on=one)
            assert NOTHING in await recalled(two)

    @pytest.mark.parametrize("damage", [b"", b"no json", b"\xff\xfe\x00", b"{", b"[]"])
    async def test_a_damaged_one_begins_anew(
        self, open_browser, open_tab: OpenTab, site: Site, profile: Path, recalled, damage: bytes
    ) -> None:
        async with open_browser(profile=profile) as browser:
            await open_tab(url=site.show(REMEMBER), on=browser)
        for path in profile.rglob("*"):
            if path.is_file() and path.stat().st_size:
                path.write_bytes(damage)
        async with open_browser(profile=profile) as browser:
            assert NOTHING in await recalled(browser)
            await open_tab(url=site.show(REMEMBER), on=browser)
        async with open_browser(profile=profile) as browser:
            assert KEPT in await recalled(browser)

    async def test_nobody_else_can_read_it(self, open_browser, open_tab: OpenTab, site: Site, profile: Path) -> None:
        async with open_browser(profile=profile) as browser:
            await open_tab(url=site.show(REMEMBER), on=browser)
        assert profile.stat().st_mode & 0o077 == 0
        for path in profile.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0
