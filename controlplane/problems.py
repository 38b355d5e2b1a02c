"""Errors over HTTP: RFC 9457 problem documents with a stable `reason`, made at one boundary."""

import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from controlplane.errors import STORE_RETRY_SECONDS, ControlError, Exhausted
from empla.store.errors import StoreUnavailable

log = logging.getLogger(__name__)

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOG_SECONDS = 5.0


def problem(
    status: int,
    reason: str,
    detail: str,
    *,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A problem document: `title` names the status, `detail` is for people, `reason` and `fields` for programs."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    if fields:
        document["fields"] = dict(fields)
    return web.Response(
        status=status, body=json.dumps(document), content_type="application/problem+json", headers=headers
    )


class Boundary:
    """The middleware before every handler: an error leaves as a problem document, an unforeseen one is logged."""

    def __init__(self) -> None:
        self._logged = -_LOG_SECONDS

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Run the handler; only a cancellation leaves as an exception."""
        try:
            return await handler(request)
        except ControlError as error:
            return _refusal(error)
        except StoreUnavailable as error:
            self._log_outage(error)
            return unavailable("STORE_UNAVAILABLE", "the database is unavailable")
        except web.HTTPException as error:
            return _routing_error(error)
        except Exception:
            log.exception("unforeseen error in %s %s", request.method, request.path)
            return problem(500, "INTERNAL", "internal error; the log says more")

    def _log_outage(self, error: StoreUnavailable) -> None:
        # Every request fails in an outage: one line in a while says it as well.
        now = time.monotonic()
        if now - self._logged >= _LOG_SECONDS:
            self._logged = now
            log.error("requests are answered 503 until the database is back: %s", error)


def unavailable(reason: str, detail: str) -> web.Response:
    """A 503 that says when to come again."""
    return problem(503, reason, detail, headers=_come_again())


def _come_again() -> dict[str, str]:
    return {"Retry-After": str(round(STORE_RETRY_SECONDS))}


def _refusal(error: ControlError) -> web.Response:
    headers = None
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        scheme = "Empla-Signature" if error.reason.startswith("SIGNATURE") else "Bearer"
        headers = {"WWW-Authenticate": f'{scheme} realm="empla"'}
    elif isinstance(error, Exhausted):
        headers = {"Retry-After": str(math.ceil(error.retry_after))}
    elif error.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = _come_again()
    return problem(error.http_status, error.reason, str(error), fields=error.fields, headers=headers)


def _routing_error(error: web.HTTPException) -> web.Response:
    """What aiohttp itself raises: no such path, or not with this method."""
    status = HTTPStatus(error.status)
    headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    return problem(status, status.name, status.description or status.phrase, headers=headers)
