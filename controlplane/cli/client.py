"""The way to a running control plane: address, token, a deadline on every call, and errors that say what to do."""

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
from controlplane.settings import Settings
from empla import rpc
from empla.transport import Transport
from empla.v1 import control_pb2_grpc

DEADLINE = 30.0
"""Seconds for a call that names no other deadline."""

UNREACHABLE = "UNREACHABLE"
"""The reason of a call that was made and got no answer."""

_START_HINT = "is the control plane running? start it with `empla up`"
_HOME_HINT = "if it runs with another EMPLA_HOME, set that here too, or set EMPLA_TOKEN"
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
    return name if name.startswith(("ANTHROPIC_", "OPENAI_", "OTEL_")) else f"EMPLA_{name}"


def read_token(settings: Settings) -> str:
    """The operator token: from the environment, or from the file that `empla up` writes."""
    given = settings.token.get_secret_value() if settings.token else ""
    token = (given or _token_in_file(settings)).strip()
    if not token or not token.isascii() or not token.isprintable():
        source = "EMPLA_TOKEN" if given else str(settings.token_file)
        raise NotPermitted(f"what {source} holds is not a token")
    return token


def _token_in_file(settings: Settings) -> str:
    try:
        return settings.token_file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise Unreachable(f"there is no token at {settings.token_file}: {_START_HINT}; {_HOME_HINT}") from error
    except OSError as error:
        raise NotPermitted(
            f"the token at {settings.token_file} cannot be read ({error.strerror}): "
            "use the account that runs the control plane, or set EMPLA_TOKEN"
        ) from error


@contextmanager
def connected(settings: Settings | None = None) -> Iterator[control_pb2_grpc.ControlPlaneStub]:
    """A stub whose calls carry the token and a deadline; gRPC's errors leave the block as a `Failure`."""
    settings = settings or load_settings()
    address, outgoing = settings.dialled_address, _Outgoing(read_token(settings))
    with _channel(address, settings.transport) as channel:
        try:
            yield control_pb2_grpc.ControlPlaneStub(grpc.intercept_channel(channel, outgoing))
        except grpc.RpcError as error:
            raise failure_of(error, address) from error


def _channel(address: str, transport: Transport) -> grpc.Channel:
    try:
        credentials = transport.credentials()
    except OSError as error:
        raise Failure(f"a file that TLS needs cannot be read: {error}") from error
    options = [*_options(address), *transport.options]
    if credentials is not None:
        return grpc.secure_channel(address, credentials, options=options)
    return grpc.insecure_channel(address, options=options)


def _options(address: str) -> list[tuple[str, Any]]:
    # gRPC sends even loopback through http_proxy, where the environment sets it.
    return [*_OPTIONS, ("grpc.enable_http_proxy", int(not address.startswith(_LOOPBACK)))]


class _Outgoing(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
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


_KINDS = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.OUT_OF_RANGE: InvalidInput,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: NotPermitted,
    grpc.StatusCode.PERMISSION_DENIED: NotPermitted,
}
_HINTS = {
    grpc.StatusCode.UNAUTHENTICATED: "set EMPLA_TOKEN, or use the token file of the machine that runs the control plane",
    grpc.StatusCode.PERMISSION_DENIED: "use a token with a higher scope or of the right tenant",
    grpc.StatusCode.UNIMPLEMENTED: "the control plane is of another version than this command, or does not serve it yet",
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time; it may still take effect, so look before you repeat it",
    grpc.StatusCode.INTERNAL: "the control plane's log says more",
}


def failure_of(error: grpc.RpcError, address: str) -> Failure:
    """What `error` means for who typed the command: one line, the exit code, the details for programs."""
    assert isinstance(error, grpc.Call)
    code, reason = error.code(), rpc.reason_of(error)
    if code is grpc.StatusCode.UNAVAILABLE and not reason:
        if "handshake failed" in (details := error.details() or ""):
            hint = "EMPLA_TLS_CA says who vouches for it, EMPLA_TLS_SERVER_NAME which name its certificate has"
            return Failure(f"{address} is not trusted, or does not trust: {details}; {hint}", reason="TLS_FAILED")
        return Unreachable(f"no control plane answers at {address}: {_START_HINT}", reason=UNREACHABLE)
    fields, retry_after = _details(error)
    parts = [" ".join((error.details() or code.name.lower()).split())]
    parts += [said for name, why in fields.items() if (said := f"{name}: {why}") not in parts[0]]
    parts += [f"try again in {retry_after:g} s"] if retry_after else []
    parts += [_HINTS[code]] if code in _HINTS else []
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
