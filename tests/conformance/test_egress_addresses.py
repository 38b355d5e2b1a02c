"""Internal addresses in every notation, names that lead to them, and rules that change while a page is open."""

import asyncio

import pytest

from tests.conformance.browsing import document, eventually
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Sites
from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.errors import InvalidArgument, NavigationBlocked, NavigationFailed
from workstation.interface import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.127.127.127",
    "2130706433",
    "0x7f000001",
    "0X7F.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "0x7f.1",
    "127.0.0.01",
    "127.0.0.1.",
    "127。0。0。1",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "%31%32%37.0.0.1",
    "0",
    "0.0.0.0",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "[::ffff:0:127.0.0.1]",
    "[fe80::1]",
    "localhost.",
    "LOCALHOST",
    "app.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "127.0.0.1.nip.io",
    "site.test@127.0.0.1",
    "site.test%40127.0.0.1",
    "site.test:80@127.0.0.1",
]
ELSEWHERE = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "168.63.129.16",
    "10.0.0.1",
    "192.168.0.1",
    "172.16.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
    "192.88.99.1",
]


class TestNotations:
    @pytest.mark.parametrize("host", LOOPBACK)
    async def test_of_this_machine(self, browser: Browser, sites: Sites, host: str) -> None:
        before = len(sites.victim.hits)
        await browser.open_page("one")
        with pytest.raises((NavigationBlocked, NavigationFailed, InvalidArgument)):
            await asyncio.wait_for(browser.navigate("one", f"http://{host}:{sites.victim.port}/", timeout=5), 15)
        assert sites.victim.hits[before:] == []

    @pytest.mark.parametrize("host", ELSEWHERE)
    async def test_of_what_lies_around_it(self, browser: Browser, host: str) -> None:
        await browser.open_page("one")
        with pytest.raises((NavigationBlocked, InvalidArgument)):
            await asyncio.wait_for(browser.navigate("one", f"http://{host}/latest/meta-data/", timeout=5), 15)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_the_reason_is_told(self, browser: Browser, scheme: str) -> None:
        await browser.open_page("one")
        with pytest.raises(NavigationBlocked, match=r"forbidden\.test"):
            await browser.navigate("one", f"{scheme}://forbidden.test/")

    async def test_from_a_page_all_at_once(self, open_tab: OpenTab, sites: Sites) -> None:
        before = len(sites.victim.hits)
        images = "".join(f"<img src='http://{host}:{sites.victim.port}/img'>" for host in LOOPBACK)
        sockets = "".join(
            f"<script>try {{ new WebSocket('ws://{host}:{sites.victim.port}/') }} catch {{}}</script>"
            for host in LOOPBACK
        )
        await open_tab(images + sockets)
        await asyncio.sleep(1)
        assert sites.victim.hits[before:] == []

    async def test_other_ports_of_an_allowed_host(self, browser: Browser, sites: Sites) -> None:
        before = len(sites.victim.hits)
        await browser.open_page("one")
        for host in ("site.test", "localhost"):
            with pytest.raises(NavigationBlocked):
                await browser.navigate("one", f"http://{host}:{sites.victim.port}/")
        assert sites.victim.hits[before:] == []


