"""Launches of employees whose processes are the test's, and the sidecars they get."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from controlplane.auth import hashed, new_secret
from controlplane.employees import SQL as EMPLOYEES_SQL
from controlplane.gateway import credential
from controlplane.launchers.volumes import Volumes
from controlplane.launchers.workspaces import Workspaces
from empla import rpc
from empla.v1 import control_pb2, gateway_pb2_grpc
from empla.v1 import gateway_pb2 as pb
from tests.integration.controlplane.conftest import Plane
from workstation.interface import EndReason, ExecSpec
from workstation.remote.dialing import RemoteWorkstation, dialing

COMPUTE = control_pb2.SIDECAR_KIND_COMPUTE


@dataclass
class Seat:
    """One launch of an employee."""

    plane: Plane
    employee_id: UUID
    epoch: int
    secret: str
    owner: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Any]:
        token = credential(self.employee_id, self.epoch, self.secret)
        async with rpc.dialing(self.plane.running.grpc_address, token) as channel:
            yield gateway_pb2_grpc.EmployeeGatewayStub(channel)

    async def acquire(self, **wanted: Any) -> pb.SidecarLease:
        async with self.gateway() as gateway:
            request = pb.AcquireSidecarRequest(**{"kind": COMPUTE, "memory_bytes": 256 << 20} | wanted)
            lease: pb.SidecarLease = await gateway.AcquireSidecar(request, timeout=60)
            return lease

    async def renew(self, lease: pb.SidecarLease) -> pb.SidecarLease:
        async with self.gateway() as gateway:
            renewed: pb.SidecarLease = await gateway.RenewSidecar(
                pb.RenewSidecarRequest(sidecar_id=lease.sidecar_id), timeout=20
            )
            return renewed

    async def release(self, lease: pb.SidecarLease) -> None:
        async with self.gateway() as gateway:
            await gateway.ReleaseSidecar(pb.ReleaseSidecarRequest(sidecar_id=lease.sidecar_id), timeout=20)

    async def again(self) -> "Seat":
        return await launched(self.plane, self.employee_id)


async def seat(plane: Plane, name: str = "ada") -> Seat:
    """An employee that no process is started for, with a workspace."""
    create = control_pb2.CreateEmployeeRequest(name=name, profile_name="sales-ae", start=False)
    employee_id = UUID((await plane.stub.CreateEmployee(create, timeout=10)).employee_id)
    settings = plane.settings
    await Workspaces(settings.workspaces, Volumes(settings.volumes, None, None)).prepare(employee_id)
    return await launched(plane, employee_id)


async def launched(plane: Plane, employee_id: UUID) -> Seat:
    secret = new_secret()
    epoch = await plane.pool.fetchval(EMPLOYEES_SQL.launch, employee_id, hashed(secret), "process")
    return Seat(plane, employee_id, epoch, secret)


async def owned(seat: Seat) -> asyncio.subprocess.Process:
    """Give the seat a process, which its sidecars end with."""
    owner = await asyncio.create_subprocess_exec("sleep", "300")
    stat = await asyncio.to_thread(Path(f"/proc/{owner.pid}/stat").read_text)
    identity = {"pid": owner.pid, "start_time": int(stat.rpartition(")")[2].split()[19])}
    await seat.plane.pool.execute(EMPLOYEES_SQL.launched, seat.employee_id, seat.epoch, identity)
    return owner


@asynccontextmanager
async def at(lease: pb.SidecarLease, token: str = "") -> AsyncIterator[RemoteWorkstation]:
    async with dialing(lease.address, token or lease.token, patience=5) as workstation:
        yield workstation


async def run(lease: pb.SidecarLease, *argv: str, exec_id: str = "x") -> None:
    """A program in the sidecar, from its start to its good end."""
    async with at(lease) as workstation:
        await workstation.compute.start(exec_id, ExecSpec(argv=argv))
        end = (await workstation.compute.wait(exec_id, timeout=30)).end
    assert end is not None
    assert (end.reason, end.exit_code) == (EndReason.EXITED, 0)


def place(lease: pb.SidecarLease) -> Path:
    """The directory of its socket."""
    return Path(lease.address.removeprefix("unix:")).parent


def groups(lease: pb.SidecarLease) -> list[Path]:
    """The directories of its control group."""
    return [Path(line) for line in (place(lease) / "groups").read_text().splitlines()]


async def rows(plane: Plane) -> list[control_pb2.Sidecar]:
    return list((await plane.stub.ListSidecars(control_pb2.ListSidecarsRequest(), timeout=10)).sidecars)


async def row(plane: Plane, lease: pb.SidecarLease) -> control_pb2.Sidecar:
    [found] = [item for item in await rows(plane) if item.sidecar_id == lease.sidecar_id]
    return found


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def held() -> list[int]:
    """The processes that this one has hold of, each as often as it has."""
    pids = []
    for number in os.listdir("/proc/self/fdinfo"):
        with suppress(FileNotFoundError):
            told = dict(line.split(":", 1) for line in Path("/proc/self/fdinfo", number).read_text().splitlines())
            pids.append(int(told.get("Pid", -1)))
    return [pid for pid in pids if pid > 0]  # -1 is one that is gone


def processes_in(directories: list[Path]) -> set[int]:
    """Who is in a control group or below it."""
    found: set[int] = set()
    for directory in directories:
        for procs in directory.rglob("cgroup.procs"):
            found |= set(map(int, procs.read_text().split()))
    return found


async def until(condition: Callable[[], Any], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.02)


def is_root() -> bool:
    return os.geteuid() == 0
