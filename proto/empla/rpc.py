"""What every service shares to serve, dial, authenticate and answer errors over gRPC.

`StatusError` is the one error that crosses the wire: a canonical code, a stable reason and google.rpc details.
Handlers raise it (or an error that the service's `translate` turns into one); anything else is logged and answered as
INTERNAL.
"""

import asyncio
import inspect
import ipaddress
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from empla import telemetry
from empla.transport import Transport

MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
"""An error carries a path of up to 4095 bytes twice, in its message and beside it, encoded for HTTP."""
_METADATA: list[tuple[str, Any]] = [
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
]
# A half-open connection is noticed after 10 s + 5 s. Pings without calls are allowed: an idle stream is normal here.
# That takes the time-out of other pings as well, for which keepalive waits, and pings however long nothing is sent: else it
# is a minute or two.
_SERVER_OPTIONS = [
    *_METADATA,
    ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a silent sharer
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]
_CHANNEL_OPTIONS = [
    *_METADATA,
    ("grpc.enable_http_proxy", 0),  # gRPC sends even loopback through http_proxy, where the environment sets it
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]

log = logging.getLogger(__name__)


class StatusError(Exception):
    """An RPC's refusal: `code`, a stable `reason` for programs, a message for people, and what may help.

    `fields` names the request's fields that are wrong, with why; `retry_after` is in seconds; `metadata` is what programs
    may want to know besides the reason.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.fields, self.metadata = dict(fields or {}), dict(metadata or {})
        self.retry_after = retry_after

    def to_status(self) -> Any:
        """As google.rpc.Status with ErrorInfo, BadRequest and RetryInfo, ready for `abort_with_status`."""
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain="empla", metadata=self.metadata)
        details: list[Message] = [info]
        if self.fields:
            broken = [
                error_details_pb2.BadRequest.FieldViolation(field=name, description=why)
                for name, why in self.fields.items()
            ]
            details.append(error_details_pb2.BadRequest(field_violations=broken))
        if self.retry_after is not None:
            delay = duration_pb2.Duration()
            delay.FromMilliseconds(round(self.retry_after * 1000))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        packed = []
        for detail in details:
            packed.append(any_pb2.Any())
            packed[-1].Pack(detail)
        code = code_pb2.Code.Value(self.code.name)
        return rpc_status.to_status(status_pb2.Status(code=code, message=self.message, details=packed))


class CannotListen(OSError):
    """Nothing can be served at this address: something else is, or it is none of this machine's."""


class NotLocal(OSError):
    """The address leads off this machine, and what is sent there would be in clear."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} is not on this machine: use a loopback address or unix:, or TLS, for nothing is encrypted"
        )


def is_local(address: str) -> bool:
    """Whether `host:port` or `unix:/path` never leaves this machine; other names are not resolved and count as foreign."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def info_of(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo that came with `error`; an empty one when there is none."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        if detail.Unpack(info):
            break
    return info


def reason_of(error: grpc.RpcError) -> str:
    """The ErrorInfo reason that came with `error`, or '' when there is none."""
    return str(info_of(error).reason)


