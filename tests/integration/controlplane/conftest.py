"""A whole control plane in this process, over a database of the test's own and real employee processes."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from controlplane.auth import new_secret
from controlplane.server import Running, control_plane
from controlplane.settings import Settings
from empla import rpc
from empla.store.connect import Pool
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.conftest import Database


@dataclass
class Plane:
    """A control plane that serves, and how to reach it as its first operator."""

    settings: Settings
    dsn: str
    running: Running
    token: str
    channel: grpc.aio.Channel
    pool: Pool

    @property
    def stub(self) -> Any:
        return control_pb2_grpc.ControlPlaneStub(self.channel)

    async def attached(self, name: str = "sales-ae") -> pb.Employee:
        """Create an employee and wait until it is attached."""
        create = pb.CreateEmployeeRequest(name=name, profile_name="sales-ae", start=True)
        await self.stub.CreateEmployee(create, timeout=10)
        request = pb.RestartEmployeeRequest(employee=name, drain_seconds=1)
        employee: pb.Employee = await self.stub.RestartEmployee(request, timeout=60)
        return employee


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(settings: Settings, dsn: str, token: str, pool: Pool) -> AsyncIterator[Plane]:
    async with control_plane(settings, dsn, token) as running, rpc.dialing(running.grpc_address, token) as channel:
        yield Plane(settings, dsn, running, token, channel, pool)


@pytest.fixture
def plane_settings(short_directory: Path) -> Settings:
    return Settings(
        home=short_directory / "home",
        grpc_address=f"127.0.0.1:{free_port()}",
        http_address="127.0.0.1:0",
        heartbeat_ms=500,
        drain_seconds=2,
        model_provider="offline",
        sidecars_warm=0,  # to begin what they are forked from takes longer than most tests
    )


@pytest.fixture
async def plane(plane_settings: Settings, database: Database) -> AsyncIterator[Plane]:
    async with database.connect() as pool, serving(plane_settings, database.dsn, new_secret(), pool) as plane:
        try:
            yield plane
        finally:
            await plane.running.lifecycle.stop_all()
            await plane.running.launcher.stop()
