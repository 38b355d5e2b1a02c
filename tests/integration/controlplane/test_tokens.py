"""Tokens over the real API: how far each may reach, and that none outlives its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane import auth
from controlplane.auth import Tokens, new_secret
from controlplane.errors import AnotherHome, Unauthenticated
from controlplane.server import control_plane
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import gateway_pb2
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.deeds import issued
from tests.integration.controlplane.seats import seat

READ, OPERATE, ADMIN = pb.SCOPE_READ, pb.SCOPE_OPERATE, pb.SCOPE_ADMIN


@asynccontextmanager
async def with_token(plane: Plane, secret: str) -> AsyncIterator[Any]:
    async with rpc.dialing(plane.running.grpc_address, secret) as channel:
        yield type(plane.stub)(channel)


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), rpc.reason_of(error.value)


async def test_a_token_reaches_no_further_than_who_made_it(plane: Plane):
    await plane.stub.CreateTenant(pb.CreateTenantRequest(name="acme"), timeout=10)
    made = await plane.stub.CreateToken(
        pb.CreateTokenRequest(name="acme admin", tenant="acme", scope=ADMIN, valid_days=1), timeout=10
    )
    assert (made.token.tenant, made.token.scope, made.secret[:6]) == ("acme", ADMIN, "empla_")
    narrow = (grpc.StatusCode.PERMISSION_DENIED, "TENANT_TOO_NARROW")
    async with with_token(plane, made.secret) as acme:
        wide = pb.CreateTokenRequest(name="x", scope=READ, every_tenant=True)
        assert await refused(acme.CreateToken(wide, timeout=10)) == narrow
        assert await refused(acme.CreateTenant(pb.CreateTenantRequest(name="more"), timeout=10)) == narrow
        foreign = pb.CreateTokenRequest(name="x", scope=READ, tenant="default")
        assert await refused(acme.CreateToken(foreign, timeout=10)) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "OTHER_TENANT",
        )
        own = await acme.CreateToken(pb.CreateTokenRequest(name="bo", scope=OPERATE, valid_days=90), timeout=10)
        assert (own.token.tenant, own.token.expires_at) == ("acme", made.token.expires_at)
        assert [one.name for one in (await acme.ListTenants(pb.ListTenantsRequest(), timeout=10)).tenants] == ["acme"]
        listed = await acme.ListTokens(pb.ListTokensRequest(), timeout=10)
        assert [one.name for one in listed.tokens] == ["acme admin", "bo"]
    async with with_token(plane, own.secret) as bo:
        await bo.ListEmployees(pb.ListEmployeesRequest(), timeout=10)
        assert (await refused(bo.ListTokens(pb.ListTokensRequest(), timeout=10)))[1] == "SCOPE_TOO_LOW"
        with pytest.raises(grpc.aio.AioRpcError, match="this needs the scope admin"):
            await bo.ListTokens(pb.ListTokensRequest(), timeout=10)


async def test_what_a_token_may_not_be(plane: Plane):
    good = pb.CreateTokenRequest(name="ada", scope=READ)
    first = await plane.stub.CreateToken(good, timeout=10)
    assert first.token.tenant == "default"  # whoever names no tenant does not mean all
    for wrong, code in (
        (good, grpc.StatusCode.ALREADY_EXISTS),
        (pb.CreateTokenRequest(name="x"), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CreateTokenRequest(name="", scope=READ), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CreateTokenRequest(name="profile", scope=READ), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CreateTokenRequest(name="x" * 101, scope=READ), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CreateTokenRequest(name="a\nb", scope=READ), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CreateTokenRequest(name="x", scope=READ, valid_days=40_000), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CreateTokenRequest(name="x", scope=READ, tenant="nowhere"), grpc.StatusCode.NOT_FOUND),
    ):
        assert (await refused(plane.stub.CreateToken(wrong, timeout=10)))[0] is code, wrong
    revoke = pb.RevokeTokenRequest(token_id=first.token.token_id)
    once, twice = [await plane.stub.RevokeToken(revoke, timeout=10) for _ in range(2)]
    assert once == twice
    await plane.stub.CreateToken(good, timeout=10)  # its name is free
    unknown = pb.RevokeTokenRequest(token_id=str(new_id()))
    assert (await refused(plane.stub.RevokeToken(unknown, timeout=10)))[1] == "TOKEN_UNKNOWN"
    kept = await plane.pool.fetchval(
        "SELECT count(*) FROM operator_tokens o WHERE strpos(o::text, $1) > 0", first.secret
    )
    assert kept == 0


async def test_lists_come_in_pages(plane: Plane):
    for number in range(3):
        await plane.stub.CreateToken(pb.CreateTokenRequest(name=f"t{number}", scope=READ), timeout=10)
        await plane.stub.CreateTenant(pb.CreateTenantRequest(name=f"acme-{number}"), timeout=10)
    await issued(plane.pool, "old", "read", valid_seconds=-1)
    assert [one.name for one in await all_of(plane.stub.ListTokens, pb.ListTokensRequest(page_size=2), "tokens")] == [
        "local operator", "t0", "t1", "t2",
    ]  # fmt: skip
    everything = pb.ListTokensRequest(page_size=2, include_ended=True)
    assert [one.name for one in await all_of(plane.stub.ListTokens, everything, "tokens")][-1] == "old"
    tenants = await all_of(plane.stub.ListTenants, pb.ListTenantsRequest(page_size=2), "tenants")
    assert [one.name for one in tenants] == ["acme-0", "acme-1", "acme-2", "default"]


async def all_of(call: Any, request: Any, field: str) -> list[Any]:
    found: list[Any] = []
    while True:
        answer = await call(request, timeout=10)
        found += getattr(answer, field)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_a_revoked_token_ends_what_it_has_open(plane: Plane):
    """Here at once, even before a look at the table; and its own revocation is still answered."""
    await seat(plane)
    made = await plane.stub.CreateToken(pb.CreateTokenRequest(name="bo", scope=ADMIN), timeout=10)
    async with with_token(plane, made.secret) as bo, asyncio.timeout(20):
        open_ones = [asyncio.create_task(ended(bo, call)) for call in ("TailLogs", "WatchEmployees", "Converse")]
        await asyncio.gather(*(told_once(bo) for _ in range(2)))
        answer = await bo.RevokeToken(pb.RevokeTokenRequest(token_id=made.token.token_id), timeout=10)
        assert answer.HasField("revoked_at")
        assert await asyncio.gather(*open_ones) == [(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")] * 3
        assert (await refused(bo.ListEmployees(pb.ListEmployeesRequest(), timeout=10)))[1] == "TOKEN_INVALID"


async def test_what_another_control_plane_revokes_or_time_ends_goes_as_well(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(auth, "LOOK_SECONDS", 0.1)
    await asyncio.sleep(2.1)  # for the round that still waits for the usual time
    await seat(plane)
    revoked_id, revoked = await issued(plane.pool, "bo", "admin")
    _, short = await issued(plane.pool, "cy", "admin", valid_seconds=3)
    async with with_token(plane, revoked) as bo, with_token(plane, short) as cy, asyncio.timeout(30):
        open_ones = [asyncio.create_task(ended(bo)), asyncio.create_task(ended(cy))]
        await told_once(bo)
        await plane.pool.execute("UPDATE operator_tokens SET revoked_at = now() WHERE token_id = $1", revoked_id)
        assert await asyncio.gather(*open_ones) == [(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")] * 2


async def ended(stub: Any, call: str = "TailLogs") -> tuple[grpc.StatusCode, str]:
    """How a stream that goes on by itself ends."""
    requests = {
        "TailLogs": pb.TailLogsRequest(employee="ada", follow=True),
        "WatchEmployees": pb.WatchEmployeesRequest(),
        "Converse": pb.ConverseRequest(employee="ada", text="nobody answers"),
    }
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in getattr(stub, call)(requests[call]):
            pass
    return error.value.code(), rpc.reason_of(error.value)


async def told_once(stub: Any) -> None:
    """Wait until calls that began before have been taken."""
    await stub.ListEmployees(pb.ListEmployeesRequest(), timeout=10)


async def test_no_start_brings_a_revoked_token_back(plane: Plane):
    tokens, secret = Tokens(plane.pool), new_secret()
    await tokens.ensure("somebody", secret, "admin")
    await plane.pool.execute("UPDATE operator_tokens SET revoked_at = now() WHERE name = 'somebody'")
    with pytest.raises(Unauthenticated, match="remove its file"):
        await tokens.ensure("somebody", secret, "admin")
    await tokens.ensure("somebody", valid := new_secret(), "admin")
    with pytest.raises(Unauthenticated, match="remove its file"):
        await tokens.ensure("somebody", secret, "admin")
    await tokens.authenticate(valid)  # what is refused changes nothing


async def test_one_that_is_refused_for_its_home_takes_nobodys_token(plane: Plane, short_directory: Path):
    settings = plane.settings.model_copy(
        update={"home": short_directory / "other", "grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    )
    with pytest.raises(ExceptionGroup) as refusal:
        async with control_plane(settings, plane.dsn, new_secret()):
            pytest.fail("it serves")
    assert refusal.group_contains(AnotherHome)
    await plane.stub.ListEmployees(pb.ListEmployeesRequest(), timeout=10)


async def test_wrong_tokens_are_told_to_wait_and_right_ones_get_in_from_there(plane: Plane):
    """Operators' tokens and employees' credentials, of which this machine has many."""
    ada = await seat(plane)
    async with with_token(plane, "wrong") as nobody:
        answers = [await refused(nobody.ListEmployees(pb.ListEmployeesRequest(), timeout=10)) for _ in range(61)]
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await nobody.ListEmployees(pb.ListEmployeesRequest(), timeout=10)
    assert answers[:60] == [(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")] * 60
    assert answers[60] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WRONG_TOKENS")
    wait = rpc.retry_after_of(told.value)
    assert wait is not None
    assert 0 < wait <= 60
    await plane.stub.ListEmployees(pb.ListEmployeesRequest(), timeout=10)
    async with ada.gateway() as gateway:
        await gateway.ReleaseSidecar(gateway_pb2.ReleaseSidecarRequest(sidecar_id=str(new_id())), timeout=10)
