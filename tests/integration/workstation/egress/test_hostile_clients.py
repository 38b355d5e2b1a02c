import asyncio

import pytest

from tests.integration.workstation.egress.conftest import Turns, breaking, get, tunnel
from workstation.egress import EgressLimits

HOST = "Host: site.test:{port}\r\n"
INVALID = {
    "origin form": "GET / HTTP/1.1\r\n" + HOST,
    "asterisk form": "OPTIONS * HTTP/1.1\r\n" + HOST,
    "https in the clear": "GET https://site.test:{port}/ HTTP/1.1\r\n" + HOST,
    "another scheme": "GET ftp://site.test:{port}/ HTTP/1.1\r\n" + HOST,
    "a file": "GET file:///etc/passwd HTTP/1.1\r\n" + HOST,
    "no host at all": "GET http://site.test:{port}/ HTTP/1.1\r\n",
    "an empty host": "GET http://site.test:{port}/ HTTP/1.1\r\nHost:\r\n",
    "two hosts": "GET http://site.test:{port}/ HTTP/1.1\r\n" + HOST + HOST,
    "another host": "GET http://site.test:{port}/ HTTP/1.1\r\nHost: other.test\r\n",
    "another port": "GET http://site.test:{port}/ HTTP/1.1\r\nHost: site.test\r\n",
    "a host with a user": "GET http://site.test:{port}/ HTTP/1.1\r\nHost: a@site.test:{port}\r\n",
    "two hosts in one": "GET http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}, other.test\r\n",
    "credentials": "GET http://me:secret@site.test:{port}/ HTTP/1.1\r\n" + HOST,
    "a fragment": "GET http://site.test:{port}/#a HTTP/1.1\r\n" + HOST,
    "port 0": "GET http://site.test:0/ HTTP/1.1\r\nHost: site.test:0\r\n",
    "port 65536": "GET http://site.test:65536/ HTTP/1.1\r\nHost: site.test:65536\r\n",
    "port of letters": "GET http://site.test:http/ HTTP/1.1\r\nHost: site.test:http\r\n",
    "a backslash": "GET http://site.test:{port}\\@other.test/ HTTP/1.1\r\n" + HOST,
    "a tunnel without a port": "CONNECT site.test HTTP/1.1\r\n" + HOST,
    "a tunnel to a path": "CONNECT site.test:{port}/ HTTP/1.1\r\n" + HOST,
    "a tunnel to a URL": "CONNECT http://site.test:{port}/ HTTP/1.1\r\n" + HOST,
    "a tunnel with another host": "CONNECT site.test:{port} HTTP/1.1\r\nHost: other.test:{port}\r\n",
    "a tunnel with a body": "CONNECT site.test:{port} HTTP/1.1\r\n" + HOST + "Content-Length: 5\r\n",
    "length and coding": "POST http://site.test:{port}/ HTTP/1.1\r\n"
    + HOST
    + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": "POST http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Content-Length: 5\r\nContent-Length: 6\r\n",
    "a list of lengths": "POST http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Content-Length: 5, 6\r\n",
    "a signed length": "POST http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Content-Length: +5\r\n",
    "a negative length": "POST http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Content-Length: -5\r\n",
    "a hexadecimal length": "POST http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Content-Length: 0x5\r\n",
    "an endless length": "POST http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Content-Length: " + "9" * 40 + "\r\n",
    "chunks in HTTP/1.0": "POST http://site.test:{port}/ HTTP/1.0\r\n" + HOST + "Transfer-Encoding: chunked\r\n",
    "another coding": "POST http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Transfer-Encoding: gzip, chunked\r\n",
    "an odd coding": "POST http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Transfer-Encoding: xchunked\r\n",
    "coding twice": "POST http://site.test:{port}/ HTTP/1.1\r\n"
    + HOST
    + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "a space before the colon": "GET http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "Content-Length : 5\r\n",
    "a folded line": "GET http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "X-A: 1\r\n Content-Length: 5\r\n",
    "a folded host": "GET http://site.test:{port}/ HTTP/1.1\r\nHost:\r\n\tsite.test:{port}\r\n",
    "a header without a colon": "GET http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "X-A\r\n",
    "a header without a name": "GET http://site.test:{port}/ HTTP/1.1\r\n" + HOST + ": a\r\n",
    "NUL": "GET http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "X-A: a\0b\r\n",
    "a control character": "GET http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "X-A: a\x01b\r\n",
    "a lone CR": "GET http://site.test:{port}/ HTTP/1.1\r\n" + HOST + "X-A: a\rX-B: b\r\n",
    "NUL in the path": "GET http://site.test:{port}/\0 HTTP/1.1\r\n" + HOST,
    "a space in the path": "GET http://site.test:{port}/a b HTTP/1.1\r\n" + HOST,
    "letters beyond ASCII": "GET http://site.test:{port}/ä HTTP/1.1\r\n" + HOST,
    "no version": "GET http://site.test:{port}/\r\n" + HOST,
    "HTTP/2": "PRI * HTTP/2.0\r\n",
    "a long method": "G" * 33 + " http://site.test:{port}/ HTTP/1.1\r\n" + HOST,
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "SOCKS": "\x05\x01\x00",
    "SSH": "SSH-2.0-OpenSSH\r\n",
}


