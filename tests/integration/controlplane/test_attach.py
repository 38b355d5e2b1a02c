"""An employee that attaches while something about it changes."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from controlplane.auth import hashed, new_secret
from controlplane.employees import SQL, EmployeeRecord
from controlplane.gateway import credential
from empla import rpc
from empla.v1 import control_pb2, gateway_pb2_grpc
from empla.v1 import gateway_pb2 as pb
from tests.integration.controlplane.conftest import Plane


async def test_an_update_while_an_employee_attaches_reaches_it(plane: Plane, monkeypatch: pytest.MonkeyPatch):
    """The gateway has read the record, and an operator changes it before the employee has heard of it."""
    create = control_pb2.CreateEmployeeRequest(name="alone", profile_name="sales-ae")
    employee_id = UUID((await plane.stub.CreateEmployee(create, timeout=10)).employee_id)
    secret = new_secret()
    epoch = await plane.pool.fetchval(SQL.launch, employee_id, hashed(secret), "test")
    update = control_pb2.UpdateEmployeeRequest(employee="alone", autonomy=control_pb2.AUTONOMY_SHADOW)
    by_id, updated = plane.running.employees.by_id, False

    async def changed_meanwhile(employee_id: UUID) -> EmployeeRecord:
        nonlocal updated
        record = await by_id(employee_id)
        if not updated:
            updated = True
            await plane.stub.UpdateEmployee(update, timeout=10)
        return record

    monkeypatch.setattr(plane.running.employees, "by_id", changed_meanwhile)
    async with rpc.dialing(plane.running.grpc_address, credential(employee_id, epoch, secret)) as channel:
        call: Any = gateway_pb2_grpc.EmployeeGatewayStub(channel).Attach()
        await call.write(pb.AgentFrame(hello=pb.Hello(employee_id=str(employee_id), epoch=epoch)))
        async with asyncio.timeout(5):
            frames = [await call.read(), await call.read()]
        call.cancel()
    assert [frame.WhichOneof("frame") for frame in frames] == ["welcome", "configuration_changed"]
    assert frames[1].configuration_changed.configuration.autonomy == control_pb2.AUTONOMY_SHADOW
