import asyncio

import pytest
from aiohttp import web
from playwright.async_api import Page

from tests.integration.workstation.browser_media.conftest import OpenPage, Site, eventually
from workstation.local.browser.logs import PageLogs

pytestmark = pytest.mark.asyncio(loop_scope="package")


def follow(page: Page, most: int = 100) -> PageLogs:
    return PageLogs(page, most_entries=most, mask=lambda text: text.replace("hunter2", "[hidden]"))


async def test_what_is_written_and_what_is_not_caught(open_page: OpenPage) -> None:
    page = await open_page()
    logs = follow(page)
    await page.evaluate(
        "() => { for (const level of ['log', 'info', 'warn', 'error', 'debug', 'dir']) console[level](level);"
        "console.assert(false, 'assert'); setTimeout(() => { throw new TypeError('thrown') });"
        "setTimeout(() => Promise.reject(new Error('rejected'))) }"
    )
    await eventually(lambda: len(logs.read().console) == 9)
    assert [(entry.level, entry.text) for entry in logs.read().console] == [
        ("log", "log"),
        ("info", "info"),
        ("warning", "warn"),
        ("error", "error"),
        ("debug", "debug"),
        ("log", "dir"),
        ("error", "assert"),
        ("error", "Uncaught TypeError: thrown"),
        ("error", "Uncaught Error: rejected"),
    ]


async def test_entries_say_where_they_come_from(open_page: OpenPage, site: Site) -> None:
    page = await open_page()
    logs = follow(page)
    url = site.show("\nconsole.log('here');\nsetTimeout(() => nothing.there)", Content_Type="text/javascript")
    await page.add_script_tag(url=url)
    await eventually(lambda: len(logs.read().console) == 2)
    assert [entry.place for entry in logs.read().console] == [f"{url}:2", f"{url}:3"]


async def test_requests_with_their_answers_and_failures(open_page: OpenPage, site: Site) -> None:
    page = await open_page()
    logs = follow(page)

    failing = site.show("x")
    await page.route(failing, lambda route: route.abort("connectionreset"))
    target = site.show("x")

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    urls = [site.show("x"), site.serve(redirect), failing, f"http://127.0.0.1:{site.port}/missing"]
    for url in urls:
        await page.evaluate("url => fetch(url, {method: 'POST'}).catch(() => 0)", url)
    await eventually(lambda: len(logs.read().requests) == 5)
    found = {entry.url: entry for entry in logs.read().requests}
    assert [found[url].status for url in (urls[0], urls[1], target, urls[3])] == [200, 302, 200, 404]
    assert found[urls[2]].status is None
    assert "ERR" in found[urls[2]].failure
    assert {(entry.method, entry.kind) for entry in found.values()} >= {("POST", "fetch")}


async def test_secrets_do_not_appear(open_page: OpenPage, site: Site) -> None:
    page = await open_page()
    logs = follow(page)
    base = site.show("x")
    await page.evaluate("() => { console.log('typed hunter2'); setTimeout(() => { throw new Error('hunter2') }) }")
    for query in ("?password=abc", "?api_key=abc&page=2", "?q=hunter2", "?q=hunter%32", "#access_token=abc"):
        await page.evaluate("url => fetch(url)", base + query)
    await page.evaluate("url => fetch(url).catch(() => 0)", base.replace("//", "//user:abc@"))
    await eventually(lambda: len(logs.read().requests) >= 5 and len(logs.read().console) >= 2)
    told = str(logs.read())
    assert "page=2" in told
    for secret in ("abc", "hunter2", "hunter%32"):
        assert secret not in told


async def test_one_sequence_for_both_and_only_the_latest(open_page: OpenPage, site: Site) -> None:
    page = await open_page()
    logs = follow(page, most=3)
    url = site.show("x")
    for number in range(5):
        await page.evaluate("([url, n]) => { console.log(n); return fetch(url) }", [url, number])
    await eventually(lambda: logs._sequence == 10)
    log = logs.read()
    assert [entry.text for entry in log.console] == ["2", "3", "4"]
    assert len(log.requests) == 3
    sequences = [entry.sequence for entry in log.console] + [entry.sequence for entry in log.requests]
    assert len(set(sequences)) == 6
    assert log.dropped == 4
    last = max(sequences)
    assert logs.read(last) == type(log)(console=(), requests=())
    assert logs.read(last - 1).dropped == 0
    assert logs.read(100).dropped == 0
    assert len(logs._unanswered) <= 3


async def test_long_texts_and_addresses_are_cut(open_page: OpenPage, site: Site) -> None:
    page = await open_page()
    logs = follow(page)
    await page.evaluate("() => { console.log('x'.repeat(1e6)); return fetch('data:text/plain,' + 'y'.repeat(1e6)) }")
    await page.evaluate("url => fetch(url + '?' + 'z'.repeat(5000))", site.show("x"))
    await eventually(lambda: logs.read().console and len(logs.read().requests) >= 1)
    log = logs.read()
    assert len(log.console[0].text) == 2000
    assert all(len(entry.url) <= 2000 for entry in log.requests)


async def test_a_page_that_writes_without_end_is_borne(open_page: OpenPage) -> None:
    page = await open_page()
    logs = follow(page)
    await page.evaluate("setInterval(() => { for (let i = 0; i < 200; i++) console.log('spam') }, 20)")
    await eventually(lambda: any("left out" in entry.text for entry in logs.read().console))
    before = logs._sequence
    await asyncio.sleep(2)
    assert logs._sequence - before <= 2000
    await eventually(lambda: logs._sequence > before)  # it is listened to again
    assert await page.title() == "A page"
    logs.add("info", "ours")
    assert logs.read().console[-1].text == "ours"