@pytest.mark.parametrize("what", INVALID)
async def test_what_can_be_read_in_two_ways_is_read_in_none(gate, serve, what: str) -> None:
    site = await serve()
    opened = await gate(site.rule)
    smuggled = "0\r\n\r\n" + get(site.port, "/smuggled").decode()
    answer = await opened.ask((INVALID[what].format(port=site.port) + "\r\n" + smuggled).encode("latin-1"))
    assert answer.split()[1] in (b"400", b"501")
    assert b"X-Empla-Egress: refused" in answer
    assert b"secret" not in answer
    assert not any(b"smuggled" in head for head in site.heads)
    assert site.connections == 0
    assert (await opened.record()).outcome == "refused"


@pytest.mark.parametrize(
    "chunks", [b"x\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"5hello"]
)
async def test_broken_chunks_end_the_request_and_the_connection(gate, serve, chunks: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    site = await serve(handler)
    opened = await gate(site.rule)
    request = get(site.port, "/", "Transfer-Encoding: chunked", method="POST", close=False)
    answer = await opened.ask(request + chunks + b"\r\n" + get(site.port, "/smuggled"))
    assert answer.split()[1] == b"400"
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not any(b"smuggled" in head for head in site.heads)


async def test_a_body_that_is_longer_than_said_is_another_request_and_an_invalid_one(gate, serve) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + await reader.readexactly(5))
        assert await reader.read() == b""

    site = await serve(handler)
    opened = await gate(site.rule)
    answer = await opened.ask(
        get(site.port, "/", "Content-Length: 5", method="POST", close=False) + b"helloGET / HTTP/1.1\r\n\r\n"
    )
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]
    assert site.connections == 1


async def test_a_thousand_requests_at_once_leave_the_loop_its_turns(gate) -> None:
    opened = await gate()
    refused = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
    async with Turns() as turns:
        answers = await opened.ask(refused * 999 + b"GET http://a.test/ HTTP/1.0\r\n\r\n")
    assert answers.count(b"HTTP/1.1 403 ") == 1000
    assert turns.count > 1000


async def test_a_head_that_is_too_large_is_refused(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    for headers in ([f"X-{number}: 1" for number in range(10_000)], ["X-A: " + "a" * (64 << 10)]):
        answer = await opened.ask(get(site.port, "/", *headers))
        assert answer.split()[1] == b"431"
    assert site.connections == 0


async def test_a_head_that_never_ends_is_refused(gate) -> None:
    opened = await gate()
    client = await opened.connect()

    async def flood() -> None:
        await client.send(b"GET http://site.test/ HTTP/1.1\r\n")
        while True:
            await client.send(b"X-A: " + b"a" * 1000 + b"\r\n")

    with pytest.raises(ConnectionError):
        await flood()
    assert (await opened.record()).status == 431


async def test_a_head_that_comes_slowly_is_not_waited_for(gate) -> None:
    opened = await gate(limits=EgressLimits(head_seconds=0.5))
    client = await opened.connect()

    async def drip() -> None:
        while True:
            await client.send(b"X")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    try:
        assert b"HTTP/1.1 408 " in await client.head()
    finally:
        dripping.cancel()
        await asyncio.wait([dripping])
    record = await opened.record()
    assert (record.outcome, record.status) == ("limited", 408)


async def test_a_client_that_says_nothing_is_let_go_without_a_word(gate) -> None:
    opened = await gate(limits=EgressLimits(idle_seconds=0.2))
    client = await opened.connect()
    assert await client.rest() == b""
    assert not opened.records


async def test_a_body_that_never_comes_is_not_waited_for(gate, serve) -> None:
    async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    site = await serve(handler)
    opened = await gate(site.rule, limits=EgressLimits(answer_seconds=0.3))
    assert b"HTTP/1.1 504 " in await opened.ask(get(site.port, "/", "Content-Length: 5", method="POST"))


@pytest.mark.parametrize("body", ["Content-Length: 100001", "Transfer-Encoding: chunked"])
async def test_a_request_that_is_too_long_is_refused(gate, serve, body: str) -> None:
    async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    site = await serve(handler)
    opened = await gate(site.rule, limits=EgressLimits(request_bytes=100_000))
    client = await opened.connect()
    chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
    await client.send(get(site.port, "/", body, method="POST", close=False) + chunk * 11)
    assert (await client.answer())[0] == 413
    assert await client.closed()
    record = await opened.record()
    assert (record.outcome, record.host) == ("limited", "site.test")


async def test_a_client_that_leaves_takes_its_request_along(gate, serve) -> None:
    gone = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()

    site = await serve(handler)
    opened = await gate(site.rule)
    client = await opened.connect()
    await client.send(get(site.port))
    while not site.heads:
        await asyncio.sleep(0.01)
    breaking(client.writer.get_extra_info("socket"))
    client.writer.close()
    await asyncio.wait_for(gone.wait(), 20)
    assert (await opened.record()).reason == "the client went away"


async def test_a_client_that_leaves_while_it_is_refused_harms_nobody(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    for data in (b"G", get(81)[:40], get(81), tunnel("other.test", 443), b"\0" * 100, b""):
        for _ in range(5):
            client = await opened.connect()
            await client.send(data)
            breaking(client.writer.get_extra_info("socket"))
            client.writer.close()
    assert (await opened.ask(get(site.port))).endswith(b"hi")
