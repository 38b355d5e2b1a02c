import asyncio
import socket

import pytest

from tests.integration.workstation.egress.conftest import OK, Client, Turns, breaking, get
from workstation.egress import EgressLimits, EgressRule

NEVER = EgressLimits(answer_seconds=0.4, idle_seconds=0.4)


def says(*answers: bytes, then: asyncio.Event | None = None):
    """A handler that sends these bytes, and then ends or waits."""

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            writer.write(answer)
            await writer.drain()
        if then is not None:
            await then.wait()

    return handler


@pytest.mark.parametrize(
    "answer",
    {
        "nothing": b"",
        "half a head": b"HTTP/1.1 200 OK\r\nContent-",
        "no HTTP": b"220 smtp.example ESMTP\r\n",
        "HTTP/0.9": b"<html></html>\r\n\r\n",
        "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),
        "a broken status": b"HTTP/1.1 2x0 OK\r\n\r\n",
        "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
        "NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "a switch that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "a proxy's question": b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        "ten thousand lines": b"HTTP/1.1 200 OK\r\n" + b"X-Line: 1\r\n" * 10_000 + b"\r\n",
        "a long line": b"HTTP/1.1 200 OK\r\nX-Line: " + b"a" * (65 << 10) + b"\r\n\r\n",
        "provisional answers without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000 + OK,
    }.items(),
    ids=lambda named: named[0],
)
async def test_an_answer_that_is_none_is_502(gate, serve, answer: tuple[str, bytes]) -> None:
    site = await serve(says(answer[1]))
    opened = await gate(site.rule)
    got = await opened.ask(get(site.port))
    assert got.startswith(b"HTTP/1.1 502 ")
    assert b"X-Empla-Egress: failed" in got
    assert (await opened.record()).outcome == "failed"


async def test_a_head_without_end_is_502(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: and more\r\n" * 100)
            await writer.drain()

    site = await serve(handler)
    opened = await gate(site.rule)
    assert (await opened.ask(get(site.port))).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("drip", [b"X", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["bytes", "provisional answers"])
async def test_an_answer_that_comes_drop_by_drop_is_not_waited_for(gate, serve, drip: bytes) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n")
        if len(drip) > 1:
            writer.write(b"\r\n")
        while True:
            writer.write(drip)
            await writer.drain()
            await asyncio.sleep(0.1)

    site = await serve(handler)
    opened = await gate(site.rule, limits=NEVER)
    assert (await opened.ask(get(site.port))).startswith(b"HTTP/1.1 504 ")


async def test_a_server_that_never_answers_is_504(gate, serve) -> None:
    site = await serve(says(then=asyncio.Event()))
    opened = await gate(site.rule, limits=NEVER)
    assert (await opened.ask(get(site.port))).startswith(b"HTTP/1.1 504 ")
    assert (await opened.record()).outcome == "failed"


async def test_a_server_that_accepts_no_connection_is_504(gate) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        full_port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", full_port))
        try:
            opened = await gate(
                EgressRule("site.test", (full_port,), private=True), limits=EgressLimits(connect_seconds=0.3)
            )
            assert (await opened.ask(get(full_port))).startswith(b"HTTP/1.1 504 ")
        finally:
            for filler in fillers:
                filler.close()


async def test_a_resolver_that_never_answers_is_504(gate) -> None:
    async def never(_name: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    opened = await gate(EgressRule("site.test"), limits=EgressLimits(connect_seconds=0.2), resolve=never)
    assert (await opened.ask(b"GET http://site.test/ HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 504 ")


async def _broken_off(client: Client) -> bytes:
    """What a client has of an answer that breaks off; fails if it could take it for a whole one."""
    got = bytearray()
    try:
        while data := await client.reader.read(1 << 16):
            got += data
    except ConnectionResetError:
        return bytes(got)
    raise AssertionError("the answer has an end")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nwhat\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfwhat",
    ],
)
@pytest.mark.parametrize("waits", [True, False], ids=["goes silent", "ends"])
async def test_an_answer_that_breaks_off_breaks_off_for_the_client(gate, serve, answer: bytes, waits: bool) -> None:
    site = await serve(says(answer, then=asyncio.Event() if waits else None))
    opened = await gate(site.rule, limits=NEVER)
    client = await opened.connect()
    await client.send(get(site.port))
    assert b"200 OK" in await client.head()
    assert not (await _broken_off(client)).endswith(b"0\r\n\r\n")
    assert (await opened.record()).outcome in ("failed", "limited")


async def test_an_answer_that_is_reset_breaks_off_for_the_client(gate, serve) -> None:
    reset = asyncio.Event()

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await writer.drain()
        await reset.wait()
        breaking(writer.get_extra_info("socket"))

    site = await serve(handler)
    opened = await gate(site.rule)
    client = await opened.connect()
    await client.send(get(site.port).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b"200 OK" in await client.head()
    assert await client.reader.readexactly(4) == b"half"
    reset.set()
    await _broken_off(client)
    assert (await opened.record()).outcome == "failed"


async def test_a_body_without_end_is_cut_at_the_limit(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()

    site = await serve(handler)
    opened = await gate(site.rule, limits=EgressLimits(response_bytes=1_000_000))
    client = await opened.connect()
    await client.send(get(site.port))
    assert len(await _broken_off(client)) < 1_200_000
    record = await opened.record()
    assert (record.outcome, record.status) == ("limited", 200)


async def test_an_answer_that_says_it_is_too_long_is_not_begun(gate, serve) -> None:
    site = await serve(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n"))
    opened = await gate(site.rule, limits=EgressLimits(response_bytes=1_000_000))
    answer = await opened.ask(get(site.port))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"X-Empla-Egress: limited" in answer


async def test_chunks_of_one_byte_pass_and_leave_the_loop_its_turns(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")

    site = await serve(handler)
    opened = await gate(site.rule)
    async with Turns() as turns:
        answer = await opened.ask(get(site.port))
    assert answer.endswith(b"1\r\nx\r\n0\r\n\r\n")
    assert turns.count > 200


async def test_a_request_as_a_whole_has_an_end(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    site = await serve(handler)
    opened = await gate(site.rule, limits=EgressLimits(total_seconds=0.6))
    client = await opened.connect()
    await client.send(get(site.port))
    await _broken_off(client)
    record = await opened.record()
    assert (record.outcome, record.reason) == ("limited", "it was not done after 0.6 seconds")
