"""Each RPC, found by reflection, refuses whoever must not call it, and changes nothing then."""

from typing import Any
from uuid import UUID

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from controlplane.auth import SCOPES, Tokens, new_secret, required_scope
from controlplane.gateway import credential
from controlplane.settings import Settings
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import control_pb2, gateway_pb2  # noqa: F401 - their descriptors are what reflection names
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.deeds import (
    CONTROL,
    DEEDS,
    Stage,
    call,
    everything,
    is_served,
    issued,
    name_of,
    staged,
)
from tests.integration.controlplane.seats import Seat, launched, seat

OPEN = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
OF_ONE = {"ListCycles", "ListBeliefs", "ListFiles", "ListRoutingRules"}
"""Lists that there are of one employee or channel only."""
NAMED = (
    "employee",
    "message_id",
    "schedule_id",
    "review_id",
    "goal_id",
    "channel_id",
    "rule_id",
    "token_id",
    "sidecar_id",
)
"""Fields that name one thing of one tenant."""


@pytest.fixture
def plane_settings(plane_settings: Settings) -> Settings:
    """Many wrong tokens come from here, and nothing changes by itself."""
    return plane_settings.model_copy(update={"wrong_tokens_per_minute": 1_000_000})


async def reflected_methods(channel: grpc.aio.Channel) -> list[Any]:
    """Every method of every service that is served and not open to all."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    names = [
        s.name async for answer in stub.ServerReflectionInfo(iter(asked)) for s in answer.list_services_response.service
    ]
    assert set(names) > OPEN
    pool = descriptor_pool.Default()
    return [m for name in names if name not in OPEN for m in pool.FindServiceByName(name).methods]


async def code_of(
    channel: grpc.aio.Channel, method: Any, token: str | None, request: Message | None = None
) -> grpc.StatusCode:
    try:
        await call(channel, method, request, token)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_each_rpc_refuses_whoever_must_not_call_it_and_changes_nothing(plane: Plane):
    stage = await staged(plane)
    bad = await bad_tokens(stage)
    low = {scope: (await issued(plane.pool, scope, scope))[1] for scope in ("read", "operate")}
    async with grpc.aio.insecure_channel(plane.running.grpc_address) as channel:
        methods = await reflected_methods(channel)
        assert len(methods) > 40
        before = await everything(plane.pool)
        for method in methods:
            request = DEEDS[method.name](stage) if method.name in DEEDS else None
            for why, token in bad.items():
                code = await code_of(channel, method, token, request)
                assert code is grpc.StatusCode.UNAUTHENTICATED, (method.full_name, why, code)
            if method.containing_service.full_name != CONTROL:
                assert await code_of(channel, method, plane.token) is grpc.StatusCode.UNAUTHENTICATED
                continue
            needed = required_scope(name_of(method))
            assert needed != control_pb2.SCOPE_UNSPECIFIED, f"{method.name} names no scope"
            code = await code_of(channel, method, valid_credential(stage.seat), request)
            assert code is grpc.StatusCode.UNAUTHENTICATED, (method.name, "an employee's", code)
            for scope, token in low.items():
                if SCOPES[scope] < needed:
                    code = await code_of(channel, method, token, request)
                    assert code is grpc.StatusCode.PERMISSION_DENIED, (method.name, scope, code)
        assert await everything(plane.pool) == before


async def bad_tokens(stage: Stage) -> dict[str, str | None]:
    """What lets nobody in anywhere."""
    pool, other = stage.plane.pool, await seat(stage.plane, "bob")
    return {
        "none": None,
        "empty": "",
        "wrong": "wrong",
        "no credential": "a:b:c",
        "of nobody": f"{new_id()}:1:x",
        "expired": (await issued(pool, "old", "admin", valid_seconds=-1))[1],
        "revoked": (await issued(pool, "gone", "admin", revoked=True))[1],
        "another's secret": credential(stage.seat.employee_id, stage.seat.epoch, other.secret),
        "a launch to come": credential(stage.seat.employee_id, stage.seat.epoch + 1, stage.seat.secret),
    }


def valid_credential(seat: Seat) -> str:
    return credential(seat.employee_id, seat.epoch, seat.secret)


async def test_an_earlier_launch_may_do_nothing_any_more(plane: Plane):
    earlier = await seat(plane)
    await launched(plane, earlier.employee_id)
    async with grpc.aio.insecure_channel(plane.running.grpc_address) as channel:
        methods = [m for m in await reflected_methods(channel) if m.containing_service.name == "EmployeeGateway"]
        assert len(methods) >= 5
        for method in methods:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, method, None, valid_credential(earlier))
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION, method.name
            assert rpc.reason_of(refused.value) == "SUPERSEDED"


async def test_a_new_operator_token_replaces_the_one_before(plane: Plane):
    tokens, secret, other = Tokens(plane.pool), new_secret(), new_secret()
    await tokens.ensure("somebody", other, "read")
    await tokens.ensure("local operator", secret, "admin")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plane.stub.GetOverview(control_pb2.GetOverviewRequest(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    await tokens.ensure("local operator", secret, "admin")  # at every further start
    assert [(await tokens.authenticate(token)).name for token in (secret, other)] == ["local operator", "somebody"]


async def test_a_tenants_token_reaches_nothing_of_another_tenant(plane: Plane):
    """Each RPC is asked for each thing that it can be asked for, of a tenant whose token it is not."""
    stage = await staged(plane)
    other = await plane.running.employees.ensure_tenant("other")
    _, secret = await issued(plane.pool, "other", "admin", other)
    before, asked = await everything(plane.pool), set()
    async with grpc.aio.insecure_channel(plane.running.grpc_address) as channel:
        for method in await reflected_methods(channel):
            if method.containing_service.full_name != CONTROL or not is_served(method):
                continue
            for name, request in foreign_requests(method, stage):
                asked.add(name)
                code = await code_of(channel, method, secret, request)
                wanted = grpc.StatusCode.PERMISSION_DENIED if name == "tenant" else grpc.StatusCode.NOT_FOUND
                assert code is wanted, (method.name, name, code)
            if method.name.startswith(("List", "GetOverview")) and method.name not in OF_ONE:
                found = await call(channel, method, None, secret)
                assert found is not None
                seen = found.SerializeToString()
                assert not [kind for kind, id_ in stage.ids.items() if id_.encode() in seen], method.name
    assert asked >= {*NAMED, "tenant"}
    assert await everything(plane.pool) == before


def foreign_requests(method: Any, stage: Stage) -> list[tuple[str, Message]]:
    """For each field of the request that names something: the field, and a request that names that of `stage`."""
    requests = []
    base = DEEDS[method.name](stage) if method.name in DEEDS else GetMessageClass(method.input_type)()
    for part in ("", *(f.name for f in base.DESCRIPTOR.fields if f.name in ("goal", "schedule", "rule"))):
        fields = (getattr(base, part) if part else base).DESCRIPTOR.fields_by_name
        for name in (*NAMED, "tenant"):
            if name in fields:
                request = type(base).FromString(base.SerializeToString())
                about: Any = getattr(request, part) if part else request
                setattr(about, name, "default" if name == "tenant" else stage.ids[name])
                requests.append((name, request))
    return requests


async def test_names_lead_to_nothing_of_another_tenant_either(plane: Plane):
    await plane.stub.CreateEmployee(control_pb2.CreateEmployeeRequest(name="ours", profile_name="sales-ae"), timeout=10)
    other: UUID = await plane.running.employees.ensure_tenant("other")
    _, secret = await issued(plane.pool, "other", "admin", other)
    async with rpc.dialing(plane.running.grpc_address, secret) as channel:
        stub: Any = type(plane.stub)(channel)
        codes = []
        for name in ("ours", "default/ours", "nowhere/ours"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetEmployee(control_pb2.GetEmployeeRequest(employee=name), timeout=10)
            codes.append(refused.value.code())
    hidden = grpc.StatusCode.PERMISSION_DENIED
    assert codes == [grpc.StatusCode.NOT_FOUND, hidden, hidden]
