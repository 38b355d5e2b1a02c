"""Sidecars that cannot be launched are counted, for who looks after the employee that wanted them."""

import asyncio
from pathlib import Path

import pytest

from controlplane.errors import LaunchFailed
from controlplane.launchers.interface import COMPUTE
from controlplane.sidecars.keeper import Sidecars
from controlplane.sidecars.launching import SidecarPlan
from controlplane.sidecars.places import Places
from controlplane.sidecars.room import Bounds, Room
from controlplane.sidecars.table import Resources, Table
from tests.conftest import Database
from tests.factories import add_employee, add_tenant
from tests.integration.controlplane.test_lifecycle import ScriptedLauncher


class Others:
    """Other control planes, which keep what they are told."""

    def __init__(self) -> None:
        self.hints: list[tuple[object, ...]] = []

    def tell(self, *hint: object) -> None:
        self.hints.append(hint)


async def test_each_that_an_employee_could_not_have_counts(database: Database, short_directory: Path):
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id, other = [await add_employee(pool, tenant_id, name) for name in ("ada", "other")]
        await pool.execute("UPDATE employee_epochs SET epoch = 1")
        bounds, launcher = Bounds(4, 4, 4), ScriptedLauncher(failing=True)
        told = Others()
        plan = SidecarPlan({}, lambda _: short_directory, lambda _: None, short_directory)
        sidecars = Sidecars(
            table=Table(pool, launcher.name),
            launcher=launcher,
            places=Places(short_directory / "sidecars"),
            room=Room(bounds, bounds, 1),
            plan=plan,
            others=told,
        )
        keeping = asyncio.create_task(sidecars.run())
        for _ in range(2):
            with pytest.raises(LaunchFailed):
                await sidecars.acquire(employee_id, 1, Resources(COMPUTE, 64 << 20, 0), 60)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert (sidecars.failed.count(employee_id), sidecars.failed.count(other)) == (2, 0)
        assert told.hints == [("sidecar_failed", employee_id, 1), ("sidecar_failed", employee_id, 2)]