class TestNames:
    async def test_one_that_is_bound_anew(
        self, browser: Browser, egress: EgressProxy, sites: Sites, open_tab: OpenTab
    ) -> None:
        """First it leads to a place that answers, then inside: each answer is checked anew."""
        port = sites.http.port
        answers = iter([("127.0.0.1",)])
        sites.names.answers["rebind.test"] = lambda: next(answers, ("169.254.169.254",))
        egress.policy = EgressPolicy(
            (*sites.policy.rules, EgressRule("rebind.test", (port, sites.victim.port), private=True))
        )
        page = sites.http.show(
            document("<p>first</p>"), host="rebind.test", connection="close", cache_control="no-store"
        )
        tab = await open_tab(url=page)
        assert "first" in await tab.text()
        with pytest.raises(NavigationBlocked):
            await tab.navigate(page)

    @pytest.mark.parametrize(
        "addresses", [("127.0.0.1",), ("93.184.216.34", "127.0.0.1"), ("::1",), ("::ffff:127.0.0.1",), ("0.0.0.0",)]
    )
    async def test_one_that_is_allowed_as_public_and_leads_inside(
        self, browser: Browser, egress: EgressProxy, sites: Sites, addresses: tuple[str, ...]
    ) -> None:
        before = len(sites.victim.hits)
        sites.names.answers["public.test"] = lambda: addresses
        egress.policy = EgressPolicy((*sites.policy.rules, EgressRule("public.test", (sites.victim.port,))))
        await browser.open_page("one")
        with pytest.raises(NavigationBlocked):
            await browser.navigate("one", f"http://public.test:{sites.victim.port}/")
        assert sites.victim.hits[before:] == []

    async def test_one_that_does_not_exist(self, browser: Browser, egress: EgressProxy, sites: Sites) -> None:
        egress.policy = EgressPolicy((*sites.policy.rules, EgressRule("nowhere.test")))
        await browser.open_page("one")
        for scheme in ("http", "https"):
            with pytest.raises(NavigationFailed):
                await browser.navigate("one", f"{scheme}://nowhere.test/")

    async def test_other_spellings_of_an_allowed_name(self, browser: Browser, sites: Sites) -> None:
        url = sites.http.show(document("x", title="Here"))
        await browser.open_page("one")
        for host in ("SITE.TEST", "site.test."):
            page = await browser.navigate("one", url.replace("site.test", host))
            assert page.title == "Here"


class TestRules:
    async def test_nothing_is_allowed_without_any(self, browser: Browser, egress: EgressProxy, sites: Sites) -> None:
        url = sites.http.show("x")
        egress.policy = EgressPolicy()
        await browser.open_page("one")
        with pytest.raises(NavigationBlocked):
            await browser.navigate("one", url)
        assert not sites.http.requests(url)

    async def test_they_change_under_an_open_page(
        self, browser: Browser, egress: EgressProxy, sites: Sites, open_tab: OpenTab
    ) -> None:
        asked = sites.http.show("{}", cache_control="no-store")
        tab = await open_tab(
            f"<button onclick=\"fetch('{asked}').then((r) => say('status ' + r.status))"
            ".catch(() => say('failed'))\">Ask</button>"
        )
        await tab.click("button", "Ask")
        await tab.shows("status 200")
        egress.policy = EgressPolicy()
        await tab.click("button", "Ask")

        async def refused() -> bool:
            text = await tab.text()
            return "status 403" in text or "failed" in text

        await eventually(refused)
        assert len(sites.http.requests(asked)) == 1
        egress.policy = sites.policy
        await tab.navigate(sites.http.show(document("back")))

    async def test_methods(self, browser: Browser, egress: EgressProxy, sites: Sites, open_tab: OpenTab) -> None:
        port = sites.http.port
        egress.policy = EgressPolicy((EgressRule("site.test", (port,), methods=("GET",), private=True),))
        goal = sites.http.show("ok")
        tab = await open_tab(
            f"<script>fetch('{goal}', {{method: 'POST'}}).then((r) => say('post ' + r.status))"
            f".then(() => fetch('{goal}')).then((r) => say('get ' + r.status))</script>"
        )
        await tab.shows("get 200")
        assert "post 403" in await tab.text()
        assert [one.method for one in sites.http.requests(goal)] == ["GET"]

    async def test_websockets_to_allowed_hosts_work(self, open_tab: OpenTab, sites: Sites) -> None:
        from aiohttp import web

        async def echo(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str("echo " + str(message.data))
            return socket

        url = sites.http.serve(echo).replace("http", "ws", 1)
        tab = await open_tab(
            f"<script>const s = new WebSocket('{url}'); s.onopen = () => s.send('words');"
            "s.onmessage = (event) => { say(event.data); s.close() }</script>"
        )
        await tab.shows("echo words")
