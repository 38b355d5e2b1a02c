"""Sites on loopback for browsers: pages that a test writes, servers that misbehave, and one that nobody may reach."""

import asyncio
import itertools
import socket
import ssl
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from yarl import URL

from tests.conformance.misbehaviour import MISBEHAVIOUR, Handler
from workstation.egress import EgressPolicy, EgressRule

type Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

NAMES = ("site.test", "other.test", "third.test", "bait.test", "localhost")
"""Names that lead to the sites, and that a browser may reach."""

_paths = itertools.count(1)


@dataclass(frozen=True)
class Asked:
    """A request that a site was asked."""

    method: str
    headers: dict[str, str]
    body: bytes


class Site:
    """A server whose pages a test writes; each has an address of its own."""

    def __init__(self, scheme: str) -> None:
        self.scheme, self.port = scheme, 0
        self.asked: dict[str, list[Asked]] = defaultdict(list)
        """What was asked for each path, with its query."""
        self._answers: dict[str, Answer] = {}

    def url(self, path: str, host: str = "site.test") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def serve(self, answer: Answer, *, path: str = "", host: str = "site.test") -> str:
        """Answer requests for a new path as a test says; gives its address."""
        path = path or f"/{next(_paths)}"
        self._answers[path] = answer
        return self.url(path, host)

    def show(
        self, body: str | bytes, *, path: str = "", host: str = "site.test", status: int = 200, **headers: str
    ) -> str:
        """Serve this document, as HTML unless `content_type` says otherwise; gives its address."""
        given = {"Content-Type": "text/html; charset=utf-8"} | {
            name.replace("_", "-").title(): value for name, value in headers.items()
        }
        data = body.encode() if isinstance(body, str) else body

        async def answer(request: web.Request) -> web.Response:
            del request
            return web.Response(body=data, status=status, headers=given)

        return self.serve(answer, path=path, host=host)

    def redirect(self, to: str, status: int = 302, *, host: str = "site.test") -> str:
        """An address that sends on to another."""
        return self.show("", status=status, host=host, location=to)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        self.asked[request.path_qs].append(Asked(request.method, dict(request.headers), await request.read()))
        found = self._answers.get(request.path)
        return web.Response(status=404, text="nothing here") if found is None else await found(request)

    def requests(self, url: str) -> list[Asked]:
        """What was asked for an address."""
        return self.asked[URL(url).path_qs]


class Names:
    """A resolver that knows the tests' names only, and remembers who was looked for."""

    def __init__(self) -> None:
        self.lookups: list[str] = []
        self.answers: dict[str, Callable[[], Sequence[str]]] = {name: lambda: ("127.0.0.1",) for name in NAMES}

    async def __call__(self, name: str) -> Sequence[str]:
        self.lookups.append(name)
        if name not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self.answers[name]()


class Victim(asyncio.DatagramProtocol):
    """Something internal on both loopback addresses, TCP and UDP: whatever reaches it is remembered."""

    def __init__(self) -> None:
        self.port = 0
        self.hits: list[str] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits.append("a connection")
        line = await reader.readline()
        self.hits.append(line.decode(errors="replace"))
        writer.write(b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 12\r\n\r\nthe internal")
        writer.close()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.hits.append("a datagram")


@dataclass
class Sites:
    """All that there is to browse; `bad` are the addresses of servers that misbehave, by what they do."""

    names: Names = field(default_factory=Names)
    http: Site = field(default_factory=lambda: Site("http"))
    https: Site = field(default_factory=lambda: Site("https"))
    victim: Victim = field(default_factory=Victim)
    bad: dict[str, str] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)

    @property
    def policy(self) -> EgressPolicy:
        """Allows them, and nothing else."""
        return EgressPolicy(tuple(EgressRule(name, tuple(self.ports), private=True) for name in NAMES))


@asynccontextmanager
async def open_sites(directory: Path) -> AsyncIterator[Sites]:
    """Serve them all; `directory` keeps a certificate."""
    sites = Sites()
    async with AsyncExitStack() as stack:
        for site, context in ((sites.http, None), (sites.https, _unknown_authority(directory))):
            site.port = await _serve(stack, site, context)
            sites.ports.append(site.port)
        for name, handler in MISBEHAVIOUR.items():
            port = await _listen(stack, handler)
            sites.ports.append(port)
            sites.bad[name] = f"http://site.test:{port}/"
        await _open_victim(stack, sites.victim)
        yield sites


async def _serve(stack: AsyncExitStack, site: Site, context: ssl.SSLContext | None) -> int:
    application = web.Application(client_max_size=64 << 20)
    application.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=512).start()
    return int(runner.addresses[0][1])


async def _listen(stack: AsyncExitStack, handler: Handler, host: str = "127.0.0.1", port: int = 0) -> int:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the browser, or the proxy for it, was done
        finally:
            writer.close()

    server = await asyncio.start_server(accept, host, port)
    stack.push_async_callback(_stop, server)
    return int(server.sockets[0].getsockname()[1])


async def _stop(server: asyncio.Server) -> None:
    server.close()
    server.close_clients()
    await server.wait_closed()


async def _open_victim(stack: AsyncExitStack, victim: Victim) -> None:
    victim.port = await _listen(stack, victim.accept)
    with suppress(OSError):  # a machine without IPv6
        await _listen(stack, victim.accept, host="::1", port=victim.port)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: victim, local_addr=("127.0.0.1", victim.port)
    )
    stack.callback(transport.close)


def _unknown_authority(directory: Path) -> ssl.SSLContext:
    """TLS with a certificate that nobody vouches for."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=site.test", "-addext", "subjectAltName=DNS:site.test"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
