"""What probes are told: by HTTP of database and launcher, by gRPC of each service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane import readiness
from controlplane.readiness import Readiness
from empla import rpc
from empla.store.connect import Pool, connect
from tests.conftest import Database
from tests.integration.controlplane.test_lifecycle import ScriptedLauncher

CONTROL, GATEWAY = "empla.v1.ControlPlane", "empla.v1.EmployeeGateway"


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "LOOK_SECONDS", 0.02)


@asynccontextmanager
async def probed(pool: Pool) -> AsyncIterator[Any]:
    """A server whose services have nothing behind them, and a probe of it."""
    ready = Readiness(pool, ScriptedLauncher(), [CONTROL, GATEWAY])
    looking = asyncio.create_task(ready.run())
    try:
        async with (
            rpc.serving(
                "127.0.0.1:0", {}, authenticate=_nobody, translate=lambda _: None, status=ready.status
            ) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            yield health_pb2_grpc.HealthStub(channel)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _nobody(_: str, __: Any) -> object:
    return None


async def until_all_are(probe: Any, wanted: str) -> None:
    async with asyncio.timeout(20):
        for service in ("", CONTROL, GATEWAY):
            while await said(probe, service) != wanted:
                await asyncio.sleep(0.02)


async def said(probe: Any, service: str) -> str:
    try:
        answer = await probe.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def test_no_service_serves_without_its_database(short_directory: Path, database: Database):
    nowhere = f"postgresql://nobody:password@/empla?host={short_directory}"
    async with connect(nowhere, application_name="tests") as pool, probed(pool) as probe:
        await until_all_are(probe, "NOT_SERVING")
    async with database.connect() as pool, probed(pool) as probe:
        await until_all_are(probe, "SERVING")
        assert await said(probe, "empla.v1.Other") == "NOT_FOUND"


async def test_it_is_not_ready_while_its_own_database_has_no_room(
    database: Database, short_directory: Path, monkeypatch: pytest.MonkeyPatch
):
    async with database.connect() as pool:
        monkeypatch.setattr(readiness, "FULL_BYTES", 1 << 62)
        ours, another = (Readiness(pool, ScriptedLauncher(), home=home) for home in (short_directory, None))
        said = f"the disk of the database, below {short_directory}, is full: make room there"
        assert await ours.trouble() == ("DISK_FULL", said)
        assert await another.trouble() is None
        monkeypatch.setattr(readiness, "FULL_BYTES", 0)
        assert await ours.trouble() is None


async def test_it_is_not_ready_while_nobody_can_be_launched(database: Database):
    async with database.connect() as pool:
        launcher = ScriptedLauncher(deaf=1)
        ready = Readiness(pool, launcher)
        looking = asyncio.create_task(ready.run())
        async with asyncio.timeout(20):
            while launcher.deaf:
                await asyncio.sleep(0)
            while (trouble := await ready.trouble()) is None:
                await asyncio.sleep(0)
            assert trouble == ("LAUNCHER_UNAVAILABLE", "no employee can be launched: no answer")
            while await ready.trouble():
                await asyncio.sleep(0.01)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
