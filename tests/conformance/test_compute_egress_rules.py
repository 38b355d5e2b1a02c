"""What rules say, as a program meets them: subdomains, addresses, ports, methods, names, and what goes over the wire."""

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.conformance.conftest import OpenCompute
from tests.conformance.programs import printed
from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.interface import Compute

ASK = """
import sys, urllib.error, urllib.request
method, *addresses = sys.argv[1:]
for address in addresses:
    request = urllib.request.Request(address, method=method, headers={"Proxy-Authorization": "Basic c2VjcmV0"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            print(answer.status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""
TUNNEL = """
import http.client, sys
for host in sys.argv[2:]:
    connection = http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)
    connection.set_tunnel(host, int(sys.argv[1]))
    try:
        connection.request("GET", "/")
        print(connection.getresponse().status)
    except OSError as error:
        print("refused" if "403" in str(error) else error)
"""
MEBIBYTES = 16


@dataclass
class Net:
    """A site on loopback with the names that lead to it, and what was asked of either."""

    port: int = 0
    asked: list[web.BaseRequest] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)
    answers: dict[str, Callable[[], tuple[str, ...]]] = field(default_factory=dict)

    def url(self, host: str = "site.test", path: str = "/") -> str:
        return f"http://{host}:{self.port}{path}"

    def rule(self, domain: str, *methods: str, port: int = 0) -> EgressRule:
        return EgressRule(domain, (port or self.port,), methods, private=True)

    async def resolve(self, name: str) -> tuple[str, ...]:
        self.lookups.append(name)
        return self.answers.get(name, lambda: ("127.0.0.1",))()

    async def answer(self, request: web.Request) -> web.Response:
        """The digest of what was sent, or so many bytes as the path says."""
        self.asked.append(request)
        if request.path.startswith("/many/"):
            return web.Response(body=b"a" * int(request.path.removeprefix("/many/")))
        digest = hashlib.sha256()
        async for piece in request.content.iter_any():
            digest.update(piece)
        return web.Response(text=digest.hexdigest())


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    application = web.Application(client_max_size=64 << 20)
    application.router.add_route("*", "/{path:.*}", net.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    net.port = int(runner.addresses[0][1])
    yield net
    await runner.cleanup()


@pytest.fixture
async def proxy(net: Net) -> AsyncIterator[EgressProxy]:
    async with EgressProxy(EgressPolicy((net.rule("site.test"),)), resolve=net.resolve) as opened:
        yield opened


@pytest.fixture
async def online(open_compute: OpenCompute, proxy: EgressProxy) -> AsyncIterator[Compute]:
    """A Compute whose programs have a way out."""
    async with open_compute(egress=proxy) as opened:
        yield opened


class TestHosts:
    async def test_subdomains_at_any_depth_and_nothing_else(
        self, online: Compute, proxy: EgressProxy, net: Net
    ) -> None:
        proxy.policy = EgressPolicy((net.rule("*.site.test"),))
        hosts = ("a.site.test", "a.b.site.test", "site.test", "notsite.test", "a.site.test.evil.test")
        assert (await printed(online, ASK, "GET", *map(net.url, hosts))).split() == ["200"] * 2 + ["403"] * 3
        assert (await printed(online, TUNNEL, str(net.port), *hosts)).split() == ["200"] * 2 + ["refused"] * 3
        assert set(net.lookups) == {"a.site.test", "a.b.site.test"}

    async def test_one_address_and_none_beside_it(self, online: Compute, proxy: EgressProxy, net: Net) -> None:
        proxy.policy = EgressPolicy((net.rule("127.0.0.1"),))
        hosts = ("127.0.0.1", "127.0.0.2", "2130706433", "[::1]", "site.test")
        environment = {"NO_PROXY": "", "no_proxy": ""}  # else a program asks its own loopback
        asked = await printed(online, ASK, "GET", *map(net.url, hosts), env=environment)
        assert asked.split() == ["200"] + ["403"] * 4
        assert net.lookups == []

    async def test_a_name_that_is_bound_anew(self, online: Compute, net: Net) -> None:
        answers = iter([("127.0.0.1",)])
        net.answers["site.test"] = lambda: next(answers, ("169.254.169.254",))
        assert (await printed(online, ASK, "GET", net.url(), net.url())).split() == ["200", "403"]
        assert len(net.asked) == 1


class TestPortsAndMethods:
    async def test_other_ports_of_an_allowed_host(self, online: Compute, proxy: EgressProxy, net: Net) -> None:
        proxy.policy = EgressPolicy((net.rule("site.test", port=net.port + 1),))
        assert await printed(online, ASK, "GET", net.url()) == "403\n"
        assert await printed(online, TUNNEL, str(net.port), "site.test") == "refused\n"
        assert net.asked == []

    async def test_methods_are_those_named_and_a_tunnel_is_none_of_them(
        self, online: Compute, proxy: EgressProxy, net: Net
    ) -> None:
        proxy.policy = EgressPolicy((net.rule("site.test", "GET", "HEAD"),))
        for method, status in (("GET", "200"), ("HEAD", "200"), ("POST", "403"), ("DELETE", "403"), ("PATCH", "403")):
            assert await printed(online, ASK, method, net.url()) == f"{status}\n", method
        assert await printed(online, TUNNEL, str(net.port), "site.test") == "refused\n"
        assert [request.method for request in net.asked] == ["GET", "HEAD"]


class TestNames:
    async def test_what_no_rule_names_is_not_looked_up(self, online: Compute, net: Net) -> None:
        """A name can carry a secret to whoever answers for its domain."""
        hosts = ("the-secret.elsewhere.test", "the-secret.site.test.evil.test")
        assert (await printed(online, ASK, "GET", *map(net.url, hosts))).split() == ["403"] * 2
        assert (await printed(online, TUNNEL, "443", *hosts)).split() == ["refused"] * 2
        assert net.lookups == []


class TestTheWire:
    async def test_large_bodies_pass_whole_both_ways(self, online: Compute, net: Net) -> None:
        source = """
            import hashlib, os, sys, urllib.request
            body = os.urandom(int(sys.argv[2]))
            pieces = lambda: (body[at : at + 70_000] for at in range(0, len(body), 70_000))
            for data in (body, pieces()):
                with urllib.request.urlopen(sys.argv[1], data, timeout=60) as answer:
                    print(answer.read().decode() == hashlib.sha256(body).hexdigest())
            with urllib.request.urlopen(sys.argv[1] + "many/" + sys.argv[2], timeout=60) as answer:
                print(answer.read() == b"a" * len(body))
        """
        assert await printed(online, source, net.url(), str(MEBIBYTES << 20)) == "True\n" * 3
        assert [request.headers.get("Transfer-Encoding") for request in net.asked] == [None, "chunked", None]

    async def test_what_is_said_to_the_proxy_is_not_told_to_the_server(self, online: Compute, net: Net) -> None:
        assert await printed(online, ASK, "GET", net.url()) == "200\n"
        (request,) = net.asked
        assert not [name for name in request.headers if name.lower().startswith(("proxy-", "x-forwarded", "via"))]

    async def test_a_host_header_for_another_place(self, online: Compute, net: Net) -> None:
        source = """
            import socket, sys
            for header in ("Host: other.test", "Host: 127.0.0.1", "Host: site.test\\r\\nHost: other.test"):
                with socket.create_connection(("127.0.0.1", 3128), timeout=20) as connection:
                    head = f"GET {sys.argv[1]} HTTP/1.1\\r\\n{header}\\r\\nConnection: close\\r\\n\\r\\n"
                    connection.sendall(head.encode())
                    print(connection.recv(4096).split()[1].decode())
        """
        assert await printed(online, source, net.url()) == "400\n400\n400\n"
        assert net.asked == []

    async def test_a_head_in_pieces_and_words_that_do_not_wait_for_the_tunnel(self, online: Compute, net: Net) -> None:
        source = """
            import socket, sys, time
            place = f"site.test:{sys.argv[1]}"
            ask = f"GET / HTTP/1.1\\r\\nHost: {place}\\r\\nConnection: close\\r\\n\\r\\n"
            tunnel = f"CONNECT {place} HTTP/1.1\\r\\nHost: {place}\\r\\n\\r\\n"
            for pieces in ([ask.replace("/", f"http://{place}/", 1)[n:n + 9] for n in range(0, 200, 9)], [tunnel + ask]):
                with socket.create_connection(("127.0.0.1", 3128), timeout=20) as connection:
                    for piece in pieces:
                        connection.sendall(piece.encode())
                        time.sleep(0.01)
                    heard = connection.makefile("rb").read()
                    print(heard.count(b" 200 "))
        """
        assert await printed(online, source, str(net.port)) == "1\n2\n"
        assert len(net.asked) == 2
