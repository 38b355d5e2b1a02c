"""A deletion that is interrupted after its commit is brought to its end all the same."""

import asyncio
from uuid import UUID

import pytest

from controlplane import lifecycle
from empla.store.connect import Pool
from empla.store.roles import create_employee_role, drop_employee_role, employee_role
from empla.v1 import control_pb2 as pb
from tests.integration.controlplane.conftest import Plane


@pytest.fixture
def plane_in_haste(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Plane:
    monkeypatch.setattr(lifecycle, "RECONCILE_SECONDS", 0.1)
    plane.running.lifecycle.look()
    return plane


async def has_role(pool: Pool, employee_id: UUID) -> bool:
    return bool(await pool.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", employee_role(employee_id)))


async def without_role(pool: Pool, employee_id: UUID) -> None:
    async with asyncio.timeout(20):
        while await has_role(pool, employee_id):
            await asyncio.sleep(0.05)


async def test_the_role_of_a_running_employee_goes_with_its_process(plane_in_haste: Plane):
    plane = plane_in_haste
    employee_id = UUID((await plane.attached()).employee_id)
    assert await has_role(plane.pool, employee_id)
    await plane.running.employees.delete(employee_id, force=True)
    await without_role(plane.pool, employee_id)


async def test_the_role_of_an_employee_that_an_earlier_control_plane_deleted_goes_too(plane_in_haste: Plane):
    plane = plane_in_haste
    created = await plane.stub.CreateEmployee(
        pb.CreateEmployeeRequest(name="alone", profile_name="sales-ae"), timeout=10
    )
    employee_id = UUID(created.employee_id)
    async with plane.pool.acquire() as connection:
        await create_employee_role(connection, employee_id, "password")
    await asyncio.sleep(0.3)
    assert await has_role(plane.pool, employee_id)
    await plane.running.employees.delete(employee_id, force=False)
    await without_role(plane.pool, employee_id)


async def test_two_that_drop_a_role_at_once_do_not_fail(plane: Plane):
    employee_id = UUID((await plane.attached()).employee_id)

    async def drop() -> None:
        async with plane.pool.acquire() as connection:
            await drop_employee_role(connection, employee_id)

    await asyncio.gather(*(drop() for _ in range(4)))
    assert not await has_role(plane.pool, employee_id)
