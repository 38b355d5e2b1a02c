"""`empla tokens`, `empla tenants` and `empla audit` against a control plane on loopback."""

import json
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from empla.v1 import control_pb2

Fixture = Callable[..., Any]
ID = "01f3c0de-0000-7000-8000-000000000001"


@pytest.fixture
def token(peer: Any) -> control_pb2.Token:
    """One that is made, listed and revoked."""
    item = control_pb2.Token(token_id=ID, name="bo", scope=control_pb2.SCOPE_OPERATE, tenant="acme")
    item.created_at.FromSeconds(int(time.time()) - 90)
    peer.answers["CreateToken"] = control_pb2.CreateTokenResponse(token=item, secret="empla_secret")
    peer.answers["ListTokens"] = control_pb2.ListTokensResponse(tokens=[item])
    peer.answers["RevokeToken"] = item
    return item


def test_create_shows_the_secret_and_what_it_opens(token: control_pb2.Token, peer: Any, empla: Fixture) -> None:
    result = empla("tokens", "create", "bo", "--scope", "operate", "--tenant", "acme", "--days", "30")
    assert result.exit_code == 0, result.stderr
    for part in ("token bo", "empla_secret", "operate, of acme", "when it is revoked", "EMPLA_TOKEN=empla_secret"):
        assert part in result.stdout
    asked = peer.last.request
    assert (asked.name, asked.scope, asked.tenant, asked.valid_days, asked.every_tenant) == (
        *("bo", control_pb2.SCOPE_OPERATE, "acme", 30, False),
    )


def test_create_is_json_for_programs_and_reads_only_unless_told(
    token: control_pb2.Token, peer: Any, empla: Fixture
) -> None:
    made = json.loads(empla("tokens", "create", "bo", "--every-tenant", "--json").stdout)
    assert (made["secret"], made["scope"], made["token_id"]) == ("empla_secret", "operate", ID)
    assert (peer.last.request.scope, peer.last.request.every_tenant) == (control_pb2.SCOPE_READ, True)


def test_create_takes_one_tenant_or_every(peer: Any, empla: Fixture) -> None:
    result = empla("tokens", "create", "bo", "--every-tenant", "--tenant", "acme")
    assert (result.exit_code, peer.calls) == (2, [])


def test_list_shows_no_secret(token: control_pb2.Token, peer: Any, empla: Fixture) -> None:
    line = empla("tokens", "list", "--all", "--tenant", "acme").stdout.splitlines()[1].split()
    assert line == [ID, "bo", "operate", "acme", "1m", "never"]
    assert (peer.last.request.include_ended, peer.last.request.tenant) == (True, "acme")
    [found] = json.loads(empla("tokens", "list", "--json").stdout)
    assert (found["name"], found["expires_at"]) == ("bo", None)


def test_revoke(token: control_pb2.Token, peer: Any, empla: Fixture) -> None:
    assert empla("tokens", "revoke", ID).stdout == "bo: revoked\n"
    assert peer.last.request.token_id == ID
    peer.refuse("RevokeToken", grpc.StatusCode.NOT_FOUND, "TOKEN_UNKNOWN", "there is no token x")
    assert empla("tokens", "revoke", "x").exit_code == 4


def test_tenants(peer: Any, empla: Fixture) -> None:
    tenant = control_pb2.Tenant(tenant_id=ID, name="acme", paused=True)
    peer.answers |= {"CreateTenant": tenant, "ListTenants": control_pb2.ListTenantsResponse(tenants=[tenant])}
    assert "empla tokens create NAME --tenant acme" in empla("tenants", "create", "acme").stdout
    assert json.loads(empla("tenants", "create", "acme", "--json").stdout)["tenant_id"] == ID
    assert empla("tenants", "list").stdout.splitlines()[1].split() == ["acme", ID, "paused"]
    [found] = json.loads(empla("tenants", "list", "--json").stdout)
    assert found["paused"]


def test_audit(peer: Any, empla: Fixture) -> None:
    entry = control_pb2.AuditEntry(actor="bo", action="employee.create", subject=ID, tenant="acme")
    ParseDict({"name": "ada\x1b[2J"}, entry.detail)
    peer.answers["ListAudit"] = control_pb2.ListAuditResponse(entries=[entry])
    line = empla("audit", "--tenant", "acme", "--limit", "7").stdout.splitlines()[1]
    assert line.split()[:4] == ["bo", "employee.create", ID, "acme"]
    assert "\x1b" not in line
    assert (peer.last.request.tenant, peer.last.request.page_size) == ("acme", 7)
    [found] = json.loads(empla("audit", "--json").stdout)
    assert found["detail"]["name"] == "ada\x1b[2J"
