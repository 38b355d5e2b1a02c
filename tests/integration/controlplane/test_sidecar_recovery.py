"""What becomes of sidecars when the control plane is killed and comes back."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
import pytest

from controlplane.auth import new_secret
from controlplane.launchers.process import SIDECARS, ProcessLauncher
from controlplane.settings import Settings
from empla import rpc
from empla.store.connect import Pool
from empla.store.ids import new_id
from tests.conftest import Database
from tests.integration.controlplane import seats
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.seats import Seat, at, groups, lives, place, row, rows, until
from workstation.interface import ExecSpec

PROGRAM = """
import asyncio, sys
from controlplane.server import control_plane
from controlplane.settings import Settings

async def main():
    async with control_plane(Settings.model_validate_json(sys.argv[1]), *sys.argv[2:]):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@dataclass
class Killable:
    """A control plane in a process of its own, over and over."""

    settings: Settings
    dsn: str
    pool: Pool
    token: str = field(default_factory=new_secret)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        arguments = (self.settings.model_dump_json(), self.dsn, self.token)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert await asyncio.wait_for(self.process.stdout.readline(), 60) == b"ready\n"

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    @asynccontextmanager
    async def plane(self) -> AsyncIterator[Plane]:
        address = self.settings.grpc_address
        async with rpc.dialing(address, self.token) as channel:
            running: Any = SimpleNamespace(grpc_address=address)
            yield Plane(self.settings, self.dsn, running, self.token, channel, self.pool)


@pytest.fixture
async def killable(plane_settings: Settings, database: Database) -> AsyncIterator[Killable]:
    async with database.connect() as pool:
        control = Killable(plane_settings, database.dsn, pool)
        try:
            await control.start()
            yield control
        finally:
            await control.kill()
            run, log = plane_settings.home / "run", plane_settings.log_directory / "sidecars.log"
            await ProcessLauncher(run, log, SIDECARS).stop()


@pytest.fixture
async def seat(killable: Killable) -> AsyncIterator[Seat]:
    async with killable.plane() as plane:
        yield await seats.seat(plane)


async def pid_of(seat: Seat, lease: Any) -> int:
    return int((await row(seat.plane, lease)).pid)


async def test_a_live_lease_is_adopted_and_what_runs_goes_on(killable: Killable, seat: Seat):
    lease = await seat.acquire(idle_ttl_seconds=600)
    pid = await pid_of(seat, lease)
    async with at(lease) as workstation:
        await workstation.compute.start("long", ExecSpec(argv=("/bin/sleep", "300")))
        await killable.kill()
        assert (await workstation.compute.wait("long", timeout=0)).end is None
        await killable.start()
        renewed = await seat.renew(lease)
        assert renewed.expires_at.ToMilliseconds() > lease.expires_at.ToMilliseconds()
        assert (await workstation.compute.wait("long", timeout=0)).end is None
    assert await pid_of(seat, lease) == pid
    await seat.release(lease)
    await until(lambda: not lives(pid) and not place(lease).exists())


async def test_adopted_ones_take_room(killable: Killable, seat: Seat):
    for _ in range(killable.settings.sidecars_per_employee):
        await seat.acquire(idle_ttl_seconds=600)
    await killable.kill()
    killable.settings = killable.settings.model_copy(update={"sidecars_queue_seconds": 0.1})
    await killable.start()
    with pytest.raises(grpc.aio.AioRpcError, match="SIDECARS_PER_EMPLOYEE"):
        await seat.acquire()


@pytest.mark.parametrize("orphan", ["superseded", "off the record", "killed", "hung and expired", "another's process"])
async def test_what_nobody_may_use_any_more_is_found_and_ended(killable: Killable, seat: Seat, orphan: str):
    lease = await seat.acquire(idle_ttl_seconds=2 if orphan == "hung and expired" else 600)
    pid, sidecar_id = await pid_of(seat, lease), UUID(lease.sidecar_id)
    directories = await asyncio.to_thread(groups, lease)
    await killable.kill()
    match orphan:
        case "superseded":
            await seat.again()
        case "off the record":
            await killable.pool.execute("DELETE FROM sidecars WHERE sidecar_id = $1", sidecar_id)
        case "killed":
            os.kill(pid, signal.SIGKILL)
        case "hung and expired":
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(2)
        case _:
            other = {"pid": pid, "start_time": 1}
            await killable.pool.execute("UPDATE sidecars SET process = $2 WHERE sidecar_id = $1", sidecar_id, other)
    await killable.start()
    await until(lambda: not lives(pid) and not [d for d in (place(lease), *directories) if d.exists()])
    async with asyncio.timeout(5):
        while await rows(seat.plane):
            await asyncio.sleep(0.02)


async def test_a_directory_that_nobody_knows_is_removed(killable: Killable):
    await killable.kill()
    left = killable.settings.sidecars / new_id().hex
    left.mkdir()
    (left / "sock").touch()
    await killable.start()
    await until(lambda: not left.exists())
