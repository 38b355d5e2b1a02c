"""The HTTP port over real sockets and a real database."""

import asyncio
import base64
import gzip
import hashlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane import webhook as webhook_module
from controlplane.auth import Operator, Tokens
from controlplane.channels import Channels, sign
from controlplane.employees import Employees
from controlplane.http import routes, serving_http
from controlplane.receiver import Receiver
from controlplane.statuspage import StatusPage
from controlplane.webhook import Webhook
from empla.store.connect import Pool, connect
from empla.store.embedded import EmbeddedPostgres
from empla.store.ids import new_id
from empla.store.migrate import migrate
from empla.v1 import control_pb2
from tests.conftest import Database
from tests.factories import SECRET, add_channel, add_employee, add_tenant

TOKEN = "a-token-of-this-test"
MAX_BODY = 512 * 1024


@dataclass
class Site:
    """A port that serves, and a client in front of it."""

    pool: Pool
    url: str
    client: aiohttp.ClientSession
    tenant_id: UUID
    employee_id: UUID
    stored: list[tuple[UUID, UUID]]
    overview: control_pb2.Overview = field(default_factory=control_pb2.Overview)
    overview_may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, path: str, **options: Any) -> aiohttp.ClientResponse:
        response = await self.client.get(self.url + path, allow_redirects=False, **options)
        await response.read()
        return response

    async def deliver(
        self, body: bytes | dict[str, Any], *, channel: str = "default/inbox", headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"{self.url}/v1/channels/{channel}"
        response = await self.client.post(path, data=raw, headers=signed(raw) if headers is None else headers)
        await response.read()
        return response

    async def messages(self) -> list[Any]:
        return await self.pool.fetch("SELECT * FROM inbound_messages JOIN message_bodies USING (message_id)")


def signed(body: bytes, *, secret: bytes = SECRET, age: int = 0) -> dict[str, str]:
    timestamp = str(int(time.time()) - age)
    return {"X-Empla-Timestamp": timestamp, "X-Empla-Signature": sign(secret, timestamp, body)}


def a_message(**fields: Any) -> dict[str, Any]:
    return {"event_id": new_id().hex, "sender": "ada@example.com", "text": "Hello", **fields}


async def problem_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    problem: dict[str, Any] = json.loads(await response.read())
    assert problem["status"] == response.status
    assert problem["title"]
    assert re.fullmatch("[A-Z_]+", problem["reason"])
    return problem


@asynccontextmanager
async def serving(pool: Pool, address: str = "127.0.0.1:0") -> AsyncIterator[Site]:
    tenant_id = await add_tenant(pool)
    employee_id = await add_employee(pool, tenant_id)
    await add_channel(pool, tenant_id, employee_id)
    await add_channel(pool, tenant_id, None, "any")
    await add_channel(pool, tenant_id, employee_id, "unsigned", secret=None)
    await Tokens(pool).ensure("tests", TOKEN, "read")
    stored: list[tuple[UUID, UUID]] = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        site = Site(pool, "", client, tenant_id, employee_id, stored)
        site.overview_may_answer.set()

        async def overview(_: Operator) -> control_pb2.Overview:
            await site.overview_may_answer.wait()
            return site.overview

        async with serving_http(
            address,
            pool=pool,
            receiver=Receiver(pool, lambda employee_id, message_id: stored.append((employee_id, message_id))),
            channels=Channels(pool),
            employees=Employees(pool),
            tokens=Tokens(pool),
            overview=overview,
            max_body_bytes=MAX_BODY,
        ) as bound:
            site.url = f"http://{bound}"
            yield site


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with database.connect() as pool, serving(pool) as site:
        yield site


async def test_a_signed_message_is_stored_and_acknowledged(site: Site) -> None:
    message = a_message(text="Grüße ✓", conversation="thread-1", metadata={"auto_submitted": "no", "deep": {"a": [1]}})
    response = await site.deliver(message)
    answer = await response.json()
    assert response.status == 202
    assert (answer["conversation"], answer["duplicate"]) == ("thread-1", False)
    [row] = await site.messages()
    assert (str(row["message_id"]), row["body"], row["sender"]) == (answer["message_id"], "Grüße ✓", "ada@example.com")
    assert row["metadata"]["deep"] == {"a": [1]}
    assert site.stored == [(site.employee_id, row["message_id"])]


async def test_without_a_conversation_a_new_one_begins(site: Site) -> None:
    answers = [await (await site.deliver(a_message())).json() for _ in range(2)]
    assert answers[0]["conversation"]
    assert answers[0]["conversation"] != answers[1]["conversation"]


async def test_deliveries_of_one_event_are_one_message(site: Site) -> None:
    message = a_message()
    responses = await asyncio.gather(*(site.deliver(message) for _ in range(20)))
    answers = [await response.json() for response in responses]
    assert {response.status for response in responses} == {202}
    assert sum(not answer["duplicate"] for answer in answers) == 1
    assert len({(answer["message_id"], answer["conversation"]) for answer in answers}) == 1
    assert (len(await site.messages()), len(site.stored)) == (1, 1)


async def test_an_event_id_is_not_taken_for_another_message(site: Site) -> None:
    message = a_message()
    await site.deliver(message)
    response = await site.deliver({**message, "text": "something else"})
    assert (response.status, (await problem_of(response))["reason"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert len(await site.messages()) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Empla-Timestamp": "1"},
        {"X-Empla-Signature": "v1=" + "0" * 64},
        {"X-Empla-Timestamp": "now", "X-Empla-Signature": "v1="},
        {"X-Empla-Timestamp": "²", "X-Empla-Signature": "ÿ"},
        {"X-Empla-Timestamp": "9" * 5000, "X-Empla-Signature": "v1=" + "0" * 64},
    ],
)
async def test_without_a_signature_nothing_is_taken(site: Site, headers: dict[str, str]) -> None:
    response = await site.deliver(a_message(), headers=headers)
    assert (response.status, response.headers["WWW-Authenticate"]) == (401, 'Empla-Signature realm="empla"')
    assert (await problem_of(response))["reason"].startswith("SIGNATURE_")
    assert not await site.messages()


@pytest.mark.parametrize("age", [-400, 400, 10**9])
async def test_a_stale_signature_is_refused(site: Site, age: int) -> None:
    body = json.dumps(a_message()).encode()
    response = await site.deliver(body, headers=signed(body, age=age))
    assert (response.status, (await problem_of(response))["reason"]) == (401, "SIGNATURE_EXPIRED")


async def test_a_signature_fits_one_body_one_secret_one_time(site: Site) -> None:
    body = json.dumps(a_message()).encode()
    later = {**signed(body), "X-Empla-Timestamp": str(int(time.time()) + 1)}
    for headers in (signed(body + b" "), signed(body, secret=b"another-secret"), signed(body, secret=b""), later):
        assert (await site.deliver(body, headers=headers)).status == 401
    assert not await site.messages()


async def test_the_signature_is_checked_before_the_body_is_read_as_json(site: Site) -> None:
    assert (await site.deliver(b"{", headers={})).status == 401


async def test_a_channel_without_a_secret_takes_nothing(site: Site) -> None:
    body = json.dumps(a_message()).encode()
    response = await site.deliver(body, channel="default/unsigned", headers=signed(body, secret=b""))
    assert response.status == 401


@pytest.mark.parametrize(
    "channel", ["default/nothing", "nobody/inbox", "default/INBOX", "default/%00", "default/a%2Fb", "%ff/x"]
)
async def test_an_unknown_channel_is_not_found(site: Site, channel: str) -> None:
    response = await site.deliver(a_message(), channel=channel)
    assert response.status == 404
    await problem_of(response)


async def test_a_disabled_channel_is_not_found(site: Site) -> None:
    await site.pool.execute("UPDATE channels SET disabled_at = now()")
    assert (await site.deliver(a_message())).status == 404


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"1",
    b"\xff\xfe",
    b'\xef\xbb\xbf{"event_id": "1", "sender": "a", "text": "b"}',
    b'{"event_id": "1", "sender": "a", "text": "\xff"}',
    b'{"event_id": "1", "sender": "a", "text": "\\ud800"}',
    b'{"event_id": "1", "sender": "a", "text": "b\\u0000"}',
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"a": "\\\\\\u0000"}}',
    b'{"event_id": "1", "sender": "a", "text": "b"} {}',
    b'{"event_id": "1", "sender": "a"}',
    b'{"event_id": "1", "text": "b"}',
    b'{"sender": "a", "text": "b"}',
    b'{"event_id": "", "sender": "a", "text": "b"}',
    b'{"event_id": "1", "sender": "a", "text": ""}',
    b'{"event_id": 1, "sender": "a", "text": "b"}',
    b'{"event_id": "1", "sender": null, "text": "b"}',
    b'{"event_id": "1", "sender": "a", "text": ["b"]}',
    b'{"event_id": "1", "sender": "a", "text": "b", "conversation": 5}',
    b'{"event_id": "1", "sender": "a", "text": "b", "employee": {}}',
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": []}',
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"a": NaN}}',
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"a": 1e999}}',
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"a": ' + b"9" * 5000 + b"}}",
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b"[" * 100_000,
    b'{"event_id": "1", "sender": "a", "text": "b", "surprise": 1}',
    b'{"event_id": "%s", "sender": "a", "text": "b"}' % (b"e" * 501),
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_body_is_a_bad_request(site: Site, body: bytes) -> None:
    response = await site.deliver(body)
    assert response.status == 400
    await problem_of(response)
    assert not await site.messages()


