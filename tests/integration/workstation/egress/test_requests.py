import asyncio
import socket
from pathlib import Path

import pytest

from tests.integration.workstation.egress.conftest import get
from workstation.egress import EgressLimits, EgressPolicy, EgressProxy, EgressRule


async def test_a_request_reaches_its_server_and_the_answer_comes_back(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    answer = await opened.ask(get(site.port, "/a/%2e/b?c=d&e"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhi")
    assert site.heads[0].startswith(f"GET /a/%2e/b?c=d&e HTTP/1.1\r\nHost: site.test:{site.port}\r\n".encode())


async def test_an_address_without_a_path_asks_for_the_root(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    for path, method, line in (("", "GET", b"GET / "), ("?a", "GET", b"GET /?a "), ("", "OPTIONS", b"OPTIONS * ")):
        await opened.ask(get(site.port, path, method=method))
        assert site.heads.pop().startswith(line)


async def test_headers_about_the_connection_stay_on_it(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Proxy-Authenticate: Basic\r\nX-Empla-Egress: refused\r\nTrailer: X-T\r\nX-Kept: 2\r\n\r\nhi"
        )

    site = await serve(handler)
    opened = await gate(site.rule)
    hop = [
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic c2VjcmV0",
        "TE: trailers",
        "Upgrade: h2c",
        "X-Mine: 1",
    ]
    request = get(site.port, "/", *hop, "Connection: X-Mine, Host, Content-Length, Upgrade", "X-Kept: 3", "Cookie: a=b")
    answer = await opened.ask(request)
    sent, given = site.heads[0].lower(), answer.lower()
    for name in (b"proxy-", b"te:", b"upgrade", b"x-mine", b"keep-alive", b"secret"):
        assert name not in sent
    assert b"x-kept: 3\r\n" in sent
    assert b"cookie: a=b\r\n" in sent
    assert sent.count(b"host: ") == 1
    for name in (b"x-hop", b"keep-alive", b"proxy-", b"x-empla-egress", b"trailer"):
        assert name not in given
    assert b"x-kept: 2\r\n" in given


async def test_one_connection_serves_one_request_after_another(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    client = await opened.connect()
    for number in range(5):
        await client.send(get(site.port, f"/{number}", close=False))
        assert await client.answer() == (200, b"hi")
    await client.send(b"GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n")
    assert (await client.answer())[0] == 403
    await client.send(get(site.port, "/after"))
    assert await client.answer() == (200, b"hi")
    assert await client.closed()
    assert site.connections == 6


async def test_pipelined_requests_are_answered_in_turn(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    refused = b"GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n"
    answer = await opened.ask(get(site.port, "/1", close=False) + refused + get(site.port, "/2"))
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"403", b"200"]
    assert [head.split()[1] for head in site.heads] == [b"/1", b"/2"]


@pytest.mark.parametrize("chunked", [True, False])
async def test_bodies_pass_in_both_directions(gate, serve, chunked: bool) -> None:
    body = bytes(range(256)) * 4000

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if chunked:
            got = b""
            while size := int(await reader.readuntil(b"\r\n"), 16):
                got += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            got = await reader.readexactly(len(body))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(got), 50_000):
            piece = got[at : at + 50_000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\nX-Trailer: 1\r\n\r\n")

    site = await serve(handler)
    opened = await gate(site.rule)
    if chunked:
        sent = get(site.port, "/", "Transfer-Encoding: chunked", method="POST") + b"%x\r\n%b\r\n0\r\n\r\n" % (
            len(body),
            body,
        )
    else:
        sent = get(site.port, "/", f"Content-Length: {len(body)}", method="POST") + body
    head, _, answer = (await opened.ask(sent)).partition(b"\r\n\r\n")
    got = b""
    while size := int(answer.partition(b"\r\n")[0], 16):
        answer = answer.partition(b"\r\n")[2]
        got, answer = got + answer[:size], answer[size + 2 :]
    assert b"transfer-encoding: chunked" in head.lower()
    assert got == body
    record = await opened.record("allowed")
    assert (record.bytes_up, record.bytes_down) == (len(body), len(body))


async def test_an_answer_that_ends_with_its_connection_is_passed_on_whole(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    site = await serve(handler)
    opened = await gate(site.rule)
    answer = await opened.ask(get(site.port))
    assert b"d\r\nuntil the end\r\n0\r\n\r\n" in answer
    old = f"GET http://site.test:{site.port}/ HTTP/1.0\r\n\r\n".encode()
    answer = await opened.ask(old)
    assert answer.endswith(b"\r\n\r\nuntil the end")


async def test_an_answer_that_goes_on_is_waited_for(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.25)
            writer.write(b"x")
            await writer.drain()

    site = await serve(handler)
    opened = await gate(site.rule, limits=EgressLimits(idle_seconds=1))
    assert (await opened.ask(get(site.port))).endswith(b"xxxxxx")


async def test_answers_without_a_body_keep_their_headers(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 304 Not Modified\r\nETag: a\r\nContent-Length: 999\r\n\r\n")

    site, head_site = await serve(handler), await serve()
    opened = await gate(
        site.rule, EgressRule("head.test", (head_site.port,), private=True), names={"head.test": ["127.0.0.1"]}
    )
    answer = await opened.ask(get(site.port))
    assert answer.startswith(b"HTTP/1.1 304")
    assert b"etag: a\r\n" in answer.lower()
    answer = await opened.ask(get(head_site.port, method="HEAD").replace(b"site.test", b"head.test"))
    assert b"content-length: 2\r\n" in answer.lower()
    assert answer.endswith(b"\r\n\r\n")
    answer = await opened.ask(get(head_site.port, method="HEAD"))  # refused, also without a body
    assert answer.startswith(b"HTTP/1.1 403")
    assert answer.endswith(b"\r\n\r\n")


async def test_a_client_that_waits_for_100_continue_is_told_to_go_on(gate, serve) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        writer.write(await reader.readexactly(4))

    site = await serve(handler)
    opened = await gate(site.rule)
    client = await opened.connect()
    await client.send(get(site.port, "/", "Expect: 100-continue", "Content-Length: 4", method="PUT"))
    assert (await client.head()).startswith(b"HTTP/1.1 100 ")
    await client.send(b"body")
    assert await client.answer() == (200, b"body")
    assert b"expect" not in site.heads[0].lower()


async def test_a_server_may_answer_before_it_has_all_of_the_request(gate, serve) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    site = await serve(handler)
    opened = await gate(site.rule)
    client = await opened.connect()
    await client.send(get(site.port, "/", "Content-Length: 1000000", method="POST", close=False) + b"x" * 1000)
    assert (await client.answer())[0] == 413
    await client.closed()


async def test_names_are_looked_up_by_the_system(serve) -> None:
    site = await serve()
    listener = socket.create_server(("127.0.0.1", 0))
    async with EgressProxy(EgressPolicy((EgressRule("localhost", (site.port,), private=True),))) as proxy:
        proxy.open_door(listener, client="tests")
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(get(site.port).replace(b"site.test", b"localhost"))
        assert (await reader.read()).endswith(b"hi")
        writer.close()
        await writer.wait_closed()


async def test_ipv6_servers_are_reached_by_name_and_by_address(gate, serve) -> None:
    site = await serve(host="::1")
    literal = EgressRule("::1", (site.port,), private=True)
    opened = await gate(site.rule, literal, names={"site.test": ["::1"]})
    assert (await opened.ask(get(site.port))).endswith(b"hi")
    request = f"GET http://[::1]:{site.port}/ HTTP/1.1\r\nHost: [0::1]:{site.port}\r\nConnection: close\r\n\r\n"
    assert (await opened.ask(request.encode())).endswith(b"hi")
    assert b"Host: [::1]:%d\r\n" % site.port in site.heads[1]


async def test_an_address_that_does_not_answer_is_followed_by_the_next(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule, names={"site.test": ["127.9.9.9", "::1", "127.0.0.1"]})
    assert (await opened.ask(get(site.port))).endswith(b"hi")
    assert (await opened.record()).address == "127.0.0.1"


async def test_a_door_may_be_a_unix_socket(gate, serve, short_directory: Path) -> None:
    site = await serve()
    opened = await gate(site.rule)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(short_directory / "door"))
    listener.listen()
    async with opened.proxy.open_door(listener, client="unix") as door:
        reader, writer = await asyncio.open_unix_connection(short_directory / "door")
        writer.write(get(site.port))
        assert (await reader.read()).endswith(b"hi")
        writer.close()
        await writer.wait_closed()
        assert door.requests == 1
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(short_directory / "door")
    assert (await opened.ask(get(site.port))).endswith(b"hi")  # the other door is open still
