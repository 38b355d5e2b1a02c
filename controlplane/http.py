"""The HTTP port: webhooks, probes, metrics and the status page."""

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from controlplane.attempts import PEER, PER_MINUTE, Attempts
from controlplane.auth import Operator, Tokens
from controlplane.channels import Channels
from controlplane.clock import SKEW_SECONDS, DatabaseClock, said
from controlplane.metrics import Metrics
from controlplane.problems import Boundary, Handler, problem, unavailable
from controlplane.readiness import Readiness
from controlplane.receiver import Receiver
from controlplane.statuspage import StatusPage
from controlplane.webhook import FindsEmployees, Webhook
from empla.rpc import CannotListen, NotLocal, is_local
from empla.v1 import control_pb2

DRAIN_SECONDS = 5.0
_NAME = "[a-z0-9-]{1,63}"
_LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?", re.IGNORECASE)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "empla",
}


@dataclass(frozen=True, slots=True)
class Route:
    """A path, who handles it, and what stands before it: a channel's signature, an operator's token, or nothing."""

    method: str
    path: str
    protection: Literal["signature", "token", "open"]
    handler: Handler


def routes(webhook: Webhook, page: StatusPage, readiness: Readiness, clock: DatabaseClock) -> list[Route]:
    """Everything that this port serves."""

    async def readyz(_: web.Request) -> web.StreamResponse:
        trouble = await readiness.trouble()
        if trouble:
            return unavailable(*trouble)
        off = {"degraded": f"its clock is {said(clock.skew)}"} if abs(clock.skew) > SKEW_SECONDS else {}
        return web.json_response({"status": "ready"} | off)

    return [
        Route("POST", f"/v1/channels/{{tenant:{_NAME}}}/{{channel:{_NAME}}}", "signature", webhook.receive),
        Route("GET", "/v1/overview", "token", page.overview),
        Route("GET", "/metrics", "token", page.metrics),
        Route("GET", "/", "token", page.page),
        Route("GET", "/healthz", "open", _healthz),
        Route("GET", "/readyz", "open", readyz),
    ]


@asynccontextmanager
async def serving_http(
    address: str,
    *,
    readiness: Readiness,
    receiver: Receiver,
    channels: Channels,
    employees: FindsEmployees,
    tokens: Tokens,
    overview: Callable[[Operator], Awaitable[control_pb2.Overview]],
    metrics: Metrics,
    max_body_bytes: int,
    clock: DatabaseClock,
    wrong_signatures_per_minute: int = PER_MINUTE,
    tls: ssl.SSLContext | None = None,
    insecure: bool = False,
) -> AsyncIterator[str]:
    """Serve on `address`, `host:port` (port 0: any); yields the address that is bound.

    Raises OSError when it is taken, `NotLocal` when it can be reached from elsewhere without `tls`, unless `insecure`.
    Leaving the block stops taking requests and gives the running ones 5 s. Bound to loopback, it answers only requests
    whose Host header is a name of this machine: another site's name that was made to point here reaches nothing.
    """
    webhook = Webhook(
        channels=channels,
        employees=employees,
        receiver=receiver,
        attempts=Attempts(wrong_signatures_per_minute, what="signatures"),
        max_body_bytes=max_body_bytes,
        clock=clock.time,
    )
    served = routes(webhook, StatusPage(tokens=tokens, overview=overview, metrics=metrics), readiness, clock)
    host, port = _parsed(address)
    if tls is None and not insecure and not is_local(address):
        raise NotLocal(address)
    runner = web.AppRunner(
        _application(served, local=is_local(address)),
        access_log=None,  # it would keep the token of `/?token=`
        auto_decompress=False,  # signatures are over what was sent, and a small body stays small
        shutdown_timeout=DRAIN_SECONDS,
    )
    await runner.setup()
    try:
        await _bind(runner, host, port, address, tls)
        yield f"{address.rpartition(':')[0]}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _application(served: list[Route], *, local: bool) -> web.Application:
    application = web.Application(middlewares=[Boundary().handle, _known_peer, *([_only_local_names] if local else [])])
    application.on_response_prepare.append(_add_headers)
    for route in served:
        application.router.add_route(route.method, route.path, route.handler)
        if route.method == "GET":
            application.router.add_route("HEAD", route.path, route.handler)
    return application


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    own_policy = response.headers.get("Content-Security-Policy")
    response.headers.update(_HEADERS)
    if own_policy is not None:
        response.headers["Content-Security-Policy"] = own_policy


@web.middleware
async def _known_peer(request: web.Request, handler: Handler) -> web.StreamResponse:
    PEER.set(request.remote or "")
    return await handler(request)


@web.middleware
async def _only_local_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not _LOCAL_HOST.fullmatch(request.headers.get("Host", "")):
        return problem(421, "HOST_NOT_LOCAL", "this port answers to localhost, 127.0.0.1 and [::1] only")
    return await handler(request)


async def _healthz(_: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "up"})


async def _bind(runner: web.AppRunner, host: str, port: int, address: str, tls: ssl.SSLContext | None) -> None:
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
    except OSError as error:
        raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        raise OSError(f"cannot listen on {address!r}: not host:port")
    return host.strip("[]"), int(port)