async def test_a_problem_names_the_fields_that_are_wrong(site: Site) -> None:
    response = await site.deliver({"event_id": 1, "sender": "a"})
    assert set((await problem_of(response))["fields"]) == {"event_id", "text"}


@pytest.mark.parametrize("name", ["sales-ae", ""])
async def test_a_shared_channel_is_told_the_employee(site: Site, name: str) -> None:
    response = await site.deliver(a_message(employee=name or str(site.employee_id)), channel="default/any")
    assert response.status == 202
    assert [row["employee_id"] for row in await site.messages()] == [site.employee_id]


async def test_an_unknown_employee_is_not_found(site: Site) -> None:
    other = await add_employee(site.pool, await add_tenant(site.pool, "other"), "stranger")
    for name in ("nobody", "stranger", "other/stranger", str(other), str(new_id()), "x" * 10_000, "ü/\ufffd"):
        response = await site.deliver(a_message(employee=name), channel="default/any")
        assert (response.status, (await problem_of(response))["reason"]) == (404, "EMPLOYEE_UNKNOWN")


async def test_a_shared_channel_needs_an_employee(site: Site) -> None:
    response = await site.deliver(a_message(), channel="default/any")
    assert (response.status, (await problem_of(response))["fields"]) == (400, {"employee": "required"})


