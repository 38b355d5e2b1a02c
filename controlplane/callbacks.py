"""Posting replies to the callback URLs of channels.

What can go wrong says what is known of the reply::

    CallbackError
    ├── NotSent      surely not taken: no connection, or the other side said "later"; may be sent again
    ├── Ambiguous    perhaps taken: no answer after sending began, or an error that says nothing; a person decides
    ├── Rejected     taken and refused, or redirected: sending the same again changes nothing
    └── Blocked      the address is one that callbacks may not reach; nothing was sent
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from controlplane.channels import sign
from controlplane.egress import Egress, EgressRefused

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
MAX_RESPONSE_BYTES = 64 * 1024
MAX_RETRY_AFTER = 86_400.0
_DRAIN_SECONDS = 1.0
_KEPT_HEADERS = ("Date", "Content-Type", "Request-Id", "X-Request-Id")
_MAX_HEADER = 200


class CallbackError(Exception):
    """The reply did not surely arrive."""


class NotSent(CallbackError):
    """The reply was surely not taken; `retry_after` is in seconds, None when the other side named no time."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Ambiguous(CallbackError):
    """The reply may have been taken: reconcile, never simply send it again."""


class Rejected(CallbackError):
    """The other side refused the reply with `status`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Blocked(CallbackError):
    """The egress rule forbids the address."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the other side answered: a status from 200 to 299, some of its headers, and when it was asked."""

    status: int
    headers: Mapping[str, str]
    attempted_at: datetime
    elapsed_ms: float

    def as_json(self) -> dict[str, Any]:
        """As the outbox row keeps it."""
        return {
            "status": self.status,
            "headers": dict(self.headers),
            "attempted_at": self.attempted_at.isoformat(),
            "elapsed_ms": self.elapsed_ms,
        }


class Callbacks:
    """Posts replies; an async context manager that holds the one HTTP session.

    `allowed_networks` are those that callbacks may reach although they are not public. Times are in seconds. Proxies of
    the environment are not used: they would connect where we have not looked.
    """

    def __init__(
        self,
        allowed_networks: Iterable[str] = (),
        *,
        resolver: AbstractResolver | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._egress, self._resolver = Egress(allowed_networks), resolver
        self._timeout = aiohttp.ClientTimeout(total=total_seconds, connect=connect_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=self._egress.connector(self._resolver),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "empla", "Content-Type": "application/json"},
            auto_decompress=False,  # the body is discarded: a small one must not become a large one first
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, secret: bytes | None, outbox_id: UUID, payload: dict[str, Any]) -> Receipt:
        """Send `payload` as JSON, signed as a webhook is unless there is no `secret`, once; raises `CallbackError`.

        `Idempotency-Key` is the outbox id, by which the other side can tell a repetition. A caller that is cancelled
        in here must take the outcome for ambiguous.
        """
        assert self._session is not None, "enter the context first"
        body = json.dumps(payload, allow_nan=False).encode()
        attempted_at, started = datetime.now(UTC), time.monotonic()
        with _translated():
            target = self._egress.check_url(url)
            status, headers = await self._exchange(
                self._session, target, _headers(secret, outbox_id, body, self._clock()), body
            )
        _check(status, headers)
        kept = {name: headers[name][:_MAX_HEADER] for name in _KEPT_HEADERS if name in headers}
        return Receipt(status, kept, attempted_at, round((time.monotonic() - started) * 1000, 3))

    @staticmethod
    async def _exchange(
        session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str]]:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            # The status has decided; the body is read only so that the other side sees its answer taken.
            with suppress(aiohttp.ClientError, OSError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await response.content.read(MAX_RESPONSE_BYTES)
            return response.status, response.headers


def _headers(secret: bytes | None, outbox_id: UUID, body: bytes, now: float) -> dict[str, str]:
    key = {"Idempotency-Key": str(outbox_id)}
    if secret is None:
        return key
    timestamp = str(int(now))
    return {"X-Empla-Timestamp": timestamp, "X-Empla-Signature": sign(secret, timestamp, body), **key}


@contextmanager
def _translated() -> Iterator[None]:
    """The one place where the client's errors become ours."""
    try:
        yield
    except (EgressRefused, aiohttp.InvalidURL) as error:
        raise Blocked(str(error)) from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        # Name, connection and TLS come before the first byte of the request.
        raise NotSent(f"no connection: {error}") from error
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        raise Ambiguous(f"no answer after sending began: {error or type(error).__name__}") from error


def _check(status: int, headers: Mapping[str, str]) -> None:
    if 200 <= status < 300:
        return
    retry_after = _retry_after(headers.get("Retry-After", ""))
    if status == 429 or (status == 503 and retry_after is not None):
        raise NotSent(f"the callback answered {status}", retry_after=retry_after)
    if status >= 500 or status == 408:
        raise Ambiguous(f"the callback answered {status}")
    raise Rejected(f"the callback answered {status}", status)


def _retry_after(value: str) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3), at most a day; None when there is none that makes sense."""
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - time.time()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
