"""Sidecars as an employee gets them: leases, tokens, ends, with real processes."""

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
import pytest

from empla import rpc
from empla.leases import Lease, mint
from empla.store.ids import new_id
from empla.v1 import control_pb2, sidecar_pb2, sidecar_pb2_grpc, workstation_pb2, workstation_pb2_grpc
from empla.v1 import gateway_pb2 as pb
from tests.integration.controlplane import seats
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.seats import Seat, at, groups, lives, owned, place, row, rows, run, until
from workstation.errors import Unsupported, WorkstationError
from workstation.interface import ExecSpec
from workstation.remote.compute.messages import exec_spec_message


@pytest.fixture
async def seat(plane: Plane) -> Seat:
    return await seats.seat(plane)


async def described(lease: pb.SidecarLease, token: str = "") -> sidecar_pb2.SidecarDescription:
    async with rpc.dialing(lease.address, token or lease.token) as channel:
        stub = sidecar_pb2_grpc.SidecarControlStub(channel)
        found: sidecar_pb2.SidecarDescription = await stub.Describe(sidecar_pb2.DescribeSidecarRequest(), timeout=10)
        return found


async def code_and_reason(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), rpc.reason_of(refused.value)


def left_of(lease: pb.SidecarLease, pids: set[int], directories: list[Path]) -> list[object]:
    """What there still is of a sidecar."""
    processes = [pid for pid in pids if lives(pid)]
    return [*processes, *(d for d in (*directories, place(lease)) if d.exists())]


async def with_a_program(lease: pb.SidecarLease) -> tuple[set[int], list[Path]]:
    """Start a program that does not end; returns all the processes of the sidecar, and the places it takes."""
    async with at(lease) as workstation:
        await workstation.compute.start("long", ExecSpec(argv=("/bin/sleep", "300")))
    directories = await asyncio.to_thread(groups, lease)
    pids = await asyncio.to_thread(seats.processes_in, directories)
    assert len(pids) > 2
    return pids, directories


async def test_a_sidecar_runs_programs_over_the_employees_workspace(plane: Plane, seat: Seat):
    lease = await seat.acquire(cpus=1.0, idle_ttl_seconds=90)
    async with at(lease) as workstation:
        await workstation.files.write("given.txt", b"from outside")
        await workstation.compute.start("x", ExecSpec(argv=("/bin/cp", "given.txt", "copy.txt")))
        await workstation.compute.wait("x")
        assert (await workstation.files.read_file("copy.txt")).data == b"from outside"
    assert (plane.settings.workspaces / str(seat.employee_id) / "copy.txt").read_bytes() == b"from outside"
    found, said = await row(plane, lease), await described(lease)
    assert (found.employee, found.kind, found.state, found.idle_ttl_seconds) == ("ada", seats.COMPUTE, "leased", 90)
    assert (found.pid, found.memory_bytes, found.cpus, found.epoch) == (said.pid, 256 << 20, 1.0, seat.epoch)
    assert (said.sidecar_id, said.employee_id, said.kind) == (lease.sidecar_id, str(seat.employee_id), seats.COMPUTE)
    assert (place(lease).stat().st_mode & 0o777, place(lease).is_relative_to(plane.settings.home)) == (0o700, True)
    assert not place(lease).is_relative_to(plane.settings.workspaces)


async def test_programs_of_a_sidecar_start_in_that_one_alone(seat: Seat):
    lease = await seat.acquire()
    async with rpc.dialing(lease.address, lease.token) as channel:
        stub = workstation_pb2_grpc.ComputeStub(channel)
        request = workstation_pb2.ExecStartRequest(exec_id="x", instance=str(new_id()))
        request.spec.CopyFrom(exec_spec_message(ExecSpec(argv=("/usr/bin/true",))))
        assert (await code_and_reason(stub.Start(request, timeout=30)))[0] is grpc.StatusCode.NOT_FOUND
        request.instance = lease.sidecar_id
        assert (await stub.Start(request, timeout=30)).exec_id == "x"


async def test_a_browser_sidecar_opens_pages(plane: Plane, seat: Seat):
    lease = await seat.acquire(kind=control_pb2.SIDECAR_KIND_BROWSER, memory_bytes=1 << 30)
    async with at(lease) as workstation:
        page = await workstation.browser.open_page("p")
        assert page.url == "about:blank"
        with pytest.raises(Unsupported):
            await workstation.compute.capabilities()
    assert (await described(lease)).kind == (await row(plane, lease)).kind == control_pb2.SIDECAR_KIND_BROWSER
    directories = await asyncio.to_thread(groups, lease)
    pids = await asyncio.to_thread(seats.processes_in, directories)
    os.kill((await described(lease)).pid, signal.SIGKILL)
    await until(lambda: not left_of(lease, pids, directories))


