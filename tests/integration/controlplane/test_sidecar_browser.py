"""Browser sidecars as an employee gets them from its control plane: real processes with a real Chromium."""

import asyncio
import os
import signal

import pytest

from empla.v1 import control_pb2
from tests.integration.controlplane import seats
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.seats import Seat, at, groups, lives, place, row, until

BROWSER = control_pb2.SIDECAR_KIND_BROWSER


@pytest.fixture
async def seat(plane: Plane) -> Seat:
    return await seats.seat(plane)


async def test_an_employee_browses_in_one(plane: Plane, seat: Seat) -> None:
    lease = await seat.acquire(kind=BROWSER, memory_bytes=1 << 30)
    async with at(lease) as workstation:
        assert (await workstation.browser.open_page("one")).page_id == "one"
        assert (await workstation.browser.capabilities()).persistent
    found = await row(plane, lease)
    assert (found.kind, found.state) == (BROWSER, "leased")
    directories = await asyncio.to_thread(groups, lease)
    pids = await asyncio.to_thread(seats.processes_in, directories)
    assert len(pids) > 3
    await seat.release(lease)
    await until(lambda: not any(map(lives, pids)) and not place(lease).exists())


async def test_nothing_is_left_of_one_that_was_killed(plane: Plane, seat: Seat) -> None:
    lease = await seat.acquire(kind=BROWSER, memory_bytes=1 << 30)
    async with at(lease) as workstation:
        await workstation.browser.open_page("one")
    directories = await asyncio.to_thread(groups, lease)
    pids = await asyncio.to_thread(seats.processes_in, directories)
    os.kill((await row(plane, lease)).pid, signal.SIGKILL)
    await until(lambda: not any(map(lives, pids)) and not any(d.exists() for d in directories))
    another = await seat.acquire(kind=BROWSER, memory_bytes=1 << 30)
    async with at(another) as workstation:
        await workstation.browser.open_page("free")
