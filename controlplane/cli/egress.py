"""`empla egress`: which places on the network an employee may reach, by its browser and its programs."""

from typing import Any

import click

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.errors import InvalidInput, NotFound
from controlplane.cli.output import dim, json_option, print_json, print_table
from empla.egress import EgressRule, rule_of
from empla.v1 import control_pb2

_METHODS = {
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "ACL", "BASELINE-CONTROL", "BIND",
    "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF",
    "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPFIND", "PROPPATCH", "QUERY", "REBIND", "REPORT", "SEARCH", "UNBIND",
    "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
}  # fmt: skip
"""Those that are registered with IANA: another one is a typing error, or stands in a profile."""

_PORTS = "at these ports only; may be given several times.  [default: 80 and 443]"


@click.group()
def egress() -> None:
    """Say which places on the network an employee may reach, by its browser and its programs.

    Without a rule it reaches nothing. A change holds at once, in a running employee too.
    """


@egress.command(name="list")
@click.argument("employee", type=EMPLOYEE)
@json_option
def list_(employee: str, as_json: bool) -> None:
    """List the places that EMPLOYEE may reach."""
    with connected() as control_plane:
        found = control_plane.GetEmployee(control_pb2.GetEmployeeRequest(employee=employee))
    _show(found, as_json=as_json)


@egress.command()
@click.argument("employee", type=EMPLOYEE)
@click.argument("domain")
@click.option("--port", "ports", type=click.IntRange(1, 65535), multiple=True, metavar="N", help=f"Allow it {_PORTS}")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="M",
    help="Allow this HTTP method only, such as GET; may be given several times. With https nobody sees the method: "
    "it needs CONNECT.  [default: all]",
)
@click.option("--private", is_flag=True, help="Its addresses may also be of this machine or of a private network.")
@json_option
def allow(
    employee: str, domain: str, *, ports: tuple[int, ...], methods: tuple[str, ...], private: bool, as_json: bool
) -> None:
    """Let EMPLOYEE reach DOMAIN, besides what it may reach already.

    DOMAIN is a host such as example.com, '*.example.com' for its subdomains, an IP address, or '*' for any public name.
    To allow less than before, `remove` DOMAIN first.
    """
    rule = control_pb2.EgressRule(domain=domain, ports=ports, methods=_known(methods), private=private)
    wanted = _checked(rule)
    with connected() as control_plane:
        found = control_plane.GetEmployee(control_pb2.GetEmployeeRequest(employee=employee))
        known = [(one, _rule(one)) for one in found.profile.egress]
        if any(other is not None and other.covers(wanted) for _, other in known):
            note = (
                f"{found.name} was allowed that before: nothing changes. To allow less, remove {wanted.domain} first."
            )
            click.echo(dim(note, err=True), err=True)
        else:
            kept = [one for one, other in known if other is None or not wanted.covers(other)]
            found = _replace(control_plane, found, [*kept, rule])
    _show(found, as_json=as_json)


@egress.command()
@click.argument("employee", type=EMPLOYEE)
@click.argument("domain")
@json_option
def remove(employee: str, domain: str, as_json: bool) -> None:
    """Let EMPLOYEE reach DOMAIN no longer, at no port; what it has open there is cut."""
    name = _name(control_pb2.EgressRule(domain=domain))
    with connected() as control_plane:
        found = control_plane.GetEmployee(control_pb2.GetEmployeeRequest(employee=employee))
        others = [one for one in found.profile.egress if _name(one) != name]
        if len(others) == len(found.profile.egress):
            known = ", ".join(one.domain for one in others) or "none"
            raise NotFound(f"{found.name} has no rule for {domain}; its rules are for: {known}", reason="NO_SUCH_RULE")
        updated = _replace(control_plane, found, others)
    _show(updated, as_json=as_json)


def _replace(
    control_plane: Any, found: control_pb2.Employee, rules: list[control_pb2.EgressRule]
) -> control_pb2.Employee:
    request = control_pb2.UpdateEmployeeRequest(employee=found.employee_id, profile=found.profile)
    del request.profile.egress[:]
    request.profile.egress.extend(rules)
    updated: control_pb2.Employee = control_plane.UpdateEmployee(request)
    return updated


def _known(methods: tuple[str, ...]) -> list[str]:
    """The methods in capitals; raises `InvalidInput` for one that there is not."""
    capitals = [method.upper() for method in methods]
    if unknown := next((method for method in capitals if method not in _METHODS), ""):
        common = "GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, and CONNECT for https"
        raise InvalidInput(f"{unknown} is no HTTP method; common ones are {common}", reason="RULE_INVALID")
    return capitals


def _checked(rule: control_pb2.EgressRule) -> EgressRule:
    """The rule; raises `InvalidInput` for what is none."""
    try:
        return rule_of(rule)
    except ValueError as error:
        raise InvalidInput(str(error), reason="RULE_INVALID") from error


def _rule(rule: control_pb2.EgressRule) -> EgressRule | None:
    """The rule; None for one that this version would not take."""
    try:
        return rule_of(rule)
    except ValueError:
        return None


def _name(rule: control_pb2.EgressRule) -> str:
    """The domain in its one spelling; of a rule that this version would not take, as it is written."""
    try:
        return rule_of(control_pb2.EgressRule(domain=rule.domain, private=rule.domain != "*")).domain
    except ValueError:
        return rule.domain


def _show(found: control_pb2.Employee, *, as_json: bool) -> None:
    rules = found.profile.egress
    if as_json:
        print_json([as_document(rule) for rule in rules])
        return
    print_table(
        ("DOMAIN", "PORTS", "METHODS", "ADDRESSES"),
        map(_row, rules),
        nothing=f"{found.name} reaches nothing; allow it a place with `empla egress allow {found.name} DOMAIN`",
    )


def _row(rule: control_pb2.EgressRule) -> tuple[str, ...]:
    ports = ", ".join(map(str, rule.ports)) or "80, 443"
    return (rule.domain, ports, ", ".join(rule.methods) or "all", "private too" if rule.private else "public")
