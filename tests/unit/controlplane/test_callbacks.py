"""Against servers on loopback that misbehave byte by byte."""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from controlplane.callbacks import Ambiguous, Blocked, CallbackError, Callbacks, NotSent, Receipt, Rejected
from controlplane.channels import verify
from empla.store.ids import new_id

SECRET = b"a-secret-of-this-test"
LOOPBACK = ("127.0.0.0/8",)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: r-1\r\nSet-Cookie: a=b\r\nX-Other: no\r\n\r\nok"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A server that keeps what it was sent and answers with prepared bytes, or by a function."""

    port: int = 0
    answer: bytes | Answer = OK
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/reply"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {name.lower(): value for name, value in re.findall(r"(?m)^([\w-]+): (.*?)\r$", head)}
            self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            else:
                await self.answer(writer)
        writer.close()


class Names(AbstractResolver):
    """Answers each question with the next of the prepared answers, the last one for ever."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers, self.asked = list(answers), 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0) for one in answer
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def listening(address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Peer]:
    peer = Peer()
    async with await asyncio.start_server(peer.serve, address, port) as server:
        peer.port = server.sockets[0].getsockname()[1]
        yield peer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with listening() as peer:
        yield peer


@pytest.fixture
async def callbacks() -> AsyncIterator[Callbacks]:
    async with Callbacks(LOOPBACK, connect_seconds=0.5, total_seconds=1.0) as callbacks:
        yield callbacks


async def send(callbacks: Callbacks, url: str) -> Receipt:
    return await callbacks.post(url, SECRET, new_id(), {"text": "Hello"})


def answering(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Some Reason", "Content-Length: 0", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_the_reply_arrives_signed_and_named(callbacks: Callbacks, peer: Peer) -> None:
    outbox_id, payload = new_id(), {"text": "Grüße \ud800 ✓", "nested": {"n": [1, None]}}
    before = datetime.now(UTC)
    receipt = await callbacks.post(peer.url, SECRET, outbox_id, payload)
    [(headers, body)] = peer.requests
    verify(
        SECRET,
        timestamp=headers["x-empla-timestamp"],
        signature=headers["x-empla-signature"],
        body=body,
        now=time.time(),
    )
    assert headers["idempotency-key"] == str(outbox_id)
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == payload
    assert (receipt.status, receipt.headers) == (200, {"X-Request-Id": "r-1"})
    assert before <= receipt.attempted_at <= datetime.now(UTC)
    assert json.loads(json.dumps(receipt.as_json()))["status"] == 200


async def test_nothing_is_kept_between_replies(callbacks: Callbacks, peer: Peer) -> None:
    await send(callbacks, peer.url)
    await send(callbacks, peer.url)
    assert "cookie" not in peer.requests[1][0]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_a_success_is_a_receipt(callbacks: Callbacks, peer: Peer, status: int) -> None:
    peer.answer = answering(status)
    assert (await send(callbacks, peer.url)).status == status


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 405, 409, 410, 413, 418, 422, 451, 499])
async def test_a_refusal_is_final(callbacks: Callbacks, peer: Peer, status: int) -> None:
    peer.answer = answering(status)
    with pytest.raises(Rejected) as refusal:
        await send(callbacks, peer.url)
    assert refusal.value.status == status


@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 520, 599])
async def test_an_error_of_the_other_side_says_nothing_about_the_reply(
    callbacks: Callbacks, peer: Peer, status: int
) -> None:
    peer.answer = answering(status)
    with pytest.raises(Ambiguous):
        await send(callbacks, peer.url)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "", None),
        (429, "Retry-After: 7", 7),
        (503, "Retry-After: 0", 0),
        (503, "Retry-After: 99999999999999", 86_400),
        (429, "Retry-After: soon", None),
        (429, f"Retry-After: Mon, 01 Jan 2024 00:00:00 +{'9' * 20}", None),
        (429, "Retry-After: -5", None),
        (429, f"Retry-After: {format_datetime(datetime(1999, 1, 1, tzinfo=UTC), usegmt=True)}", 0),
    ],
)
async def test_later_is_not_sent(
    callbacks: Callbacks, peer: Peer, status: int, header: str, seconds: float | None
) -> None:
    peer.answer = answering(status, *filter(None, [header]))
    with pytest.raises(NotSent) as refusal:
        await send(callbacks, peer.url)
    assert refusal.value.retry_after == seconds


async def test_retry_after_may_be_a_date(callbacks: Callbacks, peer: Peer) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    peer.answer = answering(503, f"Retry-After: {format_datetime(moment, usegmt=True)}")
    with pytest.raises(NotSent) as refusal:
        await send(callbacks, peer.url)
    assert refusal.value.retry_after == pytest.approx(100, abs=5)


async def test_a_redirect_is_not_followed(callbacks: Callbacks, peer: Peer) -> None:
    async with listening() as other:
        for status in (301, 302, 303, 307, 308):
            peer.answer = answering(status, f"Location: {other.url}")
            with pytest.raises(Rejected):
                await send(callbacks, peer.url)
        assert not other.requests
    assert len(peer.requests) == 5


async def nothing(_: asyncio.StreamWriter) -> None:
    """Close without an answer."""


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def silence(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(1.5)  # longer than any deadline here


@pytest.mark.parametrize(
    "answer",
    [
        nothing,
        reset,
        silence,
        b"HTTP/1.1 200 OK\r\nContent-",
        b"not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
    ],
    ids=["closed", "reset", "silent", "half an answer", "no HTTP", "endless header"],
)
async def test_no_answer_after_sending_is_ambiguous(callbacks: Callbacks, peer: Peer, answer: bytes | Answer) -> None:
    peer.answer = answer
    with pytest.raises(Ambiguous):
        await send(callbacks, peer.url)
    assert len(peer.requests) == 1


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"a" * 65536)
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    await silence(writer)


@pytest.mark.parametrize("answer", [endless, drip, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut"])
async def test_the_status_decides_whatever_follows(callbacks: Callbacks, peer: Peer, answer: bytes | Answer) -> None:
    peer.answer = answer
    async with asyncio.timeout(3):
        assert (await send(callbacks, peer.url)).status == 200


async def test_without_a_connection_nothing_was_sent(callbacks: Callbacks) -> None:
    async with listening() as gone:
        url = gone.url
    with pytest.raises(NotSent) as refusal:
        await send(callbacks, url)
    assert refusal.value.retry_after is None


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), TimeoutError(), OSError("broken")])
async def test_without_an_address_nothing_was_sent(error: Exception) -> None:
    async with Callbacks(resolver=Names(error)) as callbacks:
        with pytest.raises(NotSent):
            await send(callbacks, "http://example.com/reply")


async def test_a_failed_tls_handshake_sends_nothing(callbacks: Callbacks, peer: Peer) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"this is no TLS")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        with pytest.raises(NotSent):
            await send(callbacks, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


async def test_a_server_that_is_slow_to_shake_hands_gets_nothing() -> None:
    greetings: list[bytes] = []

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greetings.append(await reader.read(4096))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(stall, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Callbacks(LOOPBACK, resolver=Names(["127.0.0.1"]), connect_seconds=0.3) as callbacks:
            with pytest.raises(NotSent):
                await send(callbacks, f"https://replies.example.com:{port}/")
    assert b"replies.example.com" in greetings[0]  # the TLS name is the URL's, whatever address was checked


async def test_proxies_of_the_environment_are_not_used(
    callbacks: Callbacks, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await send(callbacks, peer.url)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fe80::1%25lo]",
        "169.254.169.254",
        "10.0.0.1",
        "user@127.0.0.1",
        f"{'a' * 64}.example.com",
    ],
)
async def test_without_leave_nothing_inside_is_reached(peer: Peer, host: str) -> None:
    async with Callbacks() as callbacks:
        with pytest.raises(Blocked):
            await send(callbacks, f"http://{host}:{peer.port}/")
    assert not peer.requests


@pytest.mark.parametrize("url", ["", "ftp://example.com/", "unix:///run/a.sock", "http://example.com:0x50/"])
async def test_other_kinds_of_addresses_are_blocked(callbacks: Callbacks, url: str) -> None:
    with pytest.raises(Blocked):
        await send(callbacks, url)


async def test_one_refused_address_refuses_the_name(peer: Peer) -> None:
    async with Callbacks(["127.0.0.1/32"], resolver=Names(["127.0.0.1", "169.254.169.254"])) as callbacks:
        with pytest.raises(Blocked):
            await send(callbacks, f"http://replies.example.com:{peer.port}/")
    assert not peer.requests


async def test_a_name_that_changes_its_address_is_checked_each_time() -> None:
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    async with listening("127.0.0.2") as allowed, listening("127.0.0.1", allowed.port) as inside:
        async with Callbacks(["127.0.0.2/32"], resolver=names) as callbacks:
            url = f"http://replies.example.com:{allowed.port}/"
            assert (await send(callbacks, url)).status == 200
            assert names.asked == 1  # what was checked is what was connected to
            with pytest.raises(Blocked):
                await send(callbacks, url)
        assert allowed.requests[0][0]["host"] == f"replies.example.com:{allowed.port}"
        assert (len(allowed.requests), len(inside.requests)) == (1, 0)


async def test_many_at_once_do_not_mix(peer: Peer) -> None:
    ids = [new_id() for _ in range(50)]
    patient = Callbacks(LOOPBACK, connect_seconds=60, total_seconds=60)
    async with patient as callbacks, asyncio.TaskGroup() as sending:
        for outbox_id in ids:
            sending.create_task(callbacks.post(peer.url, SECRET, outbox_id, {"id": str(outbox_id)}))
    assert {headers["idempotency-key"] for headers, _ in peer.requests} == {str(one) for one in ids}
    assert all(json.loads(body)["id"] == headers["idempotency-key"] for headers, body in peer.requests)


def test_every_error_is_of_one_tree() -> None:
    assert set(CallbackError.__subclasses__()) == {NotSent, Ambiguous, Rejected, Blocked}
