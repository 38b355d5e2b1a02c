"""`empla egress` against a control plane on loopback: it changes the rules of a profile and nothing else in it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


@pytest.fixture
def ada(peer: Any) -> control_pb2.Employee:
    """An employee with two rules, which the control plane keeps."""
    employee = control_pb2.Employee(employee_id="e-1", name="ada")
    employee.profile.role = "Clerk"
    employee.profile.egress.add(domain="Example.com.")
    employee.profile.egress.add(domain="127.0.0.1", ports=[8080], methods=["GET"], private=True)

    def update(request: control_pb2.UpdateEmployeeRequest) -> control_pb2.Employee:
        employee.profile.CopyFrom(request.profile)
        return employee

    peer.answers |= {"GetEmployee": employee, "UpdateEmployee": update}
    return employee


def test_list_shows_what_each_rule_allows(ada: control_pb2.Employee, empla: Fixture) -> None:
    lines = empla("egress", "list", "ada").stdout.splitlines()
    assert lines[1].split("  ")[0] == "Example.com."
    assert "80, 443" in lines[1]
    assert "public" in lines[1]
    assert all(part in lines[2] for part in ("127.0.0.1", "8080", "GET", "private too"))


def test_list_says_how_to_allow_the_first_place(peer: Any, empla: Fixture) -> None:
    peer.answers["GetEmployee"] = control_pb2.Employee(name="ada")
    assert "empla egress allow ada DOMAIN" in empla("egress", "list", "ada").stdout


def test_allow_adds_a_rule_and_leaves_the_rest_of_the_profile(
    ada: control_pb2.Employee, peer: Any, empla: Fixture
) -> None:
    result = empla("egress", "allow", "ada", "*.example.org", "--port", "443", "--method", "connect", "--json")
    assert result.exit_code == 0, result.stderr
    rule = {"domain": "*.example.org", "ports": [443], "methods": ["CONNECT"], "private": False}
    assert json.loads(result.stdout)[2] == rule
    wrong = empla("egress", "allow", "ada", "example.com", "--method", "get", "--method", "gte")
    assert (wrong.exit_code, "GTE is no HTTP method" in wrong.stderr) == (2, True)
    assert (peer.last.request.employee, ada.profile.role, len(ada.profile.egress)) == ("e-1", "Clerk", 3)


def test_allow_takes_nothing_away(ada: control_pb2.Employee, empla: Fixture) -> None:
    assert empla("egress", "allow", "ada", "EXAMPLE.com", "--port", "8443").exit_code == 0
    assert [(rule.domain, list(rule.ports)) for rule in ada.profile.egress] == [
        ("Example.com.", []),
        ("127.0.0.1", [8080]),
        ("EXAMPLE.com", [8443]),
    ]


def test_allow_of_less_than_is_allowed_changes_nothing_and_says_so(
    ada: control_pb2.Employee, peer: Any, empla: Fixture
) -> None:
    result = empla("egress", "allow", "ada", "EXAMPLE.com", "--port", "443", "--method", "GET", "--json")
    assert (result.exit_code, len(json.loads(result.stdout)), len(ada.profile.egress)) == (0, 2, 2)
    assert "To allow less, remove example.com first" in result.stderr
    assert [call.method for call in peer.calls] == ["GetEmployee"]


def test_allow_of_more_takes_the_place_of_less(ada: control_pb2.Employee, empla: Fixture) -> None:
    assert empla("egress", "allow", "ada", "127.0.0.1", "--port", "80", "--port", "8080", "--private").exit_code == 0
    assert [(rule.domain, list(rule.ports), list(rule.methods)) for rule in ada.profile.egress] == [
        ("Example.com.", [], []),
        ("127.0.0.1", [80, 8080], []),
    ]


def test_remove_finds_a_rule_in_whatever_spelling(ada: control_pb2.Employee, empla: Fixture) -> None:
    assert empla("egress", "remove", "ada", "example.COM").exit_code == 0
    assert empla("egress", "remove", "ada", "127.0.0.1").exit_code == 0
    assert not ada.profile.egress


def test_remove_of_what_is_not_there_names_what_is(ada: control_pb2.Employee, empla: Fixture) -> None:
    result = empla("egress", "remove", "ada", "example.org")
    assert (result.exit_code, "Example.com., 127.0.0.1" in result.stderr) == (4, True)


@pytest.mark.parametrize("domain", ["https://example.com/", "10.0.0.1", "exa mple.com", "*.*"])
def test_what_is_no_rule_is_refused_before_anything_is_asked(peer: Any, empla: Fixture, domain: str) -> None:
    result = empla("egress", "allow", "ada", domain)
    assert (result.exit_code, peer.calls) == (2, [])