def bearer(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """The bearer token of a call's metadata; raises `StatusError` UNAUTHENTICATED when there is none."""
    for key, value in metadata or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme == "Bearer" and token.strip():
                return token.strip()
    raise StatusError(
        grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING", "send the metadata `authorization: Bearer <token>`"
    )


def retry_after_of(error: grpc.RpcError) -> float | None:
    """The seconds after which to try again that came with `error`, or None when nobody knows."""
    info = error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if any(detail.Unpack(info) for detail in (status.details if status else ())):
        return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


def fields_of(error: grpc.RpcError) -> dict[str, str]:
    """The request's fields that are wrong, with why, that came with `error`."""
    broken = error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if any(detail.Unpack(broken) for detail in (status.details if status else ())):
        return {one.field: one.description for one in broken.field_violations}
    return {}


Authenticate = Callable[[str, Any], Awaitable[object]]
"""Takes the full method name and the call's metadata; returns who calls, or raises `StatusError`."""

WhileValid = Callable[[object], AbstractAsyncContextManager[object]]
"""Takes who calls; a block that ends with an error once the caller may no longer do what it began."""

Translate = Callable[[Exception], StatusError | None]
"""Turns a service's own error into a `StatusError`; None for one that nobody foresaw."""

_caller: ContextVar[object] = ContextVar("empla_rpc_caller")
_context: ContextVar[Any] = ContextVar("empla_rpc_context")
_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
"""Of calls, by the names of a channel's methods."""
OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
"""Served without a token: a probe has none, and the contracts are public."""


def caller() -> Any:
    """Who makes the RPC that is being handled, as the service's `authenticate` returned it."""
    return _caller.get()


def peer() -> str:
    """The address from which the RPC comes that is being handled; '' when it comes through a socket of this machine."""
    kind, _, place = unquote(_context.get().peer()).partition(":")
    return place.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def _arity(streams: bool) -> str:
    return "stream" if streams else "unary"


class Guard(grpc.aio.ServerInterceptor):
    """Stands before every handler: authenticates, opens a span, and answers errors as statuses."""

    def __init__(self, authenticate: Authenticate, translate: Translate, while_valid: WhileValid) -> None:
        self._authenticate, self._translate, self._while_valid = authenticate, translate, while_valid

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the handler that `continuation` finds."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OPEN_SERVICES):
            return handler
        streams_in, streams_out = handler.request_streaming, handler.response_streaming
        behaviour = getattr(handler, f"{_arity(streams_in)}_{_arity(streams_out)}")
        wrapped = self._streaming(method, behaviour) if streams_out else self._unary(method, behaviour)
        make = getattr(grpc, f"{_arity(streams_in)}_{_arity(streams_out)}_rpc_method_handler")
        return make(
            wrapped,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, method: str, behaviour: Any) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            async with self._boundary(method, context):
                return await behaviour(request, context)

        return handle

    def _streaming(self, method: str, behaviour: Any) -> Any:
        async def handle(request: Any, context: Any) -> None:
            async with self._boundary(method, context):
                answers = behaviour(request, context)
                if inspect.isawaitable(answers):  # a handler that writes by itself
                    await answers
                    return
                async with aclosing(answers):  # at once, also when the call is cancelled while it writes
                    async for answer in answers:
                        try:
                            await context.write(answer)
                        except grpc.aio.InternalError:  # whoever called is gone
                            return

        return handle

    @asynccontextmanager
    async def _boundary(self, method: str, context: Any) -> AsyncIterator[None]:
        metadata = context.invocation_metadata()
        parent = next((str(v) for k, v in metadata or () if k == "traceparent"), "")
        _context.set(context)
        try:
            caller = await self._authenticate(method, metadata)
            _caller.set(caller)
            with telemetry.span(method, parent):
                async with self._while_valid(caller):
                    yield
        except (StatusError, grpc.aio.AbortError) as error:
            await self._abort(context, error)
        except NotImplementedError:  # what the generated base class raises for an RPC that a service leaves out
            missing = StatusError(grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", f"this build does not serve {method}")
            await self._abort(context, missing)
        except Exception as error:
            cause = _only(error)
            known = cause if isinstance(cause, StatusError) else self._translate(cause)
            if known is None:
                log.exception("unforeseen error in %s", method)
                known = StatusError(grpc.StatusCode.INTERNAL, "INTERNAL", "internal error; the log says more")
            await self._abort(context, known)

    @staticmethod
    async def _abort(context: Any, error: StatusError | grpc.aio.AbortError) -> None:
        if isinstance(error, StatusError):
            await context.abort_with_status(error.to_status())
        raise error


def _only(error: Exception) -> Exception:
    """The one error inside a task group's; the group itself when there are several."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class Register(Protocol):
    """Adds a servicer to a server; the generated `add_…_to_server` with its servicer bound."""

    def __call__(self, server: grpc.aio.Server, /) -> None:
        """Add the servicer."""
        ...


@asynccontextmanager
async def serving(
    address: str,
    services: Mapping[str, Register],
    *,
    authenticate: Authenticate,
    translate: Translate,
    while_valid: WhileValid = nullcontext,
    grace: float = 5.0,
    credentials: grpc.ServerCredentials | None = None,
    insecure: bool = False,
    max_message_bytes: int = MAX_FRAME_BYTES,
    status: health.aio.HealthServicer | None = None,
) -> AsyncIterator[str]:
    """Serve `services` (full name → how to register) with health and reflection; yields the address that is bound.

    `address` is `host:port` (port 0: any) or `unix:/path`. Raises OSError when it is taken, `NotLocal` when it can be
    reached from elsewhere and there are no `credentials` for TLS, unless `insecure`. `status` is for who has more to say of
    their health than that they are there. Leaving the block stops taking calls and gives the running ones `grace` seconds.
    """
    if credentials is None and not insecure and not is_local(address):
        raise NotLocal(address)
    options = [*_SERVER_OPTIONS, *_message_limits(max_message_bytes)]
    server = grpc.aio.server(interceptors=[Guard(authenticate, translate, while_valid)], options=options)
    status = status or health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    for name, register in services.items():
        register(server)
        await status.set(name, health_pb2.HealthCheckResponse.SERVING)
    await status.set("", health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    bound = _bind(server, address, credentials)
    await server.start()
    try:
        yield bound
    finally:
        await status.enter_graceful_shutdown()
        await server.stop(grace)


def _message_limits(most: int) -> list[tuple[str, Any]]:
    return [("grpc.max_receive_message_length", most), ("grpc.max_send_message_length", most)]


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address}: does another process listen there?") from error
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def outgoing_metadata(token: str) -> Sequence[tuple[str, str]]:
    """The metadata of an outgoing call: the bearer token, and the trace it belongs to."""
    parent = telemetry.traceparent()
    return [("authorization", f"Bearer {token}"), *([("traceparent", parent)] if parent else [])]


def _carrying(kind: Callable[..., Any], token: Callable[[], str]) -> Callable[..., Any]:
    """How a channel makes calls of a kind, with the bearer token and the trace context in each.

    Not by interceptors: in grpc.aio those cost a call a task or two, and a tenth of its time.
    """

    def make(*method: Any, **codec: Any) -> Callable[..., Any]:
        call = kind(*method, **codec)

        def begin(*request: Any, metadata: Iterable[tuple[str, str]] | None = None, **options: Any) -> Any:
            return call(*request, metadata=(*(metadata or ()), *outgoing_metadata(token())), **options)

        return begin

    return make


@asynccontextmanager
async def dialing(
    target: str,
    token: str | Callable[[], str],
    *,
    credentials: grpc.ChannelCredentials | None = None,
    transport: Transport | None = None,
    max_message_bytes: int = MAX_FRAME_BYTES,
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `target` whose calls carry `token`, or what that gives then.

    It connects when it is first used, and reconnects by itself.
    Raises `NotLocal` rather than show the token to a network without `credentials` for TLS, or a `transport` that has
    them or does without; `OSError` when that cannot read its files.
    """
    transport = transport or Transport()
    credentials = credentials or await asyncio.to_thread(transport.credentials)
    if credentials is None and not transport.insecure and not is_local(target):
        raise NotLocal(target)
    options = [*_CHANNEL_OPTIONS, *_message_limits(max_message_bytes), *transport.options]
    channel = (
        grpc.aio.secure_channel(target, credentials, options=options)
        if credentials
        else grpc.aio.insecure_channel(target, options=options)
    )
    for kind in _KINDS:
        setattr(channel, kind, _carrying(getattr(channel, kind), (lambda: token) if isinstance(token, str) else token))
    try:
        yield channel
    finally:
        await channel.close(grace=None)
