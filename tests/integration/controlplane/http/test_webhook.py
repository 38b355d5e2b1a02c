"""Messages through the signed webhook, over real sockets and a real database."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import pytest

from controlplane import webhook as webhook_module
from controlplane.attempts import PER_MINUTE
from controlplane.routing import Routing
from empla.store.ids import new_id
from tests.factories import add_employee, add_tenant
from tests.integration.controlplane.http.site import (
    MAX_BODY,
    Site,
    a_message,
    problem_of,
    signed,
)


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


async def test_after_too_many_wrong_signatures_an_address_is_told_to_wait_at_that_channel(site: Site) -> None:
    for _ in range(PER_MINUTE):
        assert (await site.deliver(b"{}", headers={})).status == 401
    turned_away = await site.deliver(b"{}", headers={})
    assert (turned_away.status, (await problem_of(turned_away))["reason"]) == (429, "TOO_MANY_WRONG_SIGNATURES")
    assert 0 < int(turned_away.headers["Retry-After"]) <= 60
    assert (await site.deliver(a_message())).status == 202  # as from others behind the same address
    assert (await site.deliver(b"{}", channel="default/any", headers={})).status == 401
    from_elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with (
        aiohttp.ClientSession(connector=from_elsewhere) as elsewhere,
        elsewhere.post(f"{site.url}/v1/channels/default/inbox", data=b"{}") as refused,
    ):
        assert refused.status == 401


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
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"a": ' + b"9" * 400 + b"}}",
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"a": ' + b"[" * 50 + b"]" * 50 + b"}}",
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": ' + b'{"a":' * 50 + b"1" + b"}" * 51,
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"a": "\\ud800"}}',
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"\\ud800": 1}}',
    b'{"event_id": "1", "sender": "a", "text": "b", "metadata": {"\\u0000": 1}}',
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


async def test_the_signature_is_over_what_was_sent(site: Site) -> None:
    body = gzip.compress(json.dumps(a_message()).encode())
    response = await site.deliver(body, headers={**signed(body), "Content-Encoding": "gzip"})
    assert (response.status, (await problem_of(response))["reason"]) == (400, "MALFORMED")


@pytest.mark.parametrize("most", ["MAX_LOOKING", "MAX_READING", "MAX_STORING"])
async def test_more_at_once_than_can_be_held_are_asked_to_come_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    monkeypatch.setattr(webhook_module, most, 0)
    response = await site.deliver(a_message())
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert (await problem_of(response))["reason"] == "BUSY"


@asynccontextmanager
async def trickling(site: Site, channel: str, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many requests whose bodies have begun and do not go on."""
    host, _, port = site.url.removeprefix("http://").rpartition(":")
    connections = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    head = f"POST /v1/channels/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{"
    try:
        for number, (_, writer) in enumerate(connections):
            writer.write(head.encode())
            await writer.drain()
            if number % 100 == 99:  # what has come so far is in hand
                await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)
        yield [reader for reader, _ in connections]
    finally:
        for _, writer in connections:
            writer.transport.abort()


async def test_bodies_for_channels_that_do_not_exist_are_not_waited_for(site: Site) -> None:
    async with trickling(site, "nobody/nothing", 300) as readers, asyncio.timeout(5):
        assert (await site.deliver(a_message())).status == 202
        for reader in readers:
            assert (await reader.readline()).startswith(b"HTTP/1.1 404")


async def test_bodies_that_trickle_into_one_channel_hold_up_no_other(site: Site) -> None:
    async with trickling(site, "default/inbox", webhook_module.MAX_READING):
        response = await site.deliver(a_message())
        assert (response.status, (await problem_of(response))["reason"]) == (503, "BUSY")
        assert (await site.deliver(a_message(employee="sales-ae"), channel="default/any")).status == 202
    async with asyncio.timeout(5):
        while (await site.deliver(a_message())).status != 202:
            await asyncio.sleep(0.05)


async def test_rules_choose_the_employee_before_the_channel_does(site: Site) -> None:
    bo, cy = [await add_employee(site.pool, site.tenant_id, name) for name in ("bo", "cy")]
    channel_ids = {row["name"]: row["channel_id"] for row in await site.pool.fetch("SELECT * FROM channels")}
    routing = Routing(site.pool)

    async def rule(channel: str, employee_id: UUID, position: int, **condition: str) -> UUID:
        made = await routing.create(
            None, channel_ids[channel], employee_id, site.tenant_id, condition=condition, position=position
        )
        return made.rule_id

    async def got(channel: str, status: int = 202, **fields: str) -> UUID | None:
        message = a_message(**fields)
        response = await site.deliver(message, channel=f"default/{channel}")
        assert response.status == status, await response.text()
        found = [row["employee_id"] for row in await site.messages() if row["event_id"] == message["event_id"]]
        return found[0] if found else None

    await rule("inbox", cy, 2, sender="*@acme.com")
    narrow = await rule("inbox", bo, 1, sender="*@acme.com", conversation="vip")
    await rule("any", bo, 1, conversation="vip")
    assert await got("inbox") == site.employee_id
    assert await got("inbox", sender="a@acme.com") == cy
    assert await got("inbox", sender="a@acme.com", conversation="vip") == bo
    assert await got("inbox", sender="a@acme.com", employee="cy") == cy
    assert await got("inbox", 400, sender="a@acme.com", employee="bo") is None
    assert await got("any", conversation="vip") == bo
    assert await got("any", 400) is None
    assert await got("any", employee="cy") == cy

    # The same event again is the same message, whoever would get it by now.
    message = a_message(sender="a@acme.com", conversation="vip")
    first = await (await site.deliver(message)).json()
    await routing.delete(None, narrow)
    again = await site.deliver(message)
    assert (again.status, await again.json()) == (202, {**first, "duplicate": True})
    other = await site.deliver({**message, "text": "something else"})
    assert (other.status, (await problem_of(other))["reason"]) == (409, "IDEMPOTENCY_KEY_REUSED")

    # Nobody else gets what is for an employee who is not there any more.
    await site.pool.execute("UPDATE employees SET deleted_at = now() WHERE employee_id = $1", cy)
    assert await got("inbox", 404, sender="a@acme.com") is None
