"""Sidecars: from asking for one to the end of its first command, cold, kept warm, and a hundred at once; and their work."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.auth import new_secret
from controlplane.gateway import credential
from controlplane.launchers.volumes import Volumes
from controlplane.launchers.workspaces import Workspaces
from controlplane.server import control_plane
from controlplane.settings import Settings
from empla import rpc
from empla.store.connect import connect
from empla.store.embedded import EmbeddedPostgres
from empla.v1 import control_pb2, control_pb2_grpc, gateway_pb2_grpc
from empla.v1 import gateway_pb2 as pb
from loadtests import distant
from loadtests.database import hire, temporary_home
from loadtests.report import Figure, percentile
from loadtests.system import free_port
from workstation.interface import ExecSpec
from workstation.remote.dialing import dialing

MANY = 100
PAUSE_SECONDS = 0.4
"""Between two, so that what one leaves to be done does not slow the next."""
SPARE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many one after the other, and how many at once; and in one that is there: small work, and transfers."""

    turns: int
    many: int
    small: int
    transfers: int


FULL = Lengths(turns=30, many=MANY, small=2000, transfers=7)
QUICK = Lengths(turns=3, many=10, small=50, transfers=1)


@dataclass(frozen=True, slots=True)
class Site:
    """A control plane of this process, and an employee that asks it for sidecars."""

    gateway: Any
    control: Any

    async def acquired(self) -> pb.SidecarLease:
        wanted = pb.AcquireSidecarRequest(kind=control_pb2.SIDECAR_KIND_COMPUTE, idle_ttl_seconds=600)
        lease: pb.SidecarLease = await self.gateway.AcquireSidecar(wanted, timeout=120)
        return lease

    async def first_command(self) -> tuple[str, float]:
        """Acquire one and run `true`; returns its id and the milliseconds that took."""
        began = time.perf_counter()
        lease = await self.acquired()
        async with dialing(lease.address, lease.token, instance=lease.sidecar_id) as workstation:
            await workstation.compute.start("first", ExecSpec(argv=("/usr/bin/true",)))
            status = await workstation.compute.wait("first")
            taken = (time.perf_counter() - began) * 1000
        assert status.end is not None
        assert status.end.exit_code == 0
        return lease.sidecar_id, taken

    async def release(self, sidecar_id: str) -> None:
        await self.gateway.ReleaseSidecar(pb.ReleaseSidecarRequest(sidecar_id=sidecar_id), timeout=30)

    async def states(self) -> list[str]:
        listed = await self.control.ListSidecars(control_pb2.ListSidecarsRequest(), timeout=30)
        return [item.state for item in listed.sidecars]


async def measure(lengths: Lengths) -> list[Figure]:
    """The figures."""
    with temporary_home() as home:
        async with EmbeddedPostgres(home / "database") as server:
            async with _site(home / "cold", server.dsn, "cold", warm=0) as site:
                cold = await _in_turn(site, lengths.turns)
                at_once = await _at_once(site, lengths.many)
                inside = await _inside(site, lengths)
            async with _site(home / "warm", server.dsn, "warm", warm=1) as site:
                warm = await _in_turn(site, lengths.turns, spare=True)
    what = "sidecar acquired → first command done"
    return [
        Figure(f"{what}, cold, p50", percentile(cold, 50), "ms", target=60),
        Figure(f"{what}, cold, p99", percentile(cold, 99), "ms"),
        Figure(f"{what}, kept warm, p50", percentile(warm, 50), "ms", target=5),
        Figure(f"{what}, kept warm, p99", percentile(warm, 99), "ms"),
        Figure(f"{lengths.many} sidecars at once, cold, all done", at_once, "s", target=5),
        *inside,
    ]


async def _in_turn(site: Site, turns: int, *, spare: bool = False) -> list[float]:
    """One after the other; the first is left out, for it also waits for the warm parent."""
    times: list[float] = []
    for _ in range(turns + 1):
        if spare and times:
            await _spare_is_there(site)
        sidecar_id, taken = await site.first_command()
        times.append(taken)
        await site.release(sidecar_id)
        await asyncio.sleep(PAUSE_SECONDS)
    return times[1:]


async def _at_once(site: Site, count: int) -> float:
    """Seconds until each of `count` that were asked for together has done its first command."""
    began = time.perf_counter()
    several = await asyncio.gather(*(site.first_command() for _ in range(count)))
    seconds = time.perf_counter() - began
    for sidecar_id, _ in several:
        await site.release(sidecar_id)
    return seconds


async def _inside(site: Site, lengths: Lengths) -> list[Figure]:
    """The work of one that is there."""
    lease = await site.acquired()
    async with dialing(lease.address, lease.token, instance=lease.sidecar_id) as workstation:
        figures = await distant.measure(workstation, lengths.small, lengths.transfers)
    await site.release(lease.sidecar_id)
    return figures


async def _spare_is_there(site: Site) -> None:
    async with asyncio.timeout(SPARE_SECONDS):
        while "ready" not in await site.states():  # noqa: ASYNC110 - it is another process's news
            await asyncio.sleep(0.05)
    await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def _site(home: Path, dsn: str, name: str, *, warm: int) -> AsyncIterator[Site]:
    await asyncio.to_thread(home.mkdir, mode=0o711)
    settings = Settings(
        home=home,
        grpc_address=f"127.0.0.1:{free_port()}",
        http_address="127.0.0.1:0",
        model_provider="offline",
        sidecars_per_employee=2 * MANY,
        sidecars_per_tenant=2 * MANY,
        sidecars_per_host=2 * MANY,
        sidecars_warm=warm,
    )
    token = new_secret()
    async with control_plane(settings, dsn, token) as running, connect(dsn, application_name="bench") as pool:
        try:
            identity, _ = await hire(pool, dsn, name)
            await Workspaces(settings.workspaces, Volumes(settings.volumes, None, None)).prepare(identity.employee_id)
            shown = credential(identity.employee_id, identity.epoch, "secret")
            async with (
                rpc.dialing(running.grpc_address, shown) as employee,
                rpc.dialing(running.grpc_address, token) as operator,
            ):
                yield Site(gateway_pb2_grpc.EmployeeGatewayStub(employee), control_pb2_grpc.ControlPlaneStub(operator))
        finally:
            await running.lifecycle.stop_all()
            await running.launcher.stop()
