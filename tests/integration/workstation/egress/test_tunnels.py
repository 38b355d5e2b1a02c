import asyncio

import aiohttp
import pytest
from aiohttp import web

from tests.integration.workstation.egress.conftest import Client, Gate, breaking, tunnel
from workstation.egress import EgressLimits, EgressPolicy, EgressRule

HELLO = b"\x81\x85\0\0\0\0hello"  # a text frame from a client, masked with zeros
ECHO = b"\x81\x05hello"


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def _tunnel(opened: Gate, port: int, host: str = "site.test") -> Client:
    client = await opened.connect()
    await client.send(tunnel(host, port))
    assert await client.head() == b"HTTP/1.1 200 Connection established\r\n\r\n"
    return client


@pytest.fixture
async def websocket():
    """The port of a server that echoes messages."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        async for message in answer:
            await answer.send_str(message.data)
        return answer

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_a_tunnel_carries_bytes_both_ways_until_both_have_ended(gate, serve) -> None:
    site = await serve(_echo, head=False)
    opened = await gate(site.rule)
    client = await opened.connect()
    await client.send(tunnel("site.test", site.port) + b"early ")  # without waiting for the answer
    await client.head()
    body = bytes(range(256)) * 4000

    async def send() -> None:
        await client.send(body)
        client.writer.write_eof()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        assert await client.rest() == b"early " + body
    record = await opened.record()
    assert (record.method, record.outcome, record.address) == ("CONNECT", "allowed", "127.0.0.1")
    assert (record.bytes_up, record.bytes_down) == (len(body) + 6, len(body) + 6)


async def test_a_server_that_ends_first_still_hears_the_client(gate, serve) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        heard.set_result(await reader.read())

    site = await serve(handler, head=False)
    opened = await gate(site.rule)
    client = await _tunnel(opened, site.port)
    assert await client.rest() == b"bye"
    await client.send(b"I heard")
    client.writer.write_eof()
    assert await heard == b"I heard"


async def test_websockets_pass_through_an_upgrade(gate, websocket: int) -> None:
    opened = await gate(EgressRule("site.test", (websocket,), ("GET", "CONNECT"), private=True))
    proxy = f"http://127.0.0.1:{opened.port}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://site.test:{websocket}/", proxy=proxy) as connection,
    ):
        for text in ("hello", "x" * 200_000):
            await connection.send_str(text)
            assert await connection.receive_str() == text
    record = await opened.record()
    assert (record.method, record.status, record.outcome) == ("GET", 101, "allowed")
    assert record.bytes_up > 200_000


async def test_a_rule_with_methods_allows_no_upgrade_which_would_hide_them(gate, serve) -> None:
    site = await serve()
    opened = await gate(EgressRule("site.test", (site.port,), ("GET",), private=True))
    client = await opened.connect()
    upgrade = f"GET http://site.test:{site.port}/ HTTP/1.1\r\nHost: site.test:{site.port}\r\n"
    await client.send(upgrade.encode() + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    status, body = await client.answer()
    assert (status, b"WebSocket would hide" in body) == (403, True)
    assert not site.connections


async def test_websockets_pass_through_a_tunnel(gate, websocket: int) -> None:
    opened = await gate(EgressRule("site.test", (websocket,), private=True))
    client = await _tunnel(opened, websocket)
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    await client.send(
        b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + key + b"\r\n"
    )
    assert (await client.head()).startswith(b"HTTP/1.1 101 ")
    await client.send(HELLO)
    assert await client.reader.readexactly(len(ECHO)) == ECHO


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", b"502"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b"403"),
    ],
)
async def test_an_upgrade_that_a_server_does_not_take_is_none(gate, serve, answer: bytes, status: bytes) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    site = await serve(handler)
    opened = await gate(site.rule)
    client = await opened.connect()
    upgrade = f"GET http://site.test:{site.port}/ HTTP/1.1\r\nHost: site.test:{site.port}\r\n"
    await client.send(upgrade.encode() + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert (await client.head()).split()[1] == status
    assert b"Upgrade: websocket\r\n" in site.heads[0]


@pytest.mark.parametrize("change", ["gone", "port", "method", "private"])
async def test_tunnels_to_a_host_that_is_no_longer_allowed_are_cut(gate, serve, change: str) -> None:
    site, other = await serve(_echo, head=False), await serve(_echo, head=False)
    kept = EgressRule("other.test", (other.port,), private=True)
    opened = await gate(site.rule, kept, names={"other.test": ["127.0.0.1"]})
    cut, lives = await _tunnel(opened, site.port), await _tunnel(opened, other.port, "other.test")
    rules = {
        "gone": (),
        "port": (EgressRule("site.test", (1,), private=True),),
        "method": (EgressRule("site.test", (site.port,), ("GET",), private=True),),
        "private": (EgressRule("site.test", (site.port,)),),
    }
    opened.proxy.policy = EgressPolicy((kept, *rules[change]))
    assert not await cut.closed()
    assert (await opened.record()).outcome == "refused"
    assert opened.door.refusals[-1].host == "site.test"
    await lives.send(b"still here")
    assert await lives.reader.readexactly(10) == b"still here"


@pytest.mark.parametrize("methods", [None, ("GET",)], ids=["gone", "methods"])
async def test_an_upgraded_connection_is_cut_with_its_rule(
    gate, websocket: int, methods: tuple[str, ...] | None
) -> None:
    opened = await gate(EgressRule("site.test", (websocket,), private=True))
    proxy = f"http://127.0.0.1:{opened.port}"
    async with aiohttp.ClientSession() as session:
        connection = await session.ws_connect(f"http://site.test:{websocket}/", proxy=proxy)
        rules = () if methods is None else (EgressRule("site.test", (websocket,), methods, private=True),)
        opened.proxy.policy = EgressPolicy(rules)
        assert (await connection.receive()).type in (
            aiohttp.WSMsgType.ERROR,
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.CLOSE,
        )
        await connection.close()
    assert (await opened.record()).outcome == "refused"


async def test_a_tunnel_without_traffic_is_cut(gate, serve) -> None:
    site = await serve(_echo, head=False)
    opened = await gate(site.rule, limits=EgressLimits(tunnel_idle_seconds=0.3))
    client = await _tunnel(opened, site.port)
    assert not await client.closed()
    assert (await opened.record()).outcome == "limited"


async def test_a_tunnel_with_traffic_lives_on(gate, serve) -> None:
    site = await serve(_echo, head=False)
    opened = await gate(site.rule, limits=EgressLimits(tunnel_idle_seconds=1))
    client = await _tunnel(opened, site.port)
    for _ in range(6):
        await asyncio.sleep(0.25)
        await client.send(b"x")
        assert await client.reader.readexactly(1) == b"x"


@pytest.mark.parametrize("limit", ["request_bytes", "response_bytes", "door_bytes"])
async def test_a_tunnel_is_cut_at_its_limit_of_bytes(gate, serve, limit: str) -> None:
    site = await serve(_echo, head=False)
    opened = await gate(site.rule, limits=EgressLimits(**{limit: 100_000}))
    client = await _tunnel(opened, site.port)

    async def flood() -> None:
        while True:
            await client.send(b"x" * 10_000)
            await client.reader.readexactly(10_000)

    with pytest.raises(ConnectionError):
        await flood()
    record = await opened.record()
    assert record.outcome == "limited"
    assert record.bytes_up < 300_000


async def test_a_reset_passes_through_a_tunnel(gate, serve) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        breaking(writer.get_extra_info("socket"))

    site = await serve(handler, head=False)
    opened = await gate(site.rule)
    client = await _tunnel(opened, site.port)
    await client.send(b"xy")
    assert not await client.closed()