async def test_a_channel_of_one_employee_takes_no_messages_for_another(site: Site) -> None:
    await add_employee(site.pool, site.tenant_id, "recruiter")
    assert (await site.deliver(a_message(employee="recruiter"))).status == 400
    assert (await site.deliver(a_message(employee="sales-ae"))).status == 202


async def test_a_deleted_employee_is_not_found(site: Site) -> None:
    await site.pool.execute("UPDATE employees SET deleted_at = now()")
    assert (await site.deliver(a_message())).status == 404


async def test_too_large_is_refused_however_it_is_declared(site: Site) -> None:
    large = b" " * (MAX_BODY + 1)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    path = f"{site.url}/v1/channels/default/inbox"
    for data in (large, chunks()):
        async with site.client.post(path, data=data) as response:
            assert (response.status, (await problem_of(response))["reason"]) == (413, "TOO_LARGE")
    assert (await site.deliver(a_message(text="a" * (257 * 1024)))).status == 413
    assert (await site.deliver(a_message(metadata={"a": "b" * (17 * 1024)}))).status == 413
    assert not await site.messages()


async def test_a_body_up_to_the_limit_is_taken(site: Site) -> None:
    body = json.dumps(a_message()).encode()
    assert (await site.deliver(body + b" " * (MAX_BODY - len(body)))).status == 202


async def speak(site: Site, head: str, body: bytes = b"") -> bytes:
    """Send bytes that a client library would not, and read until the server has answered or closed."""
    host, _, port = site.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(0.02)  # for the head to arrive alone
    writer.write(body)
    try:
        return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


CHANNEL = "POST /v1/channels/default/inbox HTTP/1.1\nHost: localhost"


