"""What the control plane refuses, and how a refusal crosses the wire.

All are `ControlError`; the gRPC code and the HTTP status stand with each::

    ControlError
    ├── Unknown              NOT_FOUND            404   no such employee, message, channel …
    ├── AlreadyThere         ALREADY_EXISTS       409   the name is in use
    ├── Invalid              INVALID_ARGUMENT     400   `fields` says which and why
    ├── TooLarge             RESOURCE_EXHAUSTED   413   over a limit that the message names
    ├── Exhausted            RESOURCE_EXHAUSTED   429   all that may be had is in use; `retry_after` says when to ask again
    ├── Conflict             ABORTED              409   the same key with other content
    ├── NotNow               FAILED_PRECONDITION  409   the thing is in the wrong state
    ├── Unauthenticated      UNAUTHENTICATED      401   no token or signature, or a wrong one
    ├── Forbidden            PERMISSION_DENIED    403   the token's scope or tenant does not allow it
    ├── Busy                 UNAVAILABLE          503   too much at once: try again
    ├── Away                 UNAVAILABLE          503   the control plane that could do it does not answer
    └── LaunchFailed         UNAVAILABLE          503   an employee's or a sidecar's process cannot be started
        └── NotLeading       UNAVAILABLE          503   another control plane does that, or none does yet
"""

from collections.abc import Mapping
from typing import ClassVar

import grpc

from empla.rpc import StatusError
from empla.store.errors import StoreUnavailable

STORE_RETRY_SECONDS = 1.0


class ControlError(Exception):
    """The control plane refuses; `reason` is stable for programs, the message is for people."""

    code: ClassVar[grpc.StatusCode]
    http_status: ClassVar[int]
    reason: str = "REFUSED"

    def __init__(self, message: str, *, reason: str = "", fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.reason
        self.fields = dict(fields or {})


class Unknown(ControlError):
    """There is no such thing, or not for this caller."""

    code, http_status, reason = grpc.StatusCode.NOT_FOUND, 404, "UNKNOWN"


class AlreadyThere(ControlError):
    """The name is in use."""

    code, http_status, reason = grpc.StatusCode.ALREADY_EXISTS, 409, "ALREADY_EXISTS"


class Invalid(ControlError):
    """The request is malformed; `fields` says where."""

    code, http_status, reason = grpc.StatusCode.INVALID_ARGUMENT, 400, "INVALID"


class TooLarge(ControlError):
    """The content is over a limit."""

    code, http_status, reason = grpc.StatusCode.RESOURCE_EXHAUSTED, 413, "TOO_LARGE"


class Exhausted(ControlError):
    """As much as is allowed is in use; `retry_after` is in seconds."""

    code, http_status, reason = grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "EXHAUSTED"

    def __init__(self, message: str, *, reason: str, retry_after: float) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Conflict(ControlError):
    """The same key came with other content."""

    code, http_status, reason = grpc.StatusCode.ABORTED, 409, "IDEMPOTENCY_KEY_REUSED"


class NotNow(ControlError):
    """The thing is not in a state that allows this."""

    code, http_status, reason = grpc.StatusCode.FAILED_PRECONDITION, 409, "WRONG_STATE"


class Unauthenticated(ControlError):
    """No token or signature, or one that is wrong, expired or revoked."""

    code, http_status, reason = grpc.StatusCode.UNAUTHENTICATED, 401, "UNAUTHENTICATED"


class Forbidden(ControlError):
    """The caller is known and not allowed to do this."""

    code, http_status, reason = grpc.StatusCode.PERMISSION_DENIED, 403, "FORBIDDEN"


class Busy(ControlError):
    """There is too much of this in hand already; the same request may succeed later."""

    code, http_status, reason = grpc.StatusCode.UNAVAILABLE, 503, "BUSY"


class Away(ControlError):
    """Another control plane could do it, and does not answer; the same request may succeed soon."""

    code, http_status, reason = grpc.StatusCode.UNAVAILABLE, 503, "CONTROL_PLANE_AWAY"


class LaunchFailed(ControlError):
    """An employee's or a sidecar's process cannot be started, or not be ended."""

    code, http_status, reason = grpc.StatusCode.UNAVAILABLE, 503, "LAUNCH_FAILED"


class NotLeading(LaunchFailed):
    """Only the control plane that leads does this, and this one does not."""

    reason = "NOT_LEADING"


class AnotherHome(ControlError):
    """A control plane with another home uses the same database; each would start what the other one has."""

    code, http_status, reason = grpc.StatusCode.FAILED_PRECONDITION, 409, "ANOTHER_HOME"


def to_status(error: Exception) -> StatusError | None:
    """The one place where this package's errors become statuses; None for an error that nobody foresaw."""
    if isinstance(error, ControlError):
        retry_after = error.retry_after if isinstance(error, Exhausted) else None
        return StatusError(error.code, error.reason, str(error), fields=error.fields, retry_after=retry_after)
    if isinstance(error, StoreUnavailable):
        return StatusError(
            grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", str(error), retry_after=STORE_RETRY_SECONDS
        )
    return None
