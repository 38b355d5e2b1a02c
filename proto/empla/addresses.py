"""Hosts and IP addresses: how a host may be written, and where an address leads.

Whatever opens a connection to a place that somebody else named asks here first, so that all of them give one answer.
"""

import re
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from yarl import URL

# What inet_aton and browsers read as an IPv4 address: the last label is a number, in any base.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[a-z0-9._-]+", re.IGNORECASE)
_LABELS = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
# Public by their numbers alone: 6to4 relays (RFC 7526), Azure's platform address, which answers every virtual machine, the
# newer documentation prefix (RFC 9637), and what IETF protocols use (RFC 6890), of which `ipaddress` knows all only since
# Python 3.12.4.
_NOT_PUBLIC = (
    IPv4Network("192.88.99.0/24"),
    IPv4Network("168.63.129.16/32"),
    IPv6Network("3fff::/20"),
    IPv4Network("192.0.0.0/24"),
    IPv6Network("2001::/23"),
)
# The only global unicast space that is assigned (RFC 4291). Mapped, compatible and NAT64 addresses lie outside of it.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# This machine, and the networks of RFC 1918 and RFC 4193.
_PRIVATE = (
    IPv4Network("127.0.0.0/8"),
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
)
# Private by their numbers, yet the services of a cloud that hand out credentials: AWS, Google, Scaleway.
_METADATA = (IPv6Network("fd00:ec2::/32"), IPv6Network("fd20:ce::/32"), IPv6Network("fd00:42::/32"))


class Reach(Enum):
    """Where an address leads: to the public internet, into a private network, or where nothing may go at all.

    NEVER holds link-local and metadata addresses, multicast, the unspecified, reserved and shared ones, those with a zone,
    and those that carry an IPv4 address in an IPv6 one (mapped, compatible, NAT64, 6to4, Teredo, ISATAP).
    """

    PUBLIC = "public"
    PRIVATE = "private"
    NEVER = "never"


def reach(address: IPv4Address | IPv6Address) -> Reach:
    """Where `address` leads."""
    if isinstance(address, IPv6Address) and (address.scope_id is not None or _is_isatap(address)):
        return Reach.NEVER
    if any(address in network for network in _PRIVATE):
        return Reach.NEVER if any(address in network for network in _METADATA) else Reach.PRIVATE
    return Reach.PUBLIC if _is_public(address) else Reach.NEVER


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` is, in the notation of `ipaddress` without brackets; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def check_host(host: str) -> None:
    """Raise ValueError for what is no host, and for an address in an odd notation.

    `2130706433`, `0x7f.1` and `0177.0.0.1` only serve to get past a reader. What has a colon is left to whoever parses it
    as an IPv6 address.
    """
    if ":" in host:
        return
    if not _NAME.fullmatch(host):
        raise ValueError(f"{host[:80]!r} is no host name")
    if _NUMERIC.fullmatch(host) and literal(host) is None:
        raise ValueError(f"the host {host[:80]} is an address in an odd notation")


def canonical_host(host: str) -> str:
    """The one spelling of a host: lower case, A-labels, no dot at the end, an address as `ipaddress` writes it.

    Raises ValueError for what is no host and for an address in an odd notation; an IPv6 address may stand in brackets.
    """
    if len(host) > 1_000:
        raise ValueError("a host of over 1,000 characters")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    if ":" in host:
        return _canonical_ipv6(host)
    name = host if host.isascii() else _a_labels(host)
    check_host(name)
    name = name.lower().removesuffix(".")
    if not _LABELS.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no host name: a label is empty or over 63 characters, or all are over 253")
    return name


def _canonical_ipv6(host: str) -> str:
    if "%" in host:
        raise ValueError("an address with a zone is no host")
    return str(IPv6Address(host))


def _a_labels(host: str) -> str:
    name = URL.build(scheme="http", host=host).raw_host or ""
    if _NUMERIC.fullmatch(name):
        raise ValueError(f"the host {host[:80]!r} is an address in an odd notation")
    return name


def _is_isatap(address: IPv6Address) -> bool:
    # The interface identifier of RFC 5214, with or without the bits for "universal" and "group".
    return int(address) >> 32 & 0xFCFFFFFF == 0x5EFE


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    if isinstance(address, IPv4Address):
        return True
    return address in _GLOBAL_UNICAST and address.teredo is None and address.sixtofour is None
