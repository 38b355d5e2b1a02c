"""Egress rules: which places an employee may reach. A profile carries them, and the proxy of the employee obeys them."""

import re
from dataclasses import dataclass

from empla.addresses import Reach, canonical_host, literal, reach
from empla.v1 import control_pb2

METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
"""The HTTP methods that a rule may name; HTTP itself has stranger ones."""


class EgressRefused(Exception):
    """No rule allows the connection, or its address is one that nothing may reach; the text says which.

    With `final`, no rule could allow it. `methods` are those that a rule for it should name, none: all; `private` says
    whether that rule has to be.
    """

    def __init__(self, why: str, *, final: bool = False, methods: tuple[str, ...] = (), private: bool = False) -> None:
        super().__init__(why)
        self.final, self.methods, self.private = final, methods, private


@dataclass(frozen=True, slots=True)
class EgressRule:
    """A place that may be reached; raises ValueError for what is no rule.

    Attributes:
        domain: a host such as `example.com`; `*.example.com` for its subdomains at any depth, but not itself; an IP address;
            or `*` for any name whose addresses are public. Case, a dot at the end and the two spellings of an IDN mean
            nothing.
        ports: the ports that it may be reached at.
        methods: the HTTP methods that it may be asked with; none named: all. A tunnel hides its methods, so a rule that
            names some allows tunnels, and with them https, and WebSockets only if `CONNECT` is among them.
        private: its addresses may also be loopback, RFC 1918 or ULA. Link-local and metadata addresses, multicast, and
            addresses that carry another in them stay out of reach.
    """

    domain: str
    ports: tuple[int, ...] = (80, 443)
    methods: tuple[str, ...] = ()
    private: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.ports, int) or isinstance(self.methods, str):
            raise ValueError("write ports and methods as lists, such as [443] and [GET, HEAD]")  # noqa: TRY004 - see class
        object.__setattr__(self, "domain", _domain(self.domain))
        object.__setattr__(self, "ports", tuple(self.ports))
        object.__setattr__(self, "methods", tuple(self.methods))
        _check_ports(self.ports)
        _check_methods(self.methods)
        self._check_reach()

    def names(self, host: str) -> bool:
        """Whether `host`, in its canonical spelling, is one that the rule is about."""
        if self.domain == "*":
            return literal(host) is None
        if self.domain.startswith("*."):
            return host.endswith(self.domain[1:]) and len(host) >= len(self.domain)
        return host == self.domain

    def covers(self, other: "EgressRule") -> bool:
        """Whether all that `other` allows is allowed by this rule for the same domain."""
        methods = not self.methods or (bool(other.methods) and set(self.methods) >= set(other.methods))
        ports = set(self.ports) >= set(other.ports)
        return self.domain == other.domain and ports and methods and self.private >= other.private

    def check_address(self, address: str) -> None:
        """Raise `EgressRefused` unless the rule lets its host have the IP address `address`."""
        found = literal(address)
        where = reach(found) if found is not None else Reach.NEVER
        if where is Reach.NEVER:
            raise EgressRefused(f"the address {address[:80]} is one that nothing may reach", final=True)
        if where is Reach.PRIVATE and not self.private:
            raise EgressRefused(
                f"the address {address} is private, and the rule for {self.domain} allows public ones only",
                methods=self.methods,
                private=True,
            )

    def _check_reach(self) -> None:
        if self.domain == "*" and self.private:
            raise ValueError("* cannot be private: write one rule for each private host that is needed")
        address = literal(self.domain)
        if address is None:
            return
        if reach(address) is Reach.NEVER:
            raise ValueError(f"{self.domain} is an address that nothing may reach: leave the rule out")
        if reach(address) is Reach.PRIVATE and not self.private:
            raise ValueError(
                f"{self.domain} is a private address: if it is meant, say --private, or write private = true in a profile"
            )


def rule_of(written: control_pb2.EgressRule) -> EgressRule:
    """The rule that stands in a profile; raises ValueError for what is no rule."""
    if not written.ports:
        return EgressRule(written.domain, methods=tuple(written.methods), private=written.private)
    return EgressRule(written.domain, tuple(written.ports), tuple(written.methods), written.private)


def _domain(domain: str) -> str:
    wildcard, name = ("*.", domain[2:]) if domain.startswith("*.") else ("", domain)
    if name == "*" and not wildcard:
        return name
    if "*" in name:
        raise ValueError(f"{domain[:80]!r}: write * once, in front, as in *.example.com, or alone for any public name")
    try:
        canonical = canonical_host(name)
    except ValueError as error:
        raise ValueError(f"{domain[:80]!r} is no domain: {_advice(name)}") from error
    if literal(canonical) is None:
        return wildcard + canonical
    if wildcard or canonical != name.lower():
        raise ValueError(f"{domain[:80]!r} is no domain: write the address alone, {canonical}")
    return canonical


def _advice(name: str) -> str:
    if re.fullmatch(r"[^/:]+:\d+", name):
        return "write the host alone, and its port as --port, or under ports in a profile"
    if re.fullmatch(r"[0-9a-fA-F.:]+/\d+", name):
        return "a rule is for one host, not for a network: write one for each address"
    return "write the host alone, such as example.com"


def _check_ports(ports: tuple[int, ...]) -> None:
    if not ports:
        raise ValueError("a rule without ports allows nothing: write the ports, such as [80, 443]")
    for port in ports:
        if type(port) is not int or not 0 < port < 65_536:
            raise ValueError(f"{port!r} is no port: write a number from 1 to 65535")


def _check_methods(methods: tuple[str, ...]) -> None:
    for method in methods:
        if not isinstance(method, str) or not METHOD.fullmatch(method):
            raise ValueError(f"{method!r} is no HTTP method: write it in capitals, such as GET")
