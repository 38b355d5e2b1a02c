"""Which connections may leave: rules that an operator wrote, and everything else refused."""

from dataclasses import dataclass

from empla.addresses import Reach, canonical_host, literal, reach
from empla.egress import METHOD, EgressRefused, EgressRule

__all__ = ["TUNNEL", "EgressPolicy", "EgressRefused", "EgressRule"]

TUNNEL = "CONNECT"
"""The method that opens a tunnel, in which nobody sees other methods."""
_INSIDE = (".localhost", ".local", ".internal")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """All rules together; what none of them allows is refused."""

    rules: tuple[EgressRule, ...] = ()

    def decide(self, host: str, port: int, method: str) -> EgressRule:
        """The rule that allows `method` for `host` at `port`; raises `EgressRefused`.

        Addresses are not looked up here: ask the rule with `check_address` about each that the name has.
        """
        try:
            host = canonical_host(host)
        except ValueError as error:
            raise EgressRefused(str(error), final=True) from error
        named = sorted((rule for rule in self.rules if rule.names(host)), key=_furthest_first)
        for rule in named:
            if port in rule.ports and (not rule.methods or method in rule.methods):
                return rule
        raise _refusal(host, port, method, named)


def _furthest_first(rule: EgressRule) -> tuple[bool, bool, int]:
    # Rules add up: of those that allow the same, the one with private addresses counts, then the one that says more.
    return not rule.private, rule.domain.startswith("*"), -len(rule.domain)


def _refusal(host: str, port: int, method: str, named: list[EgressRule]) -> EgressRefused:
    address = literal(host)
    if address is not None and reach(address) is Reach.NEVER:
        return EgressRefused(f"{host} is an address that nothing may reach", final=True)
    nearest = [rule for rule in named if port in rule.ports] or named
    # A client may make up a method that no rule can name, and that no shell should be given either.
    bounded = bool(nearest) and all(rule.methods for rule in nearest) and METHOD.fullmatch(method)
    private = any(rule.private for rule in named) or _is_inside(host)
    return EgressRefused(_why(host, port, method, named), methods=(method,) if bounded else (), private=private)


def _why(host: str, port: int, method: str, named: list[EgressRule]) -> str:
    if not named:
        return f"no rule names {host}"
    if not any(port in rule.ports for rule in named):
        return f"no rule allows port {port} of {host}"
    if method == TUNNEL:
        return f"the rule for {host} names methods, which a tunnel or a WebSocket would hide, and CONNECT is not among them"
    return f"no rule allows the method {method[:32]} for {host}"


def _is_inside(host: str) -> bool:
    """Whether a host shows by itself that its addresses are private; most names do not."""
    address = literal(host)
    if address is not None:
        return reach(address) is Reach.PRIVATE
    return host == "localhost" or host.endswith(_INSIDE)
