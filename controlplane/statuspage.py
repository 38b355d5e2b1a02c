"""The status page, the overview it shows, and the metrics, for whoever holds an operator token."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from prometheus_client import CONTENT_TYPE_LATEST

from controlplane.auth import Operator, Tokens
from controlplane.errors import Forbidden, Unauthenticated
from controlplane.metrics import Metrics
from empla.v1 import control_pb2

COOKIE = "empla_token"
_BEARER = "Bearer "


def _page(name: str) -> tuple[bytes, str]:
    """A page with the policy under which nothing but its own inline script and style runs."""
    page = files("controlplane").joinpath("pages", name).read_bytes()
    allowed = {
        tag: " ".join(_source(inline) for inline in re.findall(rb"(?s)<%b>(.*?)</%b>" % (tag, tag), page)) or "'none'"
        for tag in (b"script", b"style")
    }
    policy = (
        f"default-src 'none'; script-src {allowed[b'script']}; style-src {allowed[b'style']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def _source(inline: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline).digest()).decode()}'"


STATUS = _page("status.html")
ENTER = _page("enter.html")


class StatusPage:
    """Serves the page and its data."""

    def __init__(
        self, *, tokens: Tokens, overview: Callable[[Operator], Awaitable[control_pb2.Overview]], metrics: Metrics
    ) -> None:
        self._tokens, self._overview, self._metrics = tokens, overview, metrics

    async def page(self, request: web.Request) -> web.Response:
        """The page; `?token=` becomes a cookie and leaves the address; without a token, how to get in."""
        token = request.query.get("token")
        try:
            await self._authenticate(_presented(request) if token is None else token)
        except Unauthenticated:
            return _html(ENTER, status=401)
        return _html(STATUS) if token is None else _entered(request, token)

    async def overview(self, request: web.Request) -> web.Response:
        """The overview as the JSON of its message, with the field names of the contract."""
        operator = await self._authenticate(_presented(request))
        overview = await self._overview(operator)
        return web.json_response(
            MessageToDict(overview, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        )

    async def metrics(self, request: web.Request) -> web.Response:
        """The metrics of all tenants together."""
        operator = await self._authenticate(_presented(request))
        if operator.tenant_id is not None:
            raise Forbidden(
                "metrics are of all tenants, and so must the token be: `empla tokens create NAME --every-tenant` makes one",
                reason="TENANT_TOO_NARROW",
            )
        return web.Response(body=await self._metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _authenticate(self, token: str) -> Operator:
        # Tokens are ASCII; a header's other bytes have no encoding and could not even be hashed.
        if not token or not token.isascii():
            raise Unauthenticated(
                f"send `Authorization: Bearer <token>` or the cookie {COOKIE}", reason="TOKEN_MISSING"
            )
        return await self._tokens.authenticate(token)


def _presented(request: web.Request) -> str:
    header = request.headers.get("Authorization")
    if header is None:
        return request.cookies.get(COOKIE, "")
    return header.removeprefix(_BEARER) if header.startswith(_BEARER) else ""


def _entered(request: web.Request, token: str) -> web.Response:
    response = web.Response(status=303, headers={"Location": "/"})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", path="/", secure=request.secure)
    return response


def _html(page: tuple[bytes, str], status: int = 200) -> web.Response:
    body, policy = page
    headers = {"Content-Security-Policy": policy}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="empla"'
    return web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=headers)
