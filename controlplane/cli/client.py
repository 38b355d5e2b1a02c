"""Calls to a running control plane, each with a token and a deadline, and errors that say what to do."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_origin

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pydantic import ValidationError
from pydantic_settings import SettingsError

from controlplane.cli.errors import Failure, InvalidInput, NotFound, NotPermitted, Unreachable
from controlplane.cli.target import Target, chosen_target
from controlplane.settings import Settings
from empla import rpc
from empla.v1 import control_pb2_grpc

DEADLINE = 30.0
"""Seconds for a call that names no other deadline."""

UNREACHABLE = "UNREACHABLE"
"""The reason of a call that was made and got no answer."""

_NO_CONNECTION = "failed to connect to all addresses"
_LOOPBACK = ("127.", "localhost", "[::1]", "unix:")
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", rpc.MAX_FRAME_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


def load_settings() -> Settings:
    """Read the environment; raises `InvalidInput` that names the variables which cannot be read."""
    try:
        return Settings()
    except ValidationError as error:
        names = {_variable(item["loc"]): _complaint(item["loc"], item["msg"]) for item in reversed(error.errors())}
        broken = "; ".join(f"{name}: {why}" for name, why in names.items())
        raise InvalidInput(f"the environment is not valid: {broken}", fields=names) from error
    except SettingsError as error:  # a list or a table that is not written as JSON
        field = re.search(r'field "(\w+)"', str(error))
        name = _variable((field[1],)) if field else "a variable"
        wanted = 'must be a list in JSON, such as ["a", "b"]'
        if field and get_origin(Settings.model_fields[field[1]].annotation) is dict:
            wanted = 'must be an object in JSON, such as {"a": {"b": 1}}'
        raise InvalidInput(f"the environment is not valid: {name}: {wanted}") from error


def _complaint(place: Sequence[int | str], message: str) -> str:
    """What is wrong, and where in the variable's JSON."""
    inside = " → ".join(f"{step}" for step in place[1:])
    return f"{inside}: {message}" if inside else message.removeprefix("Value error, ")


def _variable(place: Sequence[int | str]) -> str:
    """The environment variable of the setting at `place`; those of other programs have their whole name there."""
    name = str(place[0]).upper() if place else ""
    return name if name.startswith(("ANTHROPIC_", "OPENAI_", "OTEL_", "XDG_")) else f"EMPLA_{name}"


@contextmanager
def connected(target: Target | None = None) -> Iterator[control_pb2_grpc.ControlPlaneStub]:
    """A stub whose calls carry the token and a deadline; gRPC's errors leave the block as a `Failure`.

    Without `target` it is the control plane that the command line and the environment choose.
    """
    target = target or chosen_target(load_settings())
    with _channel(target) as channel:
        try:
            yield control_pb2_grpc.ControlPlaneStub(grpc.intercept_channel(channel, _Outgoing(target.token)))
        except grpc.RpcError as error:
            raise failure_of(error, target) from error


def _channel(target: Target) -> grpc.Channel:
    """A channel there; raises `Failure` when what TLS needs cannot be read."""
    try:
        credentials = target.transport.credentials()
    except OSError as error:
        raise Failure(f"a file that TLS needs cannot be read: {error}{target.said}") from error
    options = [*_options(target.address), *target.transport.options]
    if credentials is not None:
        return grpc.secure_channel(target.address, credentials, options=options)
    return grpc.insecure_channel(target.address, options=options)


def _options(address: str) -> list[tuple[str, Any]]:
    # gRPC sends even loopback through http_proxy, where the environment sets it.
    return [*_OPTIONS, ("grpc.enable_http_proxy", int(not address.startswith(_LOOPBACK)))]


class _Outgoing(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    """Adds the token, the trace and, where the caller names none, the deadline."""

    def __init__(self, token: str) -> None:
        self._token = token

    def _intercept(self, continuation: Any, details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), *rpc.outgoing_metadata(self._token)]
        timeout = DEADLINE if details.timeout is None else details.timeout
        return continuation(details._replace(metadata=metadata, timeout=timeout), request)

    intercept_unary_unary: Any = _intercept
    intercept_unary_stream: Any = _intercept
    intercept_stream_unary: Any = _intercept


_KINDS = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.OUT_OF_RANGE: InvalidInput,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: NotPermitted,
    grpc.StatusCode.PERMISSION_DENIED: NotPermitted,
}
_HINTS = {
    grpc.StatusCode.PERMISSION_DENIED: "use a token with a higher scope or of the right tenant",
    grpc.StatusCode.UNIMPLEMENTED: "the control plane is of another version than this command, or does not serve it yet",
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time; it may still take effect, so look before you repeat it",
    grpc.StatusCode.INTERNAL: "the control plane's log says more",
}


_REASON_HINTS = {
    "EMPLOYEE_UNKNOWN": "`empla employee list` shows who there is",
    "ALREADY_EXISTS": "choose another name",
    "DIRECTORY_NOT_EMPTY": "-r removes it with all that it holds",
    "VERSION_CONFLICT": "--new replaces nothing",
}
_FIELD_HINTS = {
    "message_id": "`empla message list` shows their ids",
    "review_id": "`empla reviews list` shows their ids",
    "rule_id": "`empla routing list CHANNEL` shows their ids",
    "token_id": "`empla tokens list` shows their ids",
}


def failure_of(error: grpc.RpcError, target: Target) -> Failure:
    """What `error` means for who typed the command: one line, the exit code, the details for programs."""
    assert isinstance(error, grpc.Call)
    code, reason = error.code(), rpc.reason_of(error)
    if code is grpc.StatusCode.UNAVAILABLE and not reason:
        details = error.details() or ""
        if "handshake failed" in details:
            return Failure(
                f"{target.address}{target.said} is not trusted, or does not trust: {details}; {target.trust_hint}",
                reason="TLS_FAILED",
            )
        hint = target.way_out
        if details.startswith(_NO_CONNECTION) and "Socket closed" in details:
            hint = f"what listens there ended the connection; {target.calling_hint}"
        elif "http1.x" in details:
            hint = "what listens there is no gRPC port; is it EMPLA_HTTP_ADDRESS?"
        return Unreachable(f"no control plane answers at {target.address}{target.said}: {hint}", reason=UNREACHABLE)
    fields, retry_after = _details(error)
    parts = [" ".join((error.details() or code.name.lower()).split()) + target.said]
    parts += [f"{name}: {why}" for name, why in fields.items() if why not in parts[0]]
    parts += [f"try again in {retry_after:g} s"] if retry_after else []
    hints = _HINTS | {grpc.StatusCode.UNAUTHENTICATED: target.token_hint}
    parts += filter(None, [hints.get(code), _REASON_HINTS.get(reason), *map(_FIELD_HINTS.get, fields)])
    kind = _KINDS.get(code, Failure)
    return kind("; ".join(parts), reason=reason or code.name, fields=fields, retry_after=retry_after)


def _details(error: grpc.RpcError) -> tuple[dict[str, str], float | None]:
    """The field violations and the seconds of RetryInfo that came with `error`."""
    fields: dict[str, str] = {}
    retry_after = None
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(request):
            fields |= {violation.field: violation.description for violation in request.field_violations}
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    return fields, retry_after
