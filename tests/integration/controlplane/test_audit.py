"""Whatever an operator changes is told by the audit log, with who did it and with which token."""

from typing import Any

import grpc
import grpc.aio
import pytest

from empla.v1 import control_pb2 as pb
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.deeds import CONTROL, DEEDS, call, changes, is_served, issued, staged
from tests.integration.controlplane.test_auth import reflected_methods


async def test_every_rpc_that_changes_something_leaves_an_entry(plane: Plane):
    """A new RPC is missed here until `DEEDS` has a request for it."""
    stage = await staged(plane)
    token_id, secret = await issued(plane.pool, "grace", "admin")
    entries = "SELECT * FROM audit_log WHERE token_id = $1 AND actor = 'grace'"
    async with grpc.aio.insecure_channel(plane.running.grpc_address) as channel:
        methods = {m.name: m for m in await reflected_methods(channel) if m.containing_service.full_name == CONTROL}
        assert {name for name, method in methods.items() if changes(method) and is_served(method)} == set(DEEDS)
        known = 0
        for name, request in DEEDS.items():
            await call(channel, methods[name], request(stage), secret)
            found = await plane.pool.fetch(entries, token_id)
            assert len(found) > known, f"{name} left no entry"
            known = len(found)
    assert all(row["tenant_id"] for row in found)
    told = await pages(plane, 7)
    assert len({entry.action for entry in told}) >= len(DEEDS)
    assert {entry.token_id for entry in told if entry.actor == "grace"} == {str(token_id)}


async def pages(plane: Plane, size: int) -> list[pb.AuditEntry]:
    """All entries, page by page: each once, the newest first."""
    entries: list[Any] = []
    request = pb.ListAuditRequest(page_size=size)
    while True:
        answer = await plane.stub.ListAudit(request, timeout=10)
        entries += answer.entries
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert len(entries) == await plane.pool.fetchval("SELECT count(*) FROM audit_log")
    times = [entry.occurred_at.ToNanoseconds() for entry in entries]
    assert times == sorted(times, reverse=True)
    return entries


async def test_what_is_refused_is_not_told(plane: Plane):
    await plane.stub.CreateTenant(pb.CreateTenantRequest(name="acme"), timeout=10)
    before = await plane.pool.fetchval("SELECT count(*) FROM audit_log")
    for call_, request in (
        (plane.stub.CreateTenant, pb.CreateTenantRequest(name="acme")),
        (plane.stub.CreateTenant, pb.CreateTenantRequest(name="Not a name")),
        (plane.stub.CreateToken, pb.CreateTokenRequest(name="x")),
        (plane.stub.CreateEmployee, pb.CreateEmployeeRequest(name="x", profile_name="nobody")),
        (plane.stub.CreateChannel, pb.CreateChannelRequest(name="Not a name")),
        (plane.stub.ListAudit, pb.ListAuditRequest(page_token="9" * 30)),
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await call_(request, timeout=10)
    assert await plane.pool.fetchval("SELECT count(*) FROM audit_log") == before
