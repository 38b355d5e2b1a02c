"""Requests that no honest client sends: each is the client's fault and never an error of ours."""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane import webhook as webhook_module
from tests.conftest import Database
from tests.integration.controlplane.http.site import (
    CHANNEL,
    Site,
    a_message,
    problem_of,
    serving,
    speak,
)


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    """A port that looks at each request anew, however many were wrong before."""
    async with database.connect() as pool, serving(pool, wrong_signatures_per_minute=100_000) as site:
        yield site


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
            assert (await site.get(path, headers=headers)).status in (400, 401, 429)
    assert (await site.get("/", params={"token": query})).status in (401, 429)
