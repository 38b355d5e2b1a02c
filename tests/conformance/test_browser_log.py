"""What a page wrote to its console, and which requests it made."""

import pytest

from tests.conformance.browsing import eventually
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site, Sites
from workstation.errors import InvalidArgument
from workstation.interface import PageLog

pytestmark = pytest.mark.asyncio(loop_scope="session")


def numbers(log: PageLog) -> list[int]:
    return [one.sequence for one in log.console] + [one.sequence for one in log.requests]


class TestConsole:
    @pytest.mark.parametrize(
        ("method", "level"),
        [("log", "log"), ("info", "info"), ("warn", "warning"), ("error", "error"), ("debug", "debug")],
    )
    async def test_levels(self, open_tab: OpenTab, method: str, level: str) -> None:
        tab = await open_tab(f"<script>console.{method}('some', 'words', 7)</script>")

        async def found() -> list[tuple[str, str]]:
            return [
                (one.level, one.text) for one in (await tab.browser.log(tab.page_id)).console if "words" in one.text
            ]

        assert await eventually(found) == [(level, "some words 7")]

    async def test_errors_that_nobody_caught(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<script>setTimeout(() => { throw new TypeError('thrown words') });"
            "Promise.reject(new Error('rejected words'))</script>"
        )

        async def found() -> bool:
            text = " ".join(one.text for one in (await tab.browser.log(tab.page_id)).console if one.level == "error")
            return "thrown words" in text and "rejected words" in text

        await eventually(found)

    async def test_only_what_came_after(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button onclick=\"console.log('second')\">Log</button><script>console.log('first')</script>"
        )
        before = await tab.browser.log(tab.page_id)
        last = max(numbers(before))
        await tab.click("button", "Log")

        async def after() -> list[str]:
            return [one.text for one in (await tab.browser.log(tab.page_id, after=last)).console]

        assert await eventually(after) == ["second"]

    async def test_spam_is_bounded_and_said_to_be_missing(self, open_browser, open_tab: OpenTab) -> None:
        async with open_browser(log_entries=50) as browser:
            tab = await open_tab(
                "<script>for (let n = 0; n < 20000; n++) console.log('spam ' + n);"
                "setInterval(() => console.log('after it'), 500)</script>",
                on=browser,
            )

            async def over() -> bool:
                return "after it" in [one.text for one in (await browser.log(tab.page_id)).console]

            first = await browser.log(tab.page_id)
            await eventually(over, 40)
            log = await browser.log(tab.page_id)
            assert len(log.console) <= 50
            assert log.dropped or "left out" in repr(first) + repr(log)

    async def test_long_and_odd_entries_are_bounded(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<script>console.log('a'.repeat(5e6)); console.log(window, document, null, undefined, Symbol('s'));"
            "console.log('\\ud800 \\u0000 \\u001b[31m'); const o = {}; o.o = o; console.log(o); console.log();"
            "console.log('the end')</script>"
        )

        async def over() -> bool:
            return "the end" in [one.text for one in (await tab.browser.log(tab.page_id)).console]

        await eventually(over)
        for entry in (await tab.browser.log(tab.page_id)).console:
            entry.text.encode()
            assert len(entry.text) < 100_000

    async def test_an_entry_keeps_its_place(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<script>console.error('here')</script>")
        (entry,) = [one for one in (await tab.browser.log(tab.page_id)).console if one.text == "here"]
        assert "site.test" in entry.place


class TestRequests:
    async def test_methods_addresses_kinds_and_statuses(self, open_tab: OpenTab, site: Site) -> None:
        data, missing, style = site.show("{}"), site.url("/nothing"), site.show("", content_type="text/css")
        tab = await open_tab(
            f"<link rel=stylesheet href='{style}'><script>fetch('{data}', {{method: 'POST', body: 'x'}}); "
            f"fetch('{missing}')</script>"
        )
        await tab.browser.wait_for(tab.page_id, url="/", timeout=5)

        async def found() -> dict[str, tuple[str, int | None]]:
            requests = {one.url: (one.method, one.status) for one in (await tab.browser.log(tab.page_id)).requests}
            return requests if requests.get(missing, ("", None))[1] else {}

        requests = await eventually(found)
        assert requests[data] == ("POST", 200)
        assert requests[missing] == ("GET", 404)
        assert requests[style] == ("GET", 200)
        kinds = {one.url: one.kind for one in (await tab.browser.log(tab.page_id)).requests}
        assert (kinds[data], kinds[style]) == ("fetch", "stylesheet")

    async def test_failures(self, open_tab: OpenTab, sites: Sites) -> None:
        refused = f"http://forbidden.test:{sites.http.port}/"
        tab = await open_tab(f"<script>fetch('{sites.bad['reset']}'); fetch('{refused}', {{mode: 'no-cors'}})</script>")

        async def found() -> bool:
            requests = {one.url: one for one in (await tab.browser.log(tab.page_id)).requests}
            broken, forbidden = requests.get(sites.bad["reset"]), requests.get(refused)
            return bool(broken and broken.failure and forbidden and (forbidden.failure or forbidden.status == 403))

        await eventually(found)
        told = [one.url for one in (await tab.browser.log(tab.page_id)).requests]
        assert (told.count(refused), told.count(sites.bad["reset"])) == (1, 1)

    async def test_no_credentials(self, open_tab: OpenTab, site: Site) -> None:
        url = site.show("ok").replace("http://", "http://someone:hunter2@")
        tab = await open_tab(f"<img src='{url}'><script>fetch('{url}').catch(() => 0)</script>")
        await tab.browser.wait_for(tab.page_id, url="/", timeout=5)
        assert "hunter2" not in repr(await tab.browser.log(tab.page_id))

    async def test_in_one_order_with_the_console(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<script>console.log('a')</script>")
        log = await tab.browser.log(tab.page_id)
        assert len(numbers(log)) == len(set(numbers(log)))
        assert [one.sequence for one in log.console] == sorted(one.sequence for one in log.console)

    async def test_a_flood_is_bounded(self, open_browser, open_tab: OpenTab, site: Site) -> None:
        async with open_browser(log_entries=20) as browser:
            url = site.show("ok")
            tab = await open_tab(f"<script>for (let n = 0; n < 200; n++) fetch('{url}?' + n)</script>", on=browser)

            async def many() -> bool:
                return bool((await browser.log(tab.page_id)).dropped >= 150)

            await eventually(many)
            assert len((await browser.log(tab.page_id)).requests) <= 20


class TestArguments:
    async def test_after_nothing_and_after_all(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<script>console.log('a')</script>")
        log = await tab.browser.log(tab.page_id, after=10**15)
        assert (log.console, log.requests, log.dropped) == ((), (), 0)
        with pytest.raises(InvalidArgument):
            await tab.browser.log(tab.page_id, after=-1)

    async def test_each_page_has_its_own(self, open_tab: OpenTab) -> None:
        one, two = (
            await open_tab("<script>console.log('of one')</script>"),
            await open_tab("<script>console.log('of two')</script>"),
        )
        assert [entry.text for entry in (await one.browser.log(one.page_id)).console] == ["of one"]
        assert [entry.text for entry in (await two.browser.log(two.page_id)).console] == ["of two"]
