"""The HTTP port with the real parts behind it, and a client in front."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp

from controlplane.attempts import PER_MINUTE
from controlplane.auth import Operator, Tokens
from controlplane.channels import Channels, sign
from controlplane.clock import DatabaseClock
from controlplane.employees import Employees
from controlplane.gateway import Streams
from controlplane.http import serving_http
from controlplane.lifecycle import Lifecycle
from controlplane.messages import Messages
from controlplane.metrics import Metrics
from controlplane.readiness import Readiness
from controlplane.receiver import Receiver
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.v1 import control_pb2
from tests.factories import SECRET, add_channel, add_employee, add_tenant
from tests.integration.controlplane.quiet import alerts_of, quiet_lifecycle, vitals_of
from tests.integration.controlplane.test_lifecycle import ScriptedLauncher

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
    streams: Streams
    lifecycle: Lifecycle
    readiness: Readiness
    clock: DatabaseClock
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


def metrics_of(pool: Pool, lifecycle: Lifecycle, streams: Streams) -> Metrics:
    vitals = vitals_of(pool, lifecycle, streams)
    return Metrics(pool, Messages(pool), vitals, alerts_of(pool, vitals))


@asynccontextmanager
async def serving(
    pool: Pool, address: str = "127.0.0.1:0", *, wrong_signatures_per_minute: int = PER_MINUTE
) -> AsyncIterator[Site]:
    tenant_id = await add_tenant(pool)
    employee_id = await add_employee(pool, tenant_id)
    await add_channel(pool, tenant_id, employee_id)
    await add_channel(pool, tenant_id, None, "any")
    await add_channel(pool, tenant_id, employee_id, "unsigned", secret=None)
    await Tokens(pool).ensure("tests", TOKEN, "read")
    stored: list[tuple[UUID, UUID]] = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        streams = Streams()
        lifecycle, readiness = quiet_lifecycle(pool, streams), Readiness(pool, ScriptedLauncher())
        clock = DatabaseClock()
        site = Site(pool, "", client, tenant_id, employee_id, stored, streams, lifecycle, readiness, clock)
        site.overview_may_answer.set()

        async def overview(_: Operator) -> control_pb2.Overview:
            await site.overview_may_answer.wait()
            return site.overview

        async with serving_http(
            address,
            readiness=readiness,
            receiver=Receiver(pool, lambda employee_id, message_id: stored.append((employee_id, message_id))),
            channels=Channels(pool),
            employees=Employees(pool),
            tokens=Tokens(pool),
            overview=overview,
            metrics=metrics_of(pool, lifecycle, streams),
            max_body_bytes=MAX_BODY,
            clock=clock,
            wrong_signatures_per_minute=wrong_signatures_per_minute,
        ) as bound:
            site.url = f"http://{bound}"
            yield site


@asynccontextmanager
async def serving_elsewhere(pool: Pool, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    async with serving_http(
        address,
        readiness=Readiness(pool, ScriptedLauncher()),
        receiver=Receiver(pool, lambda *_: None),
        channels=Channels(pool),
        employees=Employees(pool),
        tokens=Tokens(pool),
        overview=lambda _: asyncio.sleep(0, control_pb2.Overview()),
        metrics=metrics_of(pool, quiet_lifecycle(pool, Streams()), Streams()),
        max_body_bytes=MAX_BODY,
        clock=DatabaseClock(),
        insecure=True,
    ) as bound:
        yield f"http://{bound}"


CHANNEL = "POST /v1/channels/default/inbox HTTP/1.1\nHost: localhost"


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
