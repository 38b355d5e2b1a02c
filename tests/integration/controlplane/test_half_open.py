"""A network that is gone without a goodbye, between employee and control plane: each side notices, and nothing is lost."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agent.gateway import GrpcGateway
from agent.identity import Identity
from controlplane.gateway import credential
from controlplane.settings import Settings
from empla.v1 import control_pb2
from empla.v1 import gateway_pb2 as pb
from tests.cable import cabled
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.seats import seat

NOTICED_SECONDS = 60
"""Many times the 15 s after which HTTP/2 gives a silent connection up."""


@pytest.fixture
def plane_settings(short_directory: Path) -> Settings:
    return Settings(
        home=short_directory / "home",
        grpc_address=f"unix:{short_directory}/grpc",
        http_address="127.0.0.1:0",
        heartbeat_ms=500,
        drain_seconds=2,
        model_provider="offline",
    )


async def test_both_ends_of_a_stream_notice_and_what_was_not_claimed_is_delivered_again(
    plane: Plane, short_directory: Path
) -> None:
    ada = await seat(plane)
    identity = Identity(ada.employee_id, await _tenant(plane), ada.epoch)
    async with cabled(str(short_directory / "cable"), plane.settings.grpc_address.removeprefix("unix:")) as cable:
        token = credential(ada.employee_id, ada.epoch, ada.secret)
        frames: Any = GrpcGateway(f"unix:{cable.place}", token, identity, build="tests", pid=1).frames()
        assert (await _next(frames)).HasField("welcome")
        first = await _send(plane, ada.employee_id)
        assert (await _next(frames)).deliver.message_id == first
        cable.freeze()
        second, before = await _send(plane, ada.employee_id), cable.connections
        waiting = asyncio.ensure_future(anext(frames))
        async with asyncio.timeout(NOTICED_SECONDS):
            while await _attached(plane) or cable.connections == before:
                await asyncio.sleep(0.05)
        assert not waiting.done()
        cable.thaw()
        async with asyncio.timeout(NOTICED_SECONDS):
            assert (await waiting).HasField("welcome")
        again = [(await _next(frames)).deliver.message_id for _ in range(2)]
        assert again == [first, second]
        third = await _send(plane, ada.employee_id)
        assert (await _next(frames)).deliver.message_id == third  # neither of them comes twice
        await frames.aclose()


async def _next(frames: Any) -> pb.ControlFrame:
    async with asyncio.timeout(20):
        frame: pb.ControlFrame = await anext(frames)
    return frame


async def _send(plane: Plane, employee_id: UUID) -> str:
    request = control_pb2.SendMessageRequest(employee=str(employee_id), text="Hello?")
    message: control_pb2.Message = await plane.stub.SendMessage(request, timeout=10)
    return message.message_id


async def _attached(plane: Plane) -> bool:
    found = await plane.stub.GetEmployee(control_pb2.GetEmployeeRequest(employee="ada"), timeout=10)
    return bool(found.observed_state == control_pb2.OBSERVED_STATE_ATTACHED)


async def _tenant(plane: Plane) -> UUID:
    tenant_id: UUID = await plane.pool.fetchval("SELECT tenant_id FROM tenants WHERE name = 'default'")
    return tenant_id
