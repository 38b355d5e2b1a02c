"""A proxy with one door, servers behind it that do as a test says, and clients that send what a test says."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Self

import pytest

from workstation.egress import Door, EgressLimits, EgressPolicy, EgressProxy, EgressRule

type Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def get(port: int, path: str = "/", *headers: str, method: str = "GET", close: bool = True) -> bytes:
    """A request to `site.test`, as a proxy is asked."""
    lines = [f"{method} http://site.test:{port}{path} HTTP/1.1", f"Host: site.test:{port}", *headers]
    return "\r\n".join([*lines, *(["Connection: close"] if close else []), "", ""]).encode()


def breaking(sock: socket.socket) -> None:
    """Let the end of a connection be a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def tunnel(host: str, port: int) -> bytes:
    """A request for a tunnel."""
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()


class Turns:
    """Counts the turns that the event loop has for others while the block runs."""

    count = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._take())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _take(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


@dataclass
class Site:
    """A server on loopback; `heads` are the heads of the requests that it got, `bodies` what came with them."""

    port: int
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def rule(self) -> EgressRule:
        """Allows it, under the name that the tests know it by."""
        return EgressRule("site.test", (self.port,), private=True)


@dataclass
class Client:
    """A connection to the door."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of an answer with a length."""
        head = await self.head()
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        return int(head.split()[1]), await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """What comes until the connection ends; raises ConnectionResetError when it breaks."""
        return await self.reader.read()

    async def closed(self) -> bool:
        """Wait for the end, and say whether it came cleanly."""
        try:
            await self.rest()
        except ConnectionResetError:
            return False
        return True


@dataclass
class Gate:
    """The proxy, its door and the way in."""

    proxy: EgressProxy
    door: Door
    connect: Callable[[], Awaitable[Client]]
    records: list[logging.LogRecord]
    names: dict[str, Sequence[str]]
    port: int = 0

    async def ask(self, data: bytes) -> bytes:
        """All that comes back for these bytes, which are to end the connection."""
        client = await self.connect()
        await client.send(data)
        return await client.rest()

    async def lines(self, count: int) -> list[logging.LogRecord]:
        """The access log, as soon as it has so many lines."""
        async with asyncio.timeout(20):
            while len(self.records) < count:
                await asyncio.sleep(0.01)
        return self.records

    async def record(self, outcome: str = "") -> logging.LogRecord:
        """The first line of the access log with this outcome, as soon as it is there."""
        async with asyncio.timeout(20):
            while not (
                found := [record for record in self.records if outcome in ("", getattr(record, "outcome", None))]
            ):
                await asyncio.sleep(0.01)
        return found[0]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Start a server that hands each connection, its first head read, to a handler; ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler | None = None, *, host: str = "127.0.0.1", head: bool = True) -> Site:
            site = Site(0)
            writers: set[asyncio.StreamWriter] = set()

            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                site.connections += 1
                writers.add(writer)
                try:
                    if head:
                        site.heads.append(await reader.readuntil(b"\r\n\r\n"))
                    if handler is None:
                        writer.write(OK)
                    else:
                        await handler(reader, writer)
                    await writer.drain()
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass  # the proxy was done with it
                finally:
                    writers.discard(writer)
                    writer.close()

            server = await asyncio.start_server(accept, host, 0, backlog=512)
            stack.push_async_callback(_stop, server, writers)
            site.port = server.sockets[0].getsockname()[1]
            return site

        yield start


async def _stop(server: asyncio.Server, writers: set[asyncio.StreamWriter]) -> None:
    server.close()
    for writer in writers:
        writer.transport.abort()
    await server.wait_closed()


@pytest.fixture
async def gate(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Callable[..., Awaitable[Gate]]]:
    """Open a proxy with these rules; `site.test` is this machine, `names` says more, others are looked up for real."""
    async with AsyncExitStack() as stack:

        async def start(
            *rules: EgressRule,
            limits: EgressLimits | None = None,
            names: dict[str, Sequence[str]] | None = None,
            resolve: Callable[[str], Awaitable[Sequence[str]]] | None = None,
        ) -> Gate:
            known = {"site.test": ["127.0.0.1"]} | (names or {})

            async def look_up(name: str) -> Sequence[str]:
                if name not in known:
                    raise socket.gaierror(socket.EAI_NONAME, "no such name")
                return known[name]

            caplog.set_level(logging.INFO, "workstation.egress")
            proxy = EgressProxy(EgressPolicy(rules), limits=limits or EgressLimits(), resolve=resolve or look_up)
            await stack.enter_async_context(proxy)
            listener = socket.create_server(("127.0.0.1", 0), backlog=512)
            port = listener.getsockname()[1]

            async def connect() -> Client:
                client = Client(*await asyncio.open_connection("127.0.0.1", port))
                stack.push_async_callback(_leave, client)
                return client

            return Gate(proxy, proxy.open_door(listener, client="tests"), connect, caplog.records, known, port)

        yield start
        faults = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert not faults


async def _leave(client: Client) -> None:
    client.writer.close()
    with suppress(ConnectionError):  # cut by the proxy
        await client.writer.wait_closed()
