"""How many sidecars there may be, and which are kept warm."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from controlplane.settings import Settings
from controlplane.sidecars import warm
from empla import rpc
from tests.integration.controlplane import seats
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.seats import Seat, place, row, rows, run, until


@pytest.fixture
def plane_settings(plane_settings: Settings) -> Settings:
    changed = {
        "sidecars_warm": 1,
        "sidecars_per_employee": 2,
        "sidecars_per_tenant": 3,
        "sidecars_queue_seconds": 1.0,
    }
    return plane_settings.model_copy(update=changed)


@pytest.fixture
async def seat(plane: Plane) -> Seat:
    return await seats.seat(plane)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, bool]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    status: Any = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    retry = any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
    return refused.value.code(), rpc.reason_of(refused.value), retry


async def test_each_limit_is_refused_by_its_name_and_the_queue_lets_in_who_comes_first(plane: Plane, seat: Seat):
    other = await seats.seat(plane, "grace")
    first, _ = await seat.acquire(), await seat.acquire()
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await refusal(seat.acquire()) == (exhausted, "SIDECARS_OF_EMPLOYEE", True)
    await other.acquire()
    assert await refusal(other.acquire()) == (exhausted, "SIDECARS_OF_TENANT", True)
    waiting = asyncio.create_task(seat.acquire())
    await asyncio.sleep(0.2)
    await seat.release(first)
    await run(await waiting, "/bin/true")


async def test_whoever_leaves_while_it_acquires_takes_no_room(plane: Plane, seat: Seat):
    for _ in range(3):
        acquiring = asyncio.create_task(seat.acquire())
        await asyncio.sleep(0.01)
        acquiring.cancel()
        await asyncio.gather(acquiring, return_exceptions=True)
    await until(lambda: not list(plane.settings.sidecars.iterdir()))
    for _ in range(2):
        await run(await seat.acquire(), "/bin/true")


async def spare_of(plane: Plane) -> str:
    async with asyncio.timeout(15):
        while not (found := [item.sidecar_id for item in await rows(plane) if item.state == "ready"]):
            await asyncio.sleep(0.05)
    [spare] = found
    return spare


async def test_whoever_used_one_finds_the_next_one_ready(plane: Plane, seat: Seat):
    await run(await seat.acquire(), "/bin/true")
    spare = await spare_of(plane)
    lease = await seat.acquire()
    assert lease.sidecar_id == spare
    await run(lease, "/bin/true")
    assert (await row(plane, lease)).state == "leased"
    assert await spare_of(plane) != spare


async def test_a_spare_is_given_to_nobody_else_and_only_for_the_same(plane: Plane, seat: Seat):
    other = await seats.seat(plane, "grace")
    await seat.acquire()
    spare = await spare_of(plane)
    assert (await seat.acquire(memory_bytes=128 << 20)).sidecar_id != spare
    assert (await other.acquire()).sidecar_id != spare


async def test_the_spare_is_for_whoever_used_one_last(plane: Plane, seat: Seat):
    other = await seats.seat(plane, "grace")
    await seat.acquire()
    spare = await spare_of(plane)
    await other.acquire()
    async with asyncio.timeout(15):
        while (left := await spare_of(plane)) == spare:
            await asyncio.sleep(0.05)
    assert (await other.acquire()).sidecar_id == left


async def test_a_spare_that_nobody_takes_ends_and_none_takes_its_place(
    plane: Plane, seat: Seat, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(warm, "SPARE_SECONDS", 8.0)
    lease = await seat.acquire()
    await spare_of(plane)
    async with asyncio.timeout(20):
        while [item.sidecar_id for item in await rows(plane)] != [lease.sidecar_id]:
            await asyncio.sleep(0.1)
    assert [p.name for p in plane.settings.sidecars.iterdir()] == [place(lease).name]


async def test_a_spare_ends_with_the_launch_that_it_was_for(plane: Plane, seat: Seat):
    await seat.acquire()
    spare = await spare_of(plane)
    successor = await seat.again()
    lease = await successor.acquire()
    assert lease.sidecar_id != spare
    await plane.running.lifecycle._belongings.sidecars.end_of(seat.employee_id, seat.epoch)
    assert [item.sidecar_id for item in await rows(plane) if item.epoch == seat.epoch] == []
    await run(lease, "/bin/true")