async def test_a_length_that_is_never_reached_does_not_hold_a_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "BODY_SECONDS", 0.2)
    answer = await speak(site, f"{CHANNEL}\nContent-Length: 100", b"{}")
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "head",
    [
        f"{CHANNEL}\nContent-Length: 99999999999999999999",
        f"{CHANNEL}\nContent-Length: -1",
        f"{CHANNEL}\nContent-Length: a",
        f"{CHANNEL}\nContent-Length: 2\nTransfer-Encoding: chunked",
        f"{CHANNEL}\nTransfer-Encoding: chunked",
        f"{CHANNEL}\nContent-Encoding: gzip\nContent-Length: 2",
        f"{CHANNEL}\nExpect: miracles\nContent-Length: 2",
        f"{CHANNEL}\nX: {'a' * 20_000}",
        "POST / HTTP/9.9",
        "GET",
    ],
    ids=range(10),
)
async def test_broken_requests_are_the_clients_fault(site: Site, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "BODY_SECONDS", 0.3)
    answer = await speak(site, head, b"zz\r\n")
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", answer)


@pytest.mark.parametrize(
    "head",
    [
        f"{CHANNEL}\nContent-Length: 4\nX-Empla-Timestamp: {{now}}\nX-Empla-Signature: v1=\xff",
        f"{CHANNEL}\nContent-Length: 4\nX-Empla-Timestamp: \xb2\nX-Empla-Signature: v1=",
        "GET /v1/overview HTTP/1.1\nHost: localhost\nAuthorization: Bearer \xff",
        "GET /v1/overview HTTP/1.1\nHost: localhost\nCookie: empla_token=\xff",
        "GET /?token=%ff HTTP/1.1\nHost: localhost",
    ],
    ids=range(5),
)
async def test_bytes_that_are_no_text_are_no_credential(site: Site, head: str) -> None:
    answer = await speak(site, head.replace("{now}", str(int(time.time()))), b"{  }")
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_the_signature_is_over_what_was_sent(site: Site) -> None:
    body = gzip.compress(json.dumps(a_message()).encode())
    response = await site.deliver(body, headers={**signed(body), "Content-Encoding": "gzip"})
    assert (response.status, (await problem_of(response))["reason"]) == (400, "MALFORMED")


