"""A deletion that is interrupted after its commit is brought to its end all the same."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from controlplane import lifecycle
from controlplane.employees import Employees
from empla.store.connect import Pool
from empla.store.roles import create_employee_role, drop_employee_role, employee_role
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_goal, add_intention, add_schedule, add_tenant
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


async def test_nothing_is_intended_for_a_deleted_employee_any_more(database: Database):
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id, other = await add_employee(pool, tenant_id), await add_employee(pool, tenant_id, "other")
        for one in (employee_id, other):
            goal_id = await add_goal(pool, tenant_id, one)
            await add_intention(pool, tenant_id, one, "One", goal_id=goal_id)
            await add_intention(pool, tenant_id, one, "Two", goal_id=goal_id, state="planned")
        await Employees(pool).delete(employee_id, force=False)
        rows = await pool.fetch(
            "SELECT g.state, g.reason, i.state AS plan, s.state AS step, g.employee_id FROM goals g "
            "JOIN intentions i USING (goal_id) JOIN intention_steps s USING (intention_id) ORDER BY s.instruction"
        )
        ended = ("abandoned", "the employee was deleted", "abandoned", "skipped")
        assert [tuple(row)[:4] for row in rows if row["employee_id"] == employee_id] == [ended, ended]
        assert [tuple(row)[2:4] for row in rows if row["employee_id"] == other] == [
            ("running", "ready"),
            ("running", "planned"),
        ]
        assert await pool.fetchval("SELECT reason FROM goal_changes WHERE employee_id = $1", employee_id) == ended[1]


async def test_the_schedules_of_a_deleted_employee_have_ended_paused_ones_too(database: Database):
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id, other = await add_employee(pool, tenant_id), await add_employee(pool, tenant_id, "other")
        channel_id = await add_channel(pool, tenant_id)
        for one in (employee_id, other):
            for name in ("one", "two"):
                await add_schedule(pool, tenant_id, one, channel_id, next_at=datetime.now(UTC), name=name)
        await pool.execute("UPDATE schedules SET state = 'paused', next_at = NULL WHERE name = 'one'")
        await Employees(pool).delete(employee_id, force=False)
        rows = await pool.fetch("SELECT employee_id, name, state, reason FROM schedules ORDER BY name")
    assert [tuple(row)[1:] for row in rows if row["employee_id"] == employee_id] == [
        ("one", "ended", "the employee was deleted"),
        ("two", "ended", "the employee was deleted"),
    ]
    assert [row["state"] for row in rows if row["employee_id"] == other] == ["paused", "active"]


async def test_a_deletion_waits_for_a_step_that_is_being_begun(database: Database):
    """Whoever begins it holds the step and then the employee: the other order would be a deadlock."""
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id)
        await add_intention(pool, tenant_id, employee_id, "One")
        async with pool.acquire() as beginning, beginning.transaction():
            await beginning.execute("SELECT FROM intention_steps FOR UPDATE")
            deleting = asyncio.create_task(Employees(pool).delete(employee_id, force=False))
            async with asyncio.timeout(60):
                while not await pool.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                ):
                    await asyncio.sleep(0.02)
            await beginning.execute("SELECT FROM employees FOR KEY SHARE")
        assert await deleting == []
        assert await pool.fetchval("SELECT state FROM intention_steps") == "skipped"


async def test_two_that_drop_a_role_at_once_do_not_fail(plane: Plane):
    employee_id = UUID((await plane.attached()).employee_id)

    async def drop() -> None:
        async with plane.pool.acquire() as connection:
            await drop_employee_role(connection, employee_id)

    await asyncio.gather(*(drop() for _ in range(4)))
    assert not await has_role(plane.pool, employee_id)
