"""Programs reach what the egress rules allow, by the proxy that their environment names, and nothing else."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from tests.conformance.conftest import OpenCompute
from tests.conformance.programs import Interpreter, heard, interpreter, printed, run, run_python, start_python
from workstation.egress import EgressLimits, EgressPolicy, EgressProxy, EgressRule
from workstation.interface import Compute, EndReason

FETCH = """
import sys, urllib.error, urllib.request
for address in sys.argv[1:]:
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            print(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.code, error.headers.get("X-Empla-Egress"), error.read().decode())
    except urllib.error.URLError as error:
        print("no way:", error.reason)
"""
CONNECTIONS = 8

type Address = Callable[..., str]


@pytest.fixture
async def site() -> AsyncIterator[Address]:
    """A site on loopback, known as `site.test`: gives the address of a path, under another name if asked."""
    application = web.Application()

    async def greet(request: web.Request) -> web.Response:
        return web.Response(text=f"hello by {request.method}")

    async def lead_inside(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"http://127.0.0.1:{port}/")

    application.add_routes([web.route("*", "/", greet), web.get("/inside", lead_inside)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    yield lambda path="/", host="site.test": f"http://{host}:{port}{path}"
    await runner.cleanup()


@pytest.fixture
async def proxy(site: Address) -> AsyncIterator[EgressProxy]:
    """Lets through what goes to the site, and in names to any public host."""

    async def resolve(name: str) -> list[str]:
        return ["127.0.0.1"]

    limits = EgressLimits(connections=CONNECTIONS)
    async with EgressProxy(allowing(site), limits=limits, resolve=resolve) as opened:
        yield opened


def allowing(site: Address) -> EgressPolicy:
    port = int(site().rpartition(":")[2].strip("/"))
    return EgressPolicy((EgressRule("site.test", (port,), private=True), EgressRule("*")))


@pytest.fixture
async def online(open_compute: OpenCompute, proxy: EgressProxy) -> AsyncIterator[Compute]:
    """A Compute whose programs have a way out."""
    async with open_compute(egress=proxy) as opened:
        yield opened


class TestReached:
    async def test_it_is_declared(self, online: Compute, compute: Compute) -> None:
        assert (await online.capabilities()).network
        assert not (await compute.capabilities()).network

    async def test_an_allowed_site(self, online: Compute, site: Address) -> None:
        for _ in range(3):  # in jails that were kept warm as well
            assert await printed(online, FETCH, site()) == "200 hello by GET\n"

    async def test_an_allowed_site_by_a_tunnel(self, online: Compute, site: Address) -> None:
        source = """
            import http.client, sys
            connection = http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)
            connection.set_tunnel("site.test", int(sys.argv[1]))
            connection.request("POST", "/")
            print(connection.getresponse().read().decode())
        """
        port = site().rpartition(":")[2].strip("/")
        assert await printed(online, source, port) == "hello by POST\n"

    async def test_by_curl(self, online: Compute, site: Address) -> None:
        if shutil.which("curl") is None:
            return  # it takes the way out from the same variables as urllib
        assert (await run(online, "curl", "-sS", site())).text == "hello by GET"

    async def test_from_a_session(self, online: Compute, site: Address) -> None:
        async with interpreter(online) as session:
            fetched = await fetch_in(session, site())
            assert fetched == "hello by GET\n"

    async def test_a_program_s_own_servers_need_no_proxy(self, online: Compute) -> None:
        source = """
            import http.server, threading, urllib.request
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    self.send_response(200); self.end_headers(); self.wfile.write(b"own")
            server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").read().decode())
        """
        assert (await printed(online, source)).endswith("own\n")


class TestRefused:
    async def test_other_sites_with_a_sentence(self, online: Compute, proxy: EgressProxy, site: Address) -> None:
        proxy.policy = EgressPolicy(allowing(site).rules[:1])
        said = await printed(online, FETCH, "http://elsewhere.test/secret?key=1")
        assert said.startswith("403 refused ")
        assert "elsewhere.test" in said
        assert "secret" not in said

    async def test_tunnels_with_a_sentence_where_clients_tell_nothing_else(
        self, online: Compute, proxy: EgressProxy
    ) -> None:
        proxy.policy = EgressPolicy()
        said = await printed(online, FETCH, "https://elsewhere.test/")
        assert "no way: Tunnel connection failed: 403 CONNECT to elsewhere.test:443 was refused: no rule names" in said
        assert "empla egress allow" in said

    @pytest.mark.parametrize(
        "host",
        [
            *("169.254.169.254", "metadata.google.internal", "10.0.0.1", "192.168.1.1", "172.17.0.1", "100.64.0.1"),
            *("[::1]", "[fd00:ec2::254]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0.0.0.0", "localhost.test"),
        ],
    )
    async def test_addresses_that_are_not_public(self, online: Compute, host: str) -> None:
        assert (await run_python(online, FETCH, f"http://{host}/")).text.startswith("403 refused ")

    async def test_a_redirect_that_leads_inside(self, online: Compute, site: Address) -> None:
        environment = {"NO_PROXY": "", "no_proxy": ""}  # else the program goes there by itself, and finds nobody
        assert (await printed(online, FETCH, site("/inside"), env=environment)).startswith("403 refused ")

    async def test_a_policy_holds_at_once(self, online: Compute, proxy: EgressProxy, site: Address) -> None:
        async with interpreter(online) as session:
            assert await fetch_in(session, site()) == "hello by GET\n"
            proxy.policy = EgressPolicy()
            assert (await session.run(fetching(site()))).error.name == "HTTPError"

    async def test_going_around_the_proxy(self, online: Compute, site: Address) -> None:
        source = """
            import socket, sys
            for host in ("site.test", "127.0.0.1", "::1", "169.254.169.254", "10.0.2.2", "172.17.0.1", "1.1.1.1"):
                try:
                    socket.create_connection((host, int(sys.argv[1])), timeout=2)
                    print("reached", host)
                except OSError:
                    pass
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                datagrams.sendto(b"x", ("1.1.1.1", 53))
                print("sent")
            except OSError as error:
                print(error.strerror)
            print(*(name for _, name in socket.if_nameindex()))
        """
        port = site().rpartition(":")[2].strip("/")
        assert await printed(online, source, port) == "Network is unreachable\nlo\n"


class TestTheListener:
    async def test_nobody_inside_can_take_its_place(self, online: Compute, site: Address) -> None:
        source = """
            import socket
            for address in ("127.0.0.1", "0.0.0.0", ""):
                for option in (0, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                    with socket.socket() as taker:
                        if option:
                            taker.setsockopt(socket.SOL_SOCKET, option, 1)
                        try:
                            taker.bind((address, 3128))
                            taker.listen()
                            print("bound", address, option)
                        except OSError:
                            pass
        """
        assert await printed(online, source + FETCH.replace("\n", "\n            "), site()) == "200 hello by GET\n"

    async def test_nobody_inside_can_look_at_who_made_it(self, online: Compute) -> None:
        ran = await run(online, "ls", "/proc/1/fd")
        assert (ran.text, b"Permission denied" in ran.stderr) == ("", True)

    async def test_without_a_way_out_there_is_none(self, compute: Compute, site: Address) -> None:
        source = "import os; print([name for name in os.environ if 'proxy' in name.lower()])"
        assert await printed(compute, source) == "[]\n"
        assert (await printed(compute, FETCH, site())).startswith("no way:")
        ran = await run_python(compute, "import socket; socket.create_connection(('127.0.0.1', 3128))")
        assert b"ConnectionRefusedError" in ran.stderr


class TestFloods:
    async def test_connections_are_bounded_and_the_neighbours_well(
        self, online: Compute, site: Address, open_descriptors: Callable[[], int]
    ) -> None:
        await run(online, "true")
        before = open_descriptors()
        source = """
            import resource, socket, time
            opened = []
            for _ in range(600):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", 3128))
                opened.append(client)
            print("flooded", flush=True)
            time.sleep(1000)
        """
        exec_id = await start_python(online, source)
        await heard(online, exec_id, b"flooded")
        assert await printed(online, FETCH, site()) == "200 hello by GET\n"  # by a door of its own
        assert open_descriptors() < before + CONNECTIONS + 40
        assert (await online.cancel(exec_id)).end.reason is EndReason.CANCELLED  # type: ignore[union-attr]

    async def test_nothing_of_it_is_left(
        self, online: Compute, site: Address, open_descriptors: Callable[[], int]
    ) -> None:
        async def rounds() -> int:
            for _ in range(5):
                await printed(online, FETCH, site())
                async with interpreter(online) as session:
                    await session.run(fetching(site()))
            await asyncio.sleep(0.5)  # until the warm ones are there again
            return open_descriptors()

        before = await rounds()
        assert await rounds() <= before + 2

    @pytest.fixture
    def open_descriptors(self) -> Callable[[], int]:
        return lambda: len(os.listdir("/proc/self/fd"))


def fetching(address: str) -> str:
    return f"import urllib.request; print(urllib.request.urlopen({address!r}).read().decode())"


async def fetch_in(session: Interpreter, address: str) -> str:
    return (await session.run(fetching(address))).text
