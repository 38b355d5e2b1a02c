from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workstation.egress import EgressPolicy, EgressRefused, EgressRule


def allowed(rule: EgressRule, host: str, port: int = 443, method: str = "CONNECT") -> bool:
    try:
        EgressPolicy((rule,)).decide(host, port, method)
    except EgressRefused:
        return False
    return True


@given(st.text(max_size=30), st.integers(1, 65535), st.sampled_from(["GET", "CONNECT"]))
def test_nothing_is_allowed_without_a_rule(host: str, port: int, method: str) -> None:
    with pytest.raises(EgressRefused):
        EgressPolicy().decide(host, port, method)


@pytest.mark.parametrize("host", ["example.com", "EXAMPLE.com", "example.com."])
def test_a_rule_names_a_host_in_all_its_spellings(host: str) -> None:
    assert allowed(EgressRule("Example.com"), host)


@pytest.mark.parametrize("host", ["xn--bcher-kva.example", "BÜCHER.example", "bücher.example."])
@pytest.mark.parametrize("domain", ["bücher.example", "xn--bcher-kva.EXAMPLE"])
def test_an_idn_is_the_same_in_both_spellings(domain: str, host: str) -> None:
    assert allowed(EgressRule(domain), host)


@pytest.mark.parametrize(
    "host",
    ["www.example.com", "notexample.com", "example.com.evil.example", "example.co", "xample.com", "example.comm"],
)
def test_a_rule_names_no_other_host(host: str) -> None:
    assert not allowed(EgressRule("example.com"), host)


def test_a_wildcard_names_subdomains_and_not_the_domain_itself() -> None:
    rule = EgressRule("*.example.com")
    assert allowed(rule, "a.example.com")
    assert allowed(rule, "a.b.C.example.com.")
    for host in ("example.com", "notexample.com", "example.com.evil.example", ".example.com", "*.example.com"):
        assert not allowed(rule, host)


def test_a_star_names_every_name_and_no_address() -> None:
    assert allowed(EgressRule("*"), "anything.example")
    for host in ("8.8.8.8", "127.0.0.1", "::1", "[2606:4700::1111]", "2130706433"):
        assert not allowed(EgressRule("*"), host)


def test_an_address_is_named_by_its_number() -> None:
    rule = EgressRule("2606:4700::1111")
    assert allowed(rule, "[2606:4700::1111]")
    assert allowed(rule, "2606:4700:0:0::1111")
    assert not allowed(rule, "2606:4700::1112")


@pytest.mark.parametrize(
    ("other", "covered"),
    [
        (EgressRule("a.example"), True),
        (EgressRule("a.example", (443,), ("GET",)), True),
        (EgressRule("a.example", (8080,)), False),
        (EgressRule("a.example", private=True), False),
        (EgressRule("b.example"), False),
    ],
)
def test_a_rule_covers_what_allows_no_more(other: EgressRule, covered: bool) -> None:
    assert EgressRule("a.example").covers(other) == covered


def test_methods_that_are_named_cover_those_and_not_all() -> None:
    some = EgressRule("a.example", methods=("GET", "HEAD"))
    assert some.covers(EgressRule("a.example", methods=("HEAD",)))
    for methods in ((), ("HEAD", "POST")):
        assert not some.covers(EgressRule("a.example", methods=methods))


def test_ports_are_those_named() -> None:
    assert allowed(EgressRule("example.com"), "example.com", 80)
    assert not allowed(EgressRule("example.com"), "example.com", 8080)
    assert allowed(EgressRule("example.com", (8080,)), "example.com", 8080)
    assert not allowed(EgressRule("example.com", (8080,)), "example.com", 443)


def test_methods_are_those_named_and_tunnels_hide_theirs() -> None:
    rule = EgressRule("example.com", methods=("GET", "HEAD"))
    assert allowed(rule, "example.com", method="GET")
    assert not allowed(rule, "example.com", method="POST")
    assert not allowed(rule, "example.com", method="get")
    assert not allowed(rule, "example.com", method="CONNECT")
    assert allowed(EgressRule("example.com", methods=("CONNECT",)), "example.com", method="CONNECT")


