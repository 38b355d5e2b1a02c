"""Channels: where messages come from and where replies go, registered by an operator."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from controlplane import audit
from controlplane.auth import new_secret
from controlplane.egress import Egress, EgressRefused
from controlplane.errors import AlreadyThere, Invalid, Unauthenticated, Unknown
from controlplane.routing import Rule, rules_in
from controlplane.settings import LOOPBACK
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("controlplane", "channels.sql")
MIN_SECRET = 16
OWN = "own"
"""The kind of channel on which employees write to themselves: what is said there leaves nowhere."""
RESERVED = ("api", OWN)
"""The names of channels that every tenant has."""
READ_FROM_TABLE = ("api", OWN)
"""Kinds of channels whose replies are sent nowhere: whoever asked reads them from the table."""
DELETED = "its channel was deleted"
"""Why nothing more comes of a message or a schedule."""
TOLERANCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel. `secret` verifies what comes in; `callback_url` takes the replies."""

    channel_id: UUID
    tenant_id: UUID
    tenant: str
    name: str
    kind: str
    employee_id: UUID | None
    employee: str
    secret: bytes
    callback_url: str
    created_at: datetime
    rules: tuple[Rule, ...]

    @property
    def receive_path(self) -> str:
        """Where the HTTP port takes its messages."""
        return f"/v1/channels/{self.tenant}/{self.name}" if self.kind == "webhook" else ""

    def routed(self, sender: str, conversation: str) -> tuple[UUID, str] | None:
        """Which employee a message goes to, by id and name: by the first rule that fits, else the channel's own, if any."""
        for rule in self.rules:
            if rule.fits(sender, conversation):
                return rule.employee_id, rule.employee
        return None if self.employee_id is None else (self.employee_id, self.employee)


class Channels:
    """The table `channels`."""

    def __init__(self, pool: Pool, egress: Egress | None = None) -> None:
        """`egress` is the rule by which replies are sent, so that no URL is taken which it refuses for good."""
        self._pool, self._egress = pool, egress or Egress(LOOPBACK)

    async def api(self, tenant_id: UUID) -> UUID:
        """The tenant's built-in channel for the gRPC API, made when first asked for."""
        with translated():
            channel_id: UUID = await self._pool.fetchval(SQL.api_channel, new_id(), tenant_id)
        return channel_id

    async def create_webhook(
        self, *, tenant_id: UUID, name: str, employee_id: UUID | None, callback_url: str, secret: str = ""
    ) -> Channel:
        """Register a signed webhook; raises `Invalid` and `AlreadyThere`."""
        if secret and len(secret) < MIN_SECRET:
            raise Invalid("the secret is too short", fields={"secret": f"at least {MIN_SECRET} characters"})
        if name in RESERVED:
            raise Invalid("the name is reserved", fields={"name": f"none of {', '.join(RESERVED)}"})
        self._check_url(callback_url)
        secret = secret or new_secret()
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    values = (tenant_id, employee_id, name, secret.encode(), callback_url or None)
                    await connection.execute(SQL.create_channel, channel_id := new_id(), *values)
                    detail = {"name": name, "kind": "webhook", "callback_url": callback_url}
                    await audit.record(connection, tenant_id, "channel.create", channel_id, detail)
        except asyncpg.UniqueViolationError as error:
            raise AlreadyThere(f"there is a channel {name!r} already") from error
        except asyncpg.CheckViolationError as error:
            raise Invalid("the name does not fit", fields={"name": "a-z, 0-9 and -, 1 to 63 characters"}) from error
        found = await self._one(SQL.channel_by_name_in, tenant_id, name)
        assert found is not None
        return found

    async def webhook(self, tenant: str, name: str) -> Channel:
        """The webhook channel of that tenant and name; raises `Unknown`."""
        found = await self._one(SQL.webhook, tenant, name)
        if found is None:
            raise Unknown(f"there is no channel {tenant}/{name}")
        return found

    async def list_of(self, tenant_id: UUID) -> list[Channel]:
        """Every channel of a tenant on which somebody can write, by name."""
        with translated():
            return [_channel(row) for row in await self._pool.fetch(SQL.channels_of, tenant_id)]

    def _check_url(self, url: str) -> None:
        if not url:
            return
        try:
            self._egress.check_literal(url)
        except EgressRefused as error:
            raise Invalid("the callback URL does not fit", fields={"callback_url": str(error)}) from error

    async def _one(self, statement: str, *arguments: Any) -> Channel | None:
        with translated():
            row = await self._pool.fetchrow(statement, *arguments)
        return None if row is None else _channel(row)


async def own_channel(connection: AnyConnection, tenant_id: UUID) -> UUID:
    """The channel on which the employees of a tenant write to themselves, made when first asked for."""
    # Two tries: one that is made at this moment makes the first insert nothing, and is visible to the second.
    for _ in range(2):
        channel_id: UUID | None = await connection.fetchval(SQL.own_channel, new_id(), tenant_id)
        if channel_id is not None:
            return channel_id
    raise Unknown(f"there is no tenant {tenant_id}")


def _channel(row: Any) -> Channel:
    return Channel(
        row["channel_id"],
        row["tenant_id"],
        row["tenant"],
        row["name"],
        row["kind"],
        row["employee_id"],
        row["employee"] or "",
        row["secret"] or b"",
        row["callback_url"] or "",
        row["created_at"],
        rules_in(row),
    )


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature of a request: `v1=` and the hex HMAC-SHA256 of `<timestamp>.<body>`."""
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(secret: bytes, *, timestamp: str, signature: str, body: bytes, now: float) -> None:
    """Raise `Unauthenticated` unless the signature fits and the timestamp (Unix seconds) is at most 5 minutes off."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Unauthenticated("the timestamp is missing or no number", reason="SIGNATURE_INVALID")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise Unauthenticated("the timestamp is more than 5 minutes off", reason="SIGNATURE_EXPIRED")
    if not hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode()):
        raise Unauthenticated("the signature does not fit", reason="SIGNATURE_INVALID")