async def test_a_client_that_leaves_is_no_error(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    host, _, port = site.url.removeprefix("http://").rpartition(":")
    for _ in range(5):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(CHANNEL.replace("\n", "\r\n").encode() + b"\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.transport.abort()
    await asyncio.sleep(0.1)
    assert (await site.deliver(a_message())).status == 202
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_more_at_once_than_can_be_held_are_asked_to_come_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "MAX_IN_FLIGHT", 0)
    response = await site.deliver(a_message())
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert (await problem_of(response))["reason"] == "BUSY"


async def test_a_database_that_goes_away_is_503_until_it_is_back(
    short_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedPostgres(short_directory / "home") as server:
        await migrate(server.dsn)
        async with connect(server.dsn, application_name="tests") as pool, serving(pool) as site:
            message = a_message()
            assert (await site.deliver(message)).status == 202
            await asyncio.to_thread(server.stop)
            for response in [await site.deliver(a_message()), await site.get("/readyz")]:
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
                assert (await problem_of(response))["reason"] == "STORE_UNAVAILABLE"
            assert (await site.get("/healthz")).status == 200
            assert (await site.get("/", headers={"Authorization": f"Bearer {TOKEN}"})).status == 503
            said = [r.getMessage() for r in caplog.records if r.name == "controlplane.problems"]
            assert len(said) == 1
            assert "database" in said[0]
            await asyncio.to_thread(server.start)
            assert (await site.get("/readyz")).status == 200
            assert (await (await site.deliver(message)).json())["duplicate"] is True
            assert (await site.deliver(a_message())).status == 202
            assert len(await site.messages()) == 2


async def test_an_unforeseen_error_is_logged_and_says_nothing_of_itself(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(Receiver, "store", broken)
    response = await site.deliver(a_message())
    assert (response.status, (await problem_of(response))["reason"]) == (500, "INTERNAL")
    assert b"secret" not in await response.read()
    assert "a secret detail" in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.dictionaries(
    st.sampled_from(["event_id", "text", "sender", "conversation", "employee", "metadata"]) | st.text(), JSON
)
COMPLETE = st.fixed_dictionaries(
    {"event_id": st.text(), "text": st.text(), "sender": st.text()},
    optional={"conversation": st.text(), "employee": st.text(), "metadata": st.dictionaries(st.text(), JSON)},
)
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | FIELDS.map(lambda value: json.dumps(value).encode())
    | COMPLETE.map(lambda value: json.dumps(value).encode())
    | COMPLETE.map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
)
HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=80)


@given(body=BODIES, channel=st.sampled_from(["default/inbox", "default/any"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_signed_body_is_an_error_of_ours(site: Site, body: bytes, channel: str) -> None:
    response = await site.deliver(body, channel=channel)
    assert response.status in (202, 400, 404, 409, 413)
    if response.status != 202:
        await problem_of(response)


@given(timestamp=HEADER, signature=HEADER, cookie=HEADER, authorization=HEADER, query=st.text(max_size=30))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_header_is_an_error_of_ours(
    site: Site, timestamp: str, signature: str, cookie: str, authorization: str, query: str
) -> None:
    headers = {"X-Empla-Timestamp": timestamp, "X-Empla-Signature": signature, "traceparent": cookie}
    assert (await site.deliver(b"{}", headers=headers)).status in (400, 401)
    for headers in ({"Cookie": cookie}, {"Cookie": f"empla_token={cookie}"}, {"Authorization": authorization}):
        for path in ("/v1/overview", "/"):
            assert (await site.get(path, headers=headers)).status in (400, 401)
    assert (await site.get("/", params={"token": query})).status == 401


async def test_every_route_is_protected_as_it_says(site: Site) -> None:
    served = routes(
        Webhook(
            channels=Channels(site.pool),
            employees=Employees(site.pool),
            receiver=Receiver(site.pool, lambda *_: None),
            max_body_bytes=MAX_BODY,
        ),
        StatusPage(tokens=Tokens(site.pool), overview=lambda _: asyncio.sleep(0, control_pb2.Overview())),
        site.pool,
    )
    assert len({(route.method, route.path) for route in served}) == len(served)
    for route in served:
        path = "/v1/channels/default/inbox" if route.protection == "signature" else route.path
        async with site.client.request(route.method, site.url + path, data=b"") as response:
            assert response.status == (200 if route.protection == "open" else 401), route


async def test_probes_answer(site: Site) -> None:
    assert (await (await site.get("/healthz")).json()) == {"status": "up"}
    assert (await (await site.get("/readyz")).json()) == {"status": "ready"}
    async with site.client.head(f"{site.url}/healthz") as response:
        assert response.status == 200


async def test_a_database_that_does_not_answer_in_time_is_not_ready(site: Site, database: Database) -> None:
    async with (
        database.connect(max_size=1) as narrow,
        narrow.acquire(),
        serving_elsewhere(narrow) as url,
        site.client.get(f"{url}/readyz") as response,
    ):
        assert response.status == 503


@asynccontextmanager
async def serving_elsewhere(pool: Pool, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    async with serving_http(
        address,
        pool=pool,
        receiver=Receiver(pool, lambda *_: None),
        channels=Channels(pool),
        employees=Employees(pool),
        tokens=Tokens(pool),
        overview=lambda _: asyncio.sleep(0, control_pb2.Overview()),
        max_body_bytes=MAX_BODY,
    ) as bound:
        yield f"http://{bound}"


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/channels", "/healthz/", "//", "/../etc/passwd"])
async def test_an_unknown_path_is_a_problem(site: Site, path: str) -> None:
    response = await site.get(path)
    assert response.status == 404
    await problem_of(response)


async def test_another_method_is_a_problem(site: Site) -> None:
    async with site.client.delete(f"{site.url}/healthz") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
        await problem_of(response)


@pytest.mark.parametrize("path", ["/", "/v1/overview", "/healthz", "/nowhere", "/?token=wrong"])
async def test_every_answer_carries_the_security_headers(site: Site, path: str) -> None:
    headers = (await site.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Server"] == "empla"


async def test_the_token_in_the_address_becomes_a_cookie(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    response = await site.get("/", params={"token": TOKEN})
    assert (response.status, response.headers["Location"]) == (303, "/")
    cookie = response.cookies["empla_token"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    page = await site.get("/")
    assert (page.status, page.content_type) == (200, "text/html")
    assert (await site.get("/v1/overview")).status == 200
    assert TOKEN not in caplog.text.replace(f"Set-Cookie: empla_token={TOKEN}", "")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
async def test_a_wrong_header_is_not_helped_by_a_cookie(site: Site, authorization: str) -> None:
    await site.get("/", params={"token": TOKEN})
    response = await site.get("/v1/overview", headers={"Authorization": authorization})
    assert response.status == 401
    await problem_of(response)


async def test_without_a_token_the_page_says_how_to_get_in(site: Site) -> None:
    for path in ("/", "/?token=wrong", "/?token="):
        response = await site.get(path)
        assert (response.status, response.content_type) == (401, "text/html")
        assert "empla up" in await response.text()
        assert "Set-Cookie" not in response.headers


async def test_a_revoked_token_is_refused(site: Site) -> None:
    await site.get("/", params={"token": TOKEN})
    await site.pool.execute("UPDATE operator_tokens SET revoked_at = now()")
    assert (await site.get("/v1/overview")).status == 401
    assert (await site.get("/")).status == 401


async def test_the_overview_is_the_message_as_json(site: Site) -> None:
    site.overview.employees.add(name="sales-ae", epoch=3, observed_state=control_pb2.OBSERVED_STATE_ATTACHED)
    site.overview.last_messages.add(text="<b>hello</b>", state="answered")
    site.overview.latency.count = 2
    response = await site.get("/v1/overview", headers={"Authorization": f"Bearer {TOKEN}"})
    overview = await response.json()
    assert overview["employees"][0]["observed_state"] == "OBSERVED_STATE_ATTACHED"
    assert overview["last_messages"][0]["text"] == "<b>hello</b>"
    assert (overview["latency"]["count"], overview["open_reviews"]) == (2, 0)


async def test_the_page_runs_its_own_script_and_nothing_else(site: Site) -> None:
    response = await site.get("/", headers={"Authorization": f"Bearer {TOKEN}"})
    page, policy = await response.text(), response.headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        [inline] = re.findall(rf"(?s)<{tag}>(.*?)</{tag}>", page)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=|\son\w+=\"|https?://", page
    )


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "", "localhost@evil", "[::2]"],
)
async def test_another_sites_name_reaches_nothing_on_loopback(site: Site, host: str) -> None:
    for path in ("/healthz", "/", "/v1/overview"):
        response = await site.get(path, headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})
        assert (response.status, (await problem_of(response))["reason"]) == (421, "HOST_NOT_LOCAL")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:7401", "[::1]", "[::1]:7401"])
async def test_this_machines_names_are_answered(site: Site, host: str) -> None:
    assert (await site.get("/healthz", headers={"Host": host})).status == 200


async def test_off_loopback_every_name_is_answered(site: Site) -> None:
    async with serving_elsewhere(site.pool, "0.0.0.0:0") as url:
        port = url.rpartition(":")[2]
        async with site.client.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": "empla.example"}) as response:
            assert response.status == 200


async def test_an_address_that_is_taken_says_so(site: Site) -> None:
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:[0-9]+: .*in use"):
        async with serving_elsewhere(site.pool, site.url.removeprefix("http://")):
            pass


@pytest.mark.parametrize("address", ["", "7401", "localhost:", ":7401", "localhost:http", "/run/empla.sock"])
async def test_an_address_that_is_none_says_so(site: Site, address: str) -> None:
    with pytest.raises(OSError, match="not host:port"):
        async with serving_elsewhere(site.pool, address):
            pass


async def test_leaving_lets_a_running_request_finish(database: Database) -> None:
    async with database.connect() as pool, asyncio.TaskGroup() as group:
        async with serving(pool) as site:
            site.overview_may_answer.clear()
            request = group.create_task(site.get("/v1/overview", headers={"Authorization": f"Bearer {TOKEN}"}))
            await asyncio.sleep(0.2)
            asyncio.get_running_loop().call_later(0.3, site.overview_may_answer.set)
            leaving = time.monotonic()
        assert (await request).status == 200
        assert time.monotonic() - leaving < 3
