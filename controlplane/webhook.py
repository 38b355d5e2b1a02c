"""The signed webhook: `POST /v1/channels/{tenant}/{channel}` with a JSON object.

The channel is looked up before the body is read, which is verified before it is parsed, and stored before it is
acknowledged. `X-Empla-Signature` is over the raw body, see `channels.sign`.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from controlplane.attempts import Attempts
from controlplane.channels import Channel, Channels, verify
from controlplane.errors import Invalid, TooLarge, Unauthenticated
from controlplane.receiver import Arrival, Receiver, in_time
from controlplane.shares import Shares, counted
from empla import telemetry

MAX_LOOKING = 256
"""Channels of one name that are looked up at once, and `LOOKED_UP` of them side by side: nobody knows yet who asks."""
LOOKED_UP = 4
MAX_CALLERS = 4_096
"""The same of all names."""
MAX_READING = 64
"""Bodies of one channel that arrive at once; nobody knows yet who sends them."""
MAX_STORING = 256
"""Verified messages of one channel that are stored at once."""
BODY_SECONDS = 10.0
_MAX_FIELDS_NAMED = 10
_MAX_NAME = 100
# An escaped NUL: PostgreSQL can store none. Outside of an escape JSON allows no NUL at all.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Found(Protocol):
    """An employee, as far as a message needs to know it."""

    @property
    def employee_id(self) -> UUID:
        """The employee's id."""
        ...


class FindsEmployees(Protocol):
    """Looks employees up."""

    async def find(self, tenant_id: UUID, reference: str) -> Found:
        """The tenant's live employee of that name or id; raises `Unknown`."""
        ...


class Delivery(BaseModel):
    """The body. `event_id` names the delivery: the same one again is the same message.

    `employee` is needed where the channel has no employee of its own and none of its rules fits. `metadata` is the
    channel's, at most 16 KiB and 16 levels; `auto_submitted` and `from_self` have a meaning to employees, `empla:content`
    and `empla:schedule` are reserved.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    event_id: str
    text: str
    sender: str
    conversation: str = ""
    employee: str = ""
    metadata: dict[str, JsonValue] = {}


class Webhook:
    """Takes messages of webhook channels."""

    def __init__(
        self,
        *,
        channels: Channels,
        employees: FindsEmployees,
        receiver: Receiver,
        attempts: Attempts,
        max_body_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._channels, self._employees, self._receiver = channels, employees, receiver
        self._attempts = attempts
        self._max_body_bytes = max_body_bytes
        self._callers: Counter[None] = Counter()
        self._looking: Counter[tuple[str, str]] = Counter()
        self._lookups = Shares(LOOKED_UP)
        self._reading: Counter[UUID] = Counter()
        self._storing: Counter[UUID] = Counter()

    async def receive(self, request: web.Request) -> web.Response:
        """Store one message and answer 202; raises `Busy` while the channel has too many others in hand.

        Raises `Unauthenticated` without a valid signature, `Exhausted` when the sender's address showed too many that are
        not, and `StoreUnavailable` when the database keeps it waiting.
        """
        async with in_time():
            channel = await self._channel(request.match_info["tenant"], request.match_info["channel"])
        with counted(self._reading, channel.channel_id, MAX_READING):
            body = await _read(request, self._max_body_bytes)
        try:
            _verify(channel, request, body, self._clock())
        except Unauthenticated as error:
            raise self._attempts.refusal(error, at=f"the channel {channel.tenant}/{channel.name}") from error
        delivery = _parse(body)
        with counted(self._storing, channel.channel_id, MAX_STORING):
            async with in_time():
                return await self._store(request, channel, delivery)

    async def _channel(self, tenant: str, name: str) -> Channel:
        key = (tenant, name)
        with counted(self._callers, None, MAX_CALLERS), counted(self._looking, key, MAX_LOOKING):
            async with self._lookups.of(key):
                return await self._channels.webhook(tenant, name)

    async def _store(self, request: web.Request, channel: Channel, delivery: Delivery) -> web.Response:
        arrival = await self._arrival(channel, delivery)
        with telemetry.span("webhook", request.headers.get("traceparent", ""), channel=channel.name):
            stored = await self._receiver.store(arrival)
        answer = {
            "message_id": str(stored.message_id),
            "conversation": stored.conversation,
            "duplicate": stored.duplicate,
        }
        return web.json_response(answer, status=202)

    async def _arrival(self, channel: Channel, delivery: Delivery) -> Arrival:
        return Arrival(
            tenant_id=channel.tenant_id,
            channel_id=channel.channel_id,
            employee_id=await self._employee(channel, delivery),
            routed=not delivery.employee,
            event_id=delivery.event_id,
            sender=delivery.sender,
            text=delivery.text,
            conversation=delivery.conversation,
            metadata=delivery.metadata,
        )

    async def _employee(self, channel: Channel, delivery: Delivery) -> UUID:
        reference = delivery.employee
        routed = channel.routed(delivery.sender, delivery.conversation)
        if routed is None:
            if not reference:
                raise Invalid("the channel has no employee of its own", fields={"employee": "required"})
            async with self._lookups.of(channel.channel_id):
                return (await self._employees.find(channel.tenant_id, reference)).employee_id
        employee_id, name = routed
        if reference and reference not in (name, str(employee_id)):
            raise Invalid("the channel belongs to another employee", fields={"employee": "not this channel's"})
        return employee_id


async def _read(request: web.Request, limit: int) -> bytes:
    """The raw body; whatever length is declared, no more than `limit` bytes of it are kept."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        raise Invalid(f"the body did not arrive within {BODY_SECONDS:.0f} s", reason="BODY_TOO_SLOW") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Invalid("the body broke off or is badly encoded", reason="BODY_BROKEN") from error
    return bytes(body)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over {limit} bytes")


def _verify(channel: Channel, request: web.Request, body: bytes, now: float) -> None:
    if not channel.secret:  # an empty key is one that everybody knows
        raise Unauthenticated("the channel has no secret", reason="SIGNATURE_INVALID")
    signature = request.headers.get("X-Empla-Signature", "")
    verify(
        channel.secret,
        timestamp=request.headers.get("X-Empla-Timestamp", ""),
        signature=signature if signature.isascii() else "",  # other bytes have no encoding and fit no signature
        body=body,
        now=now,
    )


def _parse(body: bytes) -> Delivery:
    try:
        delivery = Delivery.model_validate_json(body)
    except ValidationError as error:
        raise _malformed(error) from error
    if _NUL.search(body):
        raise Invalid("the body holds a NUL character", reason="MALFORMED")
    return delivery


def _malformed(error: ValidationError) -> Invalid:
    found = error.errors(include_url=False, include_context=False, include_input=False)[:_MAX_FIELDS_NAMED]
    fields = {".".join(map(str, one["loc"]))[:_MAX_NAME] or "body": one["msg"] for one in found}
    detail = "; ".join(f"{name}: {why}" for name, why in fields.items())
    return Invalid(f"the body does not fit: {detail}", reason="MALFORMED", fields=fields)