async def test_a_sidecar_and_what_it_runs_are_bounded_together(seat: Seat):
    lease = await seat.acquire(cpus=0.5)
    pids, directories = await with_a_program(lease)
    assert (await described(lease)).pid in pids
    bounds = [int((d / "memory.limit_in_bytes").read_text()) for d in directories if "memory" in str(d)]
    bounds += [int((d / "memory.max").read_text()) for d in directories if (d / "memory.max").exists()]
    assert bounds == [(256 << 20) + (192 << 20)]


async def test_a_sidecar_whose_lease_runs_out_ends_itself_and_leaves_nothing(seat: Seat):
    lease = await seat.acquire(idle_ttl_seconds=4)
    pids, directories = await with_a_program(lease)
    await until(lambda: not left_of(lease, pids, directories))


async def test_a_renewed_lease_that_the_sidecar_is_shown_holds(seat: Seat):
    lease = await seat.acquire(idle_ttl_seconds=4)
    for _ in range(3):
        await asyncio.sleep(1.8)
        lease = await seat.renew(lease)
        assert (await described(lease)).expires_at == lease.expires_at
    pid = (await described(lease)).pid
    await until(lambda: not lives(pid))
    assert await code_and_reason(seat.renew(lease)) == (grpc.StatusCode.NOT_FOUND, "SIDECAR_UNKNOWN")


async def test_a_sidecar_that_hangs_is_ended_when_its_lease_has_run_out(seat: Seat):
    lease = await seat.acquire(idle_ttl_seconds=4)
    pids, directories = await with_a_program(lease)
    os.kill((await described(lease)).pid, signal.SIGSTOP)
    await until(lambda: not left_of(lease, pids, directories), 30)


async def test_a_released_sidecar_ends(plane: Plane, seat: Seat):
    lease = await seat.acquire()
    pids, directories = await with_a_program(lease)
    await seat.release(lease)
    await seat.release(lease)
    await until(lambda: not left_of(lease, pids, directories))
    async with asyncio.timeout(5):
        while await rows(plane):
            await asyncio.sleep(0.02)


async def test_a_sidecar_ends_with_its_employees_process(seat: Seat):
    owner = await owned(seat)
    lease = await seat.acquire(idle_ttl_seconds=600)
    pids, directories = await with_a_program(lease)
    owner.kill()
    await owner.wait()
    await until(lambda: not left_of(lease, pids, directories), 5)


async def test_a_sidecar_of_an_owner_that_is_gone_already_ends_at_once(plane: Plane, seat: Seat):
    owner = await owned(seat)
    owner.kill()
    await owner.wait()
    with suppress(grpc.aio.AioRpcError):  # it may be gone before it is given out
        await seat.acquire(idle_ttl_seconds=600)
    await until(lambda: not list(plane.settings.sidecars.iterdir()), 5)


async def test_a_sidecar_that_is_killed_leaves_nothing(seat: Seat):
    lease = await seat.acquire(idle_ttl_seconds=600)
    pids, directories = await with_a_program(lease)
    os.kill((await described(lease)).pid, signal.SIGKILL)
    await until(lambda: not left_of(lease, pids, directories))


async def test_every_wrong_token_is_refused_by_its_own_reason(plane: Plane, seat: Seat):
    lease, other = await seat.acquire(), await seat.acquire()
    neighbour = await (await seats.seat(plane, "grace")).acquire()
    key = await plane.pool.fetchval("SELECT key FROM sidecars WHERE sidecar_id = $1", UUID(lease.sidecar_id))
    good = Lease(UUID(lease.sidecar_id), seat.employee_id, lease.expires_at.ToMilliseconds() / 1000)
    unauthenticated, denied = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
    for token, expected in {
        "wrong": (unauthenticated, "TOKEN_INVALID"),
        lease.token[:-1] + ("0" if lease.token[-1] != "0" else "1"): (unauthenticated, "TOKEN_INVALID"),
        mint(key, replace(good, expires_at=1.0)): (unauthenticated, "TOKEN_EXPIRED"),
        other.token: (denied, "TOKEN_OF_ANOTHER"),
        neighbour.token: (denied, "TOKEN_OF_ANOTHER"),
        mint(key, replace(good, employee_id=new_id())): (denied, "TOKEN_OF_ANOTHER"),
    }.items():
        assert await code_and_reason(described(lease, token)) == expected
        async with at(lease, token) as workstation:
            with pytest.raises(WorkstationError, match=r"token|lease"):
                await workstation.files.stat(".")
    async with grpc.aio.insecure_channel(lease.address) as channel:
        stub: Any = sidecar_pb2_grpc.SidecarControlStub(channel)
        describing = stub.Describe(sidecar_pb2.DescribeSidecarRequest(), timeout=10)
        assert await code_and_reason(describing) == (unauthenticated, "TOKEN_MISSING")
    assert (await described(lease, mint(key, good))).sidecar_id == lease.sidecar_id


