"""Sidecars that cannot be had: what becomes of those who want them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from controlplane.errors import LaunchFailed
from controlplane.launchers.interface import COMPUTE
from controlplane.sidecars.keeper import Sidecars
from controlplane.sidecars.launching import SidecarPlan
from controlplane.sidecars.places import Places
from controlplane.sidecars.room import Bounds, Room
from controlplane.sidecars.table import Resources, Table
from empla.store.connect import Pool
from tests.conftest import Database
from tests.factories import add_employee, add_tenant
from tests.integration.controlplane.test_lifecycle import ScriptedLauncher
from tests.integration.controlplane.waiting import WAIT_FOR_LOCKS


class Others:
    """Other control planes, which keep what they are told."""

    def __init__(self) -> None:
        self.hints: list[tuple[object, ...]] = []

    def tell(self, *hint: object) -> None:
        self.hints.append(hint)


@dataclass
class Site:
    """A keeper with room for one sidecar, whose launches fail, and two employees."""

    pool: Pool
    launcher: ScriptedLauncher
    sidecars: Sidecars
    employee_id: UUID
    other: UUID
    told: Others

    async def refused(self) -> None:
        with pytest.raises(LaunchFailed):
            await self.sidecars.acquire(self.employee_id, 1, Resources(COMPUTE, 64 << 20, 0), 60)

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.sidecars.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def site(database: Database, short_directory: Path) -> AsyncIterator[Site]:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id, other = [await add_employee(pool, tenant_id, name) for name in ("ada", "other")]
        await pool.execute("UPDATE employee_epochs SET epoch = 1")
        bounds, launcher = Bounds(1, 1, 1), ScriptedLauncher(failing=True)
        told = Others()
        sidecars = Sidecars(
            table=Table(pool, launcher.name),
            launcher=launcher,
            places=Places(short_directory / "sidecars"),
            room=Room(bounds, bounds, 0),
            plan=SidecarPlan({}, lambda _: short_directory, lambda _: None, short_directory),
            others=told,
        )
        yield Site(pool, launcher, sidecars, employee_id, other, told)


async def test_each_that_an_employee_could_not_have_counts(site: Site):
    async with site.leading():
        for _ in range(2):
            await site.refused()
    assert (site.sidecars.failed.count(site.employee_id), site.sidecars.failed.count(site.other)) == (2, 0)
    assert site.told.hints == [("sidecar_failed", site.employee_id, 1), ("sidecar_failed", site.employee_id, 2)]


async def test_one_that_is_wanted_while_the_lead_is_lost_is_refused_and_takes_no_room(site: Site):
    async with site.pool.acquire() as connection, connection.transaction(), site.leading():
        await site.refused()  # by then it is known what runs
        await connection.execute("LOCK TABLE employee_epochs")
        wanting = asyncio.create_task(site.refused())
        async with asyncio.timeout(10):
            while not await site.pool.fetchval(WAIT_FOR_LOCKS):
                await asyncio.sleep(0.01)
    await wanting
    async with site.leading():
        await site.refused()


async def test_one_that_does_not_serve_yet_when_the_lead_is_lost_is_refused_and_ended_by_who_leads_next(site: Site):
    site.launcher.failing = False
    async with site.leading(), asyncio.timeout(10):
        wanting = asyncio.create_task(site.refused())
        while not site.launcher.alive:
            await asyncio.sleep(0.01)
    await wanting
    assert site.launcher.alive
    site.launcher.failing = True
    async with site.leading():
        await site.refused()
    assert not site.launcher.alive
