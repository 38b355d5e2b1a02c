"""What a request asks the proxy for, and which of its headers go on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import h11

from empla.addresses import canonical_host
from workstation.egress.endings import invalid, limited
from workstation.egress.policy import TUNNEL, EgressRefused

type Headers = list[tuple[bytes, bytes]]

HTTP_PORT = 80
_METHOD_BYTES = 32
_ABSOLUTE = re.compile(rb"http://([^/?]*)(.*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]@/]*\]|[^\[\]:@/]*)(?::([0-9]{1,5}))?")
# Headers about one connection, not about the message (RFC 9110, 7.6.1), those of proxies, and ours, which only we may set.
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"x-empla-egress")
)
_FRAMING = frozenset((b"host", b"content-length"))
"""Headers that a `Connection` header cannot take away, and that are set anew."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request is to go; `path` is what its server is asked for, '' for a tunnel."""

    host: str
    port: int
    path: bytes

    @property
    def authority(self) -> str:
        """The host as it stands in a `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTP_PORT else f"{host}:{self.port}"


def target_of(request: h11.Request) -> Target:
    """The target of a request; raises `Ending` for what no proxy serves, `EgressRefused` for a host that is none."""
    if len(request.method) > _METHOD_BYTES:
        raise invalid("its method is none", 501)
    target = _tunnel(request) if request.method == TUNNEL.encode() else _absolute(request)
    _check_host_header(request, target)
    return target


def body_length(request: h11.Request, most: int) -> int | None:
    """How long the body is; None: it comes in chunks.

    Raises `Ending` for one that is too long or whose length could be read in two ways.
    """
    length = value(request, b"content-length")
    chunked = value(request, b"transfer-encoding")
    if chunked and (length or request.http_version < b"1.1"):
        raise invalid("it tells the length of its body in two ways")
    if request.method == TUNNEL.encode() and (chunked or length.strip(b"0")):
        raise invalid("a tunnel is asked for without a body")
    if int(length or 0) > most:
        raise limited(413, f"its body is over {most} bytes")
    return None if chunked else int(length or 0)


def value(message: h11.Request | h11.Response | h11.InformationalResponse, name: bytes) -> bytes:
    """The first value of a header, in lower case; b'' without one."""
    return next((value.lower() for key, value in message.headers if key == name), b"")


def wants_websocket(request: h11.Request) -> bool:
    """Whether the client asks to go on with the WebSocket protocol."""
    asks = request.method == b"GET" and value(request, b"upgrade") == b"websocket" and b"upgrade" in _named(request)
    return asks and request.http_version >= b"1.1"


def end_to_end(message: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    """The headers that go on, in their order and spelling; those that say host and length are left to the caller."""
    gone = _HOP_BY_HOP | _FRAMING | _named(message)
    raw: Iterable[tuple[bytes, bytes]] = message.headers.raw_items()
    return [(key, value) for key, value in raw if key.lower() not in gone and not key.lower().startswith(b"proxy-")]


def _named(message: h11.Request | h11.Response | h11.InformationalResponse) -> frozenset[bytes]:
    listed = (value for key, value in message.headers if key == b"connection")
    return frozenset(name.strip().lower() for value in listed for name in value.split(b","))


def _tunnel(request: h11.Request) -> Target:
    host, port = _authority(request.target)
    if port is None:
        raise invalid("a tunnel is asked for with host and port")
    return Target(host, port, b"")


def _absolute(request: h11.Request) -> Target:
    parts = _ABSOLUTE.fullmatch(request.target)
    if parts is None:
        raise invalid("it names no http:// address; https goes through a tunnel")
    if b"#" in request.target:
        raise invalid("its address has a fragment")
    host, port = _authority(parts[1])
    path = parts[2] if parts[2].startswith(b"/") else b"/" + parts[2]
    if request.method == b"OPTIONS" and not parts[2]:
        path = b"*"
    return Target(host, HTTP_PORT if port is None else port, path)


def _authority(text: bytes) -> tuple[str, int | None]:
    if b"@" in text:
        raise invalid("its address has a user name or a password")
    parts = _AUTHORITY.fullmatch(text.decode("latin-1"))
    if parts is None or (parts[2] is not None and not 0 < int(parts[2]) < 65_536):
        raise invalid("its address is no host with a port")
    try:
        host = canonical_host(parts[1])
    except ValueError as error:
        raise EgressRefused(str(error), final=True) from error
    return host, None if parts[2] is None else int(parts[2])


def _check_host_header(request: h11.Request, target: Target) -> None:
    """h11 lets pass at most one; HTTP/1.0 may have none."""
    header = value(request, b"host")
    if not header and request.http_version < b"1.1":
        return
    default = target.port if request.method == TUNNEL.encode() else HTTP_PORT
    try:
        host, port = _authority(header)
    except EgressRefused as error:
        raise invalid("its Host header names no host") from error
    if (host, default if port is None else port) != (target.host, target.port):
        raise invalid("its Host header names another place than its address")
