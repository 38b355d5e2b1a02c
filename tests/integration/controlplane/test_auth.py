"""Each RPC, found by reflection, refuses whoever must not call it."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from controlplane.auth import SCOPES, Tokens, hashed, new_secret, required_scope
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import control_pb2, gateway_pb2  # noqa: F401 - their descriptors are what reflection names
from tests.integration.controlplane.conftest import Plane

OPEN = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


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


async def code_of(channel: grpc.aio.Channel, method: Any, token: str | None) -> grpc.StatusCode:
    """What a call with an empty request comes to."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    shape = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(shape)
    kind = f"{'stream' if shape.client_streaming else 'unary'}_{'stream' if shape.server_streaming else 'unary'}"
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = getattr(channel, kind)(
        path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    try:
        answer = call(iter([request()]) if shape.client_streaming else request(), metadata=metadata, timeout=5)
        if shape.server_streaming:
            async for _ in answer:
                break
        else:
            await answer
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_no_rpc_answers_without_a_good_token(plane: Plane):
    expired, revoked = new_secret(), new_secret()
    await plane.pool.execute(
        "INSERT INTO operator_tokens (token_id, name, secret_hash, scope, expires_at, revoked_at) "
        "VALUES ($1, 'old', $2, 'admin', now() - interval '1 second', NULL), ($3, 'gone', $4, 'admin', NULL, now())",
        new_id(), hashed(expired), new_id(), hashed(revoked),
    )  # fmt: skip
    async with grpc.aio.insecure_channel(plane.running.grpc_address) as channel:
        methods = await reflected_methods(channel)
        assert len(methods) > 40
        for method in methods:
            for token in (None, "", "wrong", "a:b:c", f"{new_id()}:1:x", expired, revoked):
                code = await code_of(channel, method, token)
                assert code is grpc.StatusCode.UNAUTHENTICATED, (method.full_name, token, code)


async def test_a_new_operator_token_replaces_the_one_before(plane: Plane):
    tokens, secret, other = Tokens(plane.pool), new_secret(), new_secret()
    await tokens.ensure("somebody", other, "read")
    await tokens.ensure("local operator", secret, "admin")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plane.stub.GetOverview(control_pb2.GetOverviewRequest(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    await tokens.ensure("local operator", secret, "admin")  # at every further start
    assert [(await tokens.authenticate(token)).name for token in (secret, other)] == ["local operator", "somebody"]


async def test_an_operators_token_does_not_open_the_employees_gateway(plane: Plane):
    async with grpc.aio.insecure_channel(plane.running.grpc_address) as channel:
        for method in await reflected_methods(channel):
            if method.containing_service.name == "EmployeeGateway":
                assert await code_of(channel, method, plane.token) is grpc.StatusCode.UNAUTHENTICATED


async def test_each_rpc_asks_for_its_scope(plane: Plane):
    tokens = {scope: new_secret() for scope in SCOPES}
    for scope, secret in tokens.items():
        await plane.pool.execute(
            "INSERT INTO operator_tokens (token_id, name, secret_hash, scope) VALUES ($1, $2, $3, $2)",
            new_id(), scope, hashed(secret),
        )  # fmt: skip
    async with grpc.aio.insecure_channel(plane.running.grpc_address) as channel:
        for method in await reflected_methods(channel):
            if method.containing_service.name != "ControlPlane":
                continue
            needed = required_scope(f"/{method.containing_service.full_name}/{method.name}")
            assert needed != control_pb2.SCOPE_UNSPECIFIED, f"{method.name} names no scope"
            for scope, secret in tokens.items():
                code = await code_of(channel, method, secret)
                refused = code is grpc.StatusCode.PERMISSION_DENIED
                assert refused == (SCOPES[scope] < needed), (method.name, scope, code)


async def test_a_tenants_token_reaches_nothing_of_another_tenant(plane: Plane):
    await plane.stub.CreateEmployee(control_pb2.CreateEmployeeRequest(name="ours", profile_name="sales-ae"), timeout=10)
    ours = await plane.stub.SendMessage(control_pb2.SendMessageRequest(employee="ours", text="hello"), timeout=10)
    secret = new_secret()
    tenant_id = await plane.running.employees.ensure_tenant("other")
    await plane.pool.execute(
        "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope) VALUES ($1, $2, 'other', $3, 'admin')",
        new_id(), tenant_id, hashed(secret),
    )  # fmt: skip
    async with rpc.dialing(plane.running.grpc_address, secret) as channel:
        stub = type(plane.stub)(channel)
        for call, request in (
            (stub.GetEmployee, control_pb2.GetEmployeeRequest(employee="ours")),
            (stub.GetEmployee, control_pb2.GetEmployeeRequest(employee=ours.employee_id)),
            (stub.GetEmployee, control_pb2.GetEmployeeRequest(employee="default/ours")),
            (stub.StopEmployee, control_pb2.StopEmployeeRequest(employee=ours.employee_id)),
            (stub.SendMessage, control_pb2.SendMessageRequest(employee=ours.employee_id, text="x")),
            (stub.GetMessage, control_pb2.GetMessageRequest(message_id=ours.message_id)),
            (stub.ListMessages, control_pb2.ListMessagesRequest(employee=ours.employee_id)),
            (
                stub.CreateEmployee,
                control_pb2.CreateEmployeeRequest(name="x", tenant="default", profile_name="sales-ae"),
            ),
            (stub.ListChannels, control_pb2.ListChannelsRequest(tenant="default")),
            (stub.GetOverview, control_pb2.GetOverviewRequest(tenant="default")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(request, timeout=10)
            assert refused.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED), request
        everything = await asyncio.gather(
            stub.ListEmployees(control_pb2.ListEmployeesRequest(), timeout=10),
            stub.ListMessages(control_pb2.ListMessagesRequest(), timeout=10),
            stub.ListReviews(control_pb2.ListReviewsRequest(), timeout=10),
        )
    assert [len(next(iter(answer.ListFields()), (None, ()))[1]) for answer in everything] == [0, 0, 0]