def test_rules_add_up_and_the_one_that_reaches_further_counts() -> None:
    everything, one = EgressRule("*"), EgressRule("a.corp.example", (80,))
    inside = EgressRule("*.corp.example", private=True)
    policy = EgressPolicy((everything, one, inside))
    assert policy.decide("a.corp.example", 80, "GET") is inside
    assert policy.decide("b.example", 80, "GET") is everything
    assert EgressPolicy((everything, one)).decide("a.corp.example", 80, "GET") is one
    assert EgressPolicy((everything, one)).decide("a.corp.example", 443, "GET") is everything


@pytest.mark.parametrize(
    ("host", "port", "method", "why"),
    [
        ("other.example", 80, "GET", "no rule names other.example"),
        ("example.com", 81, "GET", "port 81"),
        ("example.com", 80, "POST", "method POST"),
        ("example.com", 443, "CONNECT", "CONNECT is not among them"),
        ("0x7f.1", 80, "GET", "odd notation"),
        ("169.254.169.254", 80, "GET", "nothing may reach"),
    ],
)
def test_a_refusal_says_why(host: str, port: int, method: str, why: str) -> None:
    with pytest.raises(EgressRefused, match=why):
        EgressPolicy((EgressRule("example.com", methods=("GET",)),)).decide(host, port, method)


def test_a_rule_reaches_private_addresses_only_if_it_says_so() -> None:
    for address in ("8.8.8.8", "2606:4700::1111"):
        EgressRule("a.example").check_address(address)
    for address in ("127.0.0.1", "10.0.0.1", "::1", "fd12::1"):
        EgressRule("a.example", private=True).check_address(address)
        with pytest.raises(EgressRefused, match="private"):
            EgressRule("a.example").check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "168.63.129.16", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "0.0.0.0", "::", "224.0.0.1"),
        *("ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "no address", ""),
    ],
)
def test_no_rule_reaches_what_nothing_may_reach(address: str) -> None:
    with pytest.raises(EgressRefused, match="nothing may reach"):
        EgressRule("a.example", private=True).check_address(address)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ({"domain": ""}, "write the host alone"),
        ({"domain": "a b.example"}, "write the host alone"),
        ({"domain": "https://example.com/"}, "write the host alone"),
        ({"domain": "example.com:443"}, "--port"),
        ({"domain": "me@example.com"}, "write the host alone"),
        ({"domain": "a*.example.com"}, r"write \* once"),
        ({"domain": "*.*.example.com"}, r"write \* once"),
        ({"domain": "*."}, "write the host alone"),
        ({"domain": "*.*"}, r"write \* once"),
        ({"domain": "**"}, r"write \* once"),
        ({"domain": "*.1.1.1.1"}, "write the address alone"),
        ({"domain": "[2606:4700::1111]"}, "write the address alone, 2606:4700::1111"),
        ({"domain": "2606:4700:0::1111"}, "write the address alone, 2606:4700::1111"),
        ({"domain": "127.1"}, "write the host alone"),
        ({"domain": "10.0.0.0/8"}, "not for a network"),
        ({"domain": "127.0.0.1"}, "write private = true"),
        ({"domain": "169.254.169.254", "private": True}, "leave the rule out"),
        ({"domain": "fd00:ec2::254", "private": True}, "leave the rule out"),
        ({"domain": "*", "private": True}, "one rule for each private host"),
        ({"domain": "a.example", "ports": ()}, "write the ports"),
        ({"domain": "a.example", "ports": (0,)}, "from 1 to 65535"),
        ({"domain": "a.example", "ports": (65536,)}, "from 1 to 65535"),
        ({"domain": "a.example", "ports": ("80",)}, "from 1 to 65535"),
        ({"domain": "a.example", "ports": (True,)}, "from 1 to 65535"),
        ({"domain": "a.example", "ports": 80}, "as lists"),
        ({"domain": "a.example", "methods": "GET"}, "as lists"),
        ({"domain": "a.example", "methods": ("get",)}, "in capitals"),
        ({"domain": "a.example", "methods": ("GE T",)}, "in capitals"),
    ],
)
def test_what_is_no_rule_says_what_to_write(arguments: dict[str, Any], advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        EgressRule(**arguments)


def test_a_rule_is_kept_in_its_canonical_form() -> None:
    ports: Any = [443]
    assert EgressRule("Bücher.Example.", ports) == EgressRule("xn--bcher-kva.example", (443,))
    assert EgressRule("*.Example.com").domain == "*.example.com"
    assert EgressRule("_a_b.Example.com").domain == "_a_b.example.com"