async def test_nobody_renews_or_releases_anothers_sidecar(plane: Plane, seat: Seat):
    lease, neighbour = await seat.acquire(), await seats.seat(plane, "grace")
    assert await code_and_reason(neighbour.renew(lease)) == (grpc.StatusCode.NOT_FOUND, "SIDECAR_UNKNOWN")
    await neighbour.release(lease)
    await run(lease, "/bin/true")


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"kind": 0}, "kind"),
        ({"kind": 77}, "kind"),
        ({"memory_bytes": 1}, "memory_bytes"),
        ({"memory_bytes": 1 << 60}, "memory_bytes"),
        ({"cpus": float("nan")}, "cpus"),
        ({"cpus": -1.0}, "cpus"),
        ({"cpus": 1e6}, "cpus"),
        ({"idle_ttl_seconds": 3601}, "idle_ttl_seconds"),
    ],
)
async def test_what_makes_no_sense_is_refused(seat: Seat, wanted: dict[str, Any], field: str):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await seat.acquire(**wanted)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, field


async def test_a_launch_that_is_over_gets_none(seat: Seat):
    await seat.again()
    assert await code_and_reason(seat.acquire()) == (grpc.StatusCode.FAILED_PRECONDITION, "SUPERSEDED")


async def test_a_launch_that_ends_while_it_acquires_gets_none_and_leaves_none(
    plane: Plane, seat: Seat, monkeypatch: pytest.MonkeyPatch
):
    from controlplane.sidecars.places import Places

    until_serving, pids = Places.until_serving, []

    async def superseded(self: Places, sidecar_id: UUID, process: Any) -> None:
        await until_serving(self, sidecar_id, process)
        pids.append(process.pid)
        await seat.again()

    monkeypatch.setattr(Places, "until_serving", superseded)
    assert await code_and_reason(seat.acquire()) == (grpc.StatusCode.FAILED_PRECONDITION, "SUPERSEDED")
    await until(lambda: not lives(pids[0]) and not list(plane.settings.sidecars.iterdir()))
    assert await rows(plane) == []


async def test_a_sidecar_that_cannot_serve_is_a_failed_launch(plane: Plane, seat: Seat):
    workspace = plane.settings.workspaces / str(seat.employee_id)
    await asyncio.to_thread(workspace.rename, workspace.with_name("elsewhere"))
    assert await code_and_reason(seat.acquire()) == (grpc.StatusCode.UNAVAILABLE, "LAUNCH_FAILED")
    await until(lambda: not list(plane.settings.sidecars.iterdir()))
    await asyncio.to_thread(workspace.with_name("elsewhere").rename, workspace)
    await run(await seat.acquire(), "/bin/true")


async def test_an_operator_stops_a_sidecar(plane: Plane, seat: Seat):
    lease = await seat.acquire()
    pids, directories = await with_a_program(lease)
    request = control_pb2.StopSidecarRequest(sidecar_id=lease.sidecar_id)
    await plane.stub.StopSidecar(request, timeout=20)
    assert not await asyncio.to_thread(left_of, lease, pids, directories)
    assert await code_and_reason(plane.stub.StopSidecar(request, timeout=20)) == (
        grpc.StatusCode.NOT_FOUND,
        "SIDECAR_UNKNOWN",
    )


async def test_three_sidecars_of_one_employee_work_side_by_side(seat: Seat):
    leases = [await seat.acquire() for _ in range(3)]
    lines = [f"echo {n} >> n{n}; cat n{n} >> all" for n in range(3)]
    await asyncio.gather(*(run(lease, "/bin/sh", "-c", line) for lease, line in zip(leases, lines, strict=True)))
    async with at(leases[0]) as workstation:
        found = (await workstation.files.read_file("all")).data.split()
        assert sorted(found) == [b"0", b"1", b"2"]
        [listed] = await workstation.compute.list()  # what the others run is theirs
        assert listed.argv[2] == lines[0]
