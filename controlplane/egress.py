"""Where outgoing connections may go: to public addresses, and into networks that an operator named.

A name is resolved once for each connection. Every address of the answer is checked, and the socket is made for an address
that was checked, so an answer that changes afterwards changes nothing. Host header and TLS name stay those of the URL.
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import AddrInfoType, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

# What inet_aton and browsers read as an IPv4 address: the last label is a number, in any base.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[a-z0-9._-]+", re.IGNORECASE)
# Public by their numbers alone: 6to4 relays (RFC 7526), Azure's platform address, which answers every virtual machine, and
# the newer documentation prefix (RFC 9637).
_NOT_PUBLIC = (IPv4Network("192.88.99.0/24"), IPv4Network("168.63.129.16/32"), IPv6Network("3fff::/20"))
# The only global unicast space that is assigned (RFC 4291). Mapped, compatible and NAT64 addresses lie outside of it.
_GLOBAL_UNICAST = IPv6Network("2000::/3")


class EgressRefused(Exception):
    """The address is one that outgoing connections may not reach; nothing was sent."""


class Egress:
    """The rule for outgoing connections; `networks` names the non-public ones that are allowed, such as `10.0.0.0/8`.

    Raises ValueError for a network that is none.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._allowed = tuple(ip_network(network) for network in networks)

    def check_url(self, url: str) -> URL:
        """`url`, parsed; raises `EgressRefused` unless it is http(s), without a password and with an honest host."""
        try:
            parsed = URL(url)
        except ValueError as error:
            raise EgressRefused(f"not a URL: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.raw_host:
            raise EgressRefused("only http and https URLs with a host are called")
        if parsed.raw_user is not None or parsed.raw_password is not None:
            raise EgressRefused("a URL with a user name or password is not called")
        _check_host(parsed.raw_host)
        return parsed

    def check_literal(self, url: str) -> None:
        """Raise `EgressRefused` for a URL that no connection will ever be made for; a name is not resolved."""
        host = self.check_url(url).raw_host or ""
        if ":" in host or _is_ipv4(host):
            self.check_address(host)

    def check_address(self, text: str) -> None:
        """Raise `EgressRefused` unless the IP address is public or within an allowed network."""
        try:
            address = ip_address(text)
        except ValueError as error:
            raise EgressRefused(f"{text} is not an IP address") from error
        if not any(address in network for network in self._allowed) and not _is_public(address):
            raise EgressRefused(f"{text} is not a public address, and no allowed network holds it")

    def connector(self, resolver: AbstractResolver | None = None) -> TCPConnector:
        """A connector that reaches checked addresses only, with a connection of its own for each request."""
        return TCPConnector(
            resolver=_CheckedResolver(self, resolver or ThreadedResolver()),
            use_dns_cache=False,
            force_close=True,  # a kept connection may die under the next request, whose fate is then unknown
            socket_factory=self._socket,
        )

    def _socket(self, info: AddrInfoType) -> socket.socket:
        # Every connection passes here with the very address it is made to, those whose URL holds an address as well.
        family, kind, protocol, _, address = info
        self.check_address(str(address[0]))
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """Refuses a name as soon as one of its addresses is refused."""

    def __init__(self, egress: Egress, resolver: AbstractResolver) -> None:
        self._egress, self._resolver = egress, resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            found = await self._resolver.resolve(host, port, family)
        except UnicodeError as error:  # a label that is empty or over 63 characters
            raise EgressRefused(f"{host} is no host name: {error}") from error
        for result in found:
            self._egress.check_address(result["host"])
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _check_host(host: str) -> None:
    """Refuse what is no name, and `2130706433`, `0x7f.1`, `0177.0.0.1`: those only serve to get past a reader."""
    if ":" in host:
        return
    if not _NAME.fullmatch(host):
        raise EgressRefused(f"{host!r} is no host name")
    if _NUMERIC.fullmatch(host) and not _is_ipv4(host):
        raise EgressRefused(f"the host {host} is an address in an odd notation")


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    if isinstance(address, IPv4Address):
        return True
    return address in _GLOBAL_UNICAST and address.teredo is None and address.sixtofour is None
