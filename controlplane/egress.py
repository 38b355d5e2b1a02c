"""Where outgoing connections may go: to public addresses, and into networks that an operator named.

A name is resolved once for each connection. Every address of the answer is checked, and the socket is made for an address
that was checked, so an answer that changes afterwards changes nothing. Host header and TLS name stay those of the URL.
"""

import socket
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from aiohttp import AddrInfoType, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from empla.addresses import Reach, check_host, literal, reach


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
        try:
            check_host(parsed.raw_host)
        except ValueError as error:
            raise EgressRefused(str(error)) from error
        return parsed

    def check_literal(self, url: str) -> None:
        """Raise `EgressRefused` for a URL that no connection will ever be made for; a name is not resolved."""
        host = self.check_url(url).raw_host or ""
        if ":" in host or literal(host) is not None:
            self.check_address(host)

    def check_address(self, text: str) -> None:
        """Raise `EgressRefused` unless the IP address is public or within an allowed network."""
        try:
            address = ip_address(text)
        except ValueError as error:
            raise EgressRefused(f"{text} is not an IP address") from error
        if not any(address in network for network in self._allowed) and reach(address) is not Reach.PUBLIC:
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
