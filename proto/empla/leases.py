"""The token of a sidecar is its lease: who may use which sidecar, and until when.

Each sidecar has a key of its own, which it and whoever launched it know and nobody else. A token is signed with it, so a
sidecar can tell by itself who calls, and no list of tokens is kept. All refusals are `LeaseRefused`::

    LeaseRefused
    ├── TokenInvalid     UNAUTHENTICATED    not of this form, or not signed with this sidecar's key
    ├── TokenExpired     UNAUTHENTICATED    it was good once
    └── TokenOfAnother   PERMISSION_DENIED  it names another sidecar or another employee
"""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

import grpc

from empla.rpc import StatusError

KEY_BYTES = 32
_TOKEN = re.compile(
    r"(?P<signed>(?P<sidecar>[0-9a-f]{32})\.(?P<employee>[0-9a-f]{32})\.(?P<expiry>[1-9][0-9]{0,15}))\.(?P<mac>[0-9a-f]{64})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Lease:
    """One employee's right to one sidecar; `expires_at` is in seconds since 1970."""

    sidecar_id: UUID
    employee_id: UUID
    expires_at: float


class LeaseRefused(StatusError):
    """The token is not one that lets its bearer in."""

    status: ClassVar[grpc.StatusCode]
    why: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(self.status, self.why, message)


class TokenInvalid(LeaseRefused):
    """It has not the form of a token, or this sidecar's key did not sign it."""

    status, why = grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"


class TokenExpired(LeaseRefused):
    """Its time is over; a renewal gives another."""

    status, why = grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED"


class TokenOfAnother(LeaseRefused):
    """It names another sidecar, or another employee than the one this sidecar is for."""

    status, why = grpc.StatusCode.PERMISSION_DENIED, "TOKEN_OF_ANOTHER"


def new_key() -> bytes:
    """A key for one sidecar."""
    return secrets.token_bytes(KEY_BYTES)


def mint(key: bytes, lease: Lease) -> str:
    """The token of a lease, to the millisecond."""
    signed = f"{lease.sidecar_id.hex}.{lease.employee_id.hex}.{round(lease.expires_at * 1000)}"
    return f"{signed}.{_mac(key, signed)}"


def verify(key: bytes, token: str, *, sidecar_id: UUID, employee_id: UUID, now: float | None = None) -> Lease:
    """The lease that a token is for this sidecar of this employee; raises `LeaseRefused`.

    How long that takes says nothing about the key: what is compared before the signature stands in the token itself.
    """
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise TokenInvalid("this is no token of a sidecar")
    lease = Lease(UUID(found["sidecar"]), UUID(found["employee"]), int(found["expiry"]) / 1000)
    if lease.sidecar_id != sidecar_id:
        raise TokenOfAnother("the token is for another sidecar")
    if lease.employee_id != employee_id:
        raise TokenOfAnother("the token is another employee's")
    if not hmac.compare_digest(_mac(key, found["signed"]), found["mac"]):
        raise TokenInvalid("the token is not signed for this sidecar")
    if lease.expires_at <= (time.time() if now is None else now):
        raise TokenExpired("the lease has run out; renew it, or acquire another sidecar")
    return lease


def _mac(key: bytes, signed: str) -> str:
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
