"""Retention: what is old goes, bit by bit; what is live or referred to stays."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from controlplane import retention as retention_module
from controlplane.employees import Employees
from controlplane.receiver import Arrival, Receiver
from controlplane.retention import TABLES, Retention
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_goal, add_intention, add_schedule, add_tenant

DAYS = 90
DAY = timedelta(days=1)
OLD, YOUNG = (DAYS + 1) * DAY, (DAYS - 1) * DAY


@dataclass
class Office:
    """Employees of one tenant, and what they left behind so long ago."""

    pool: Pool
    tenant_id: UUID
    employee_id: UUID
    channel_id: UUID

    async def cycle(self, age: timedelta, phase: str = "done", employee_id: UUID | None = None) -> UUID:
        cycle_id = new_id()
        await self.pool.execute(
            "INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase, started_at) VALUES ($1, $2, $3, 1, $4, $5)",
            cycle_id,
            self.tenant_id,
            employee_id or self.employee_id,
            phase,
            _ago(age),
        )
        return cycle_id

    async def event(self, age: timedelta, cycle_id: UUID | None, employee_id: UUID | None = None) -> int:
        event_id: int = await self.pool.fetchval(
            "INSERT INTO employee_events (tenant_id, employee_id, kind, occurred_at, cycle_id) "
            "VALUES ($1, $2, 'operator', $3, $4) RETURNING event_id",
            self.tenant_id,
            employee_id or self.employee_id,
            _ago(age),
            cycle_id,
        )
        return event_id

    async def belief(self) -> UUID:
        belief_id = new_id()
        await self.pool.execute(
            "INSERT INTO beliefs (belief_id, tenant_id, employee_id, subject_key, predicate_key, subject, predicate, "
            "object, confidence, importance, supported_at) VALUES ($1, $2, $3, $4, 'p', 's', 'p', 'o', 0.5, 0.5, now())",
            belief_id,
            self.tenant_id,
            self.employee_id,
            belief_id.hex,
        )
        return belief_id

    async def change(self, age: timedelta, belief_id: UUID) -> int:
        change_id: int = await self.pool.fetchval(
            "INSERT INTO belief_changes (belief_id, tenant_id, employee_id, cycle_id, change, subject, predicate, object, "
            "confidence, why, occurred_at) VALUES ($1, $2, $3, $1, 'formed', 's', 'p', 'o', 0.5, 'said', $4) "
            "RETURNING change_id",
            belief_id,
            self.tenant_id,
            self.employee_id,
            _ago(age),
        )
        return change_id

    async def schedule(self) -> UUID:
        return await add_schedule(
            self.pool, self.tenant_id, self.employee_id, self.channel_id, next_at=datetime.now(UTC) + DAY
        )

    async def message(self, *, live: bool) -> UUID:
        arrival = Arrival(
            tenant_id=self.tenant_id,
            channel_id=self.channel_id,
            employee_id=self.employee_id,
            event_id=new_id().hex,
            sender="ada",
            text="hello",
        )
        message_id = (await Receiver(self.pool, lambda *_: None).store(arrival)).message_id
        if not live:
            await self.pool.execute(
                "UPDATE inbound_messages SET processing_state = 'withheld', step = '', ended_at = now() "
                "WHERE message_id = $1",
                message_id,
            )
        return message_id

    async def run(self, age: timedelta, schedule_id: UUID, message_id: UUID | None = None) -> datetime:
        due_at = _ago(age)
        await self.pool.execute(
            "INSERT INTO schedule_runs (schedule_id, due_at, tenant_id, employee_id, state, message_id, fired_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $2)",
            schedule_id,
            due_at,
            self.tenant_id,
            self.employee_id,
            "fired" if message_id else "missed",
            message_id,
        )
        return due_at

    async def goal(self, text: str = "Know every deal.", *, ended: timedelta | None = None) -> UUID:
        goal_id = await add_goal(self.pool, self.tenant_id, self.employee_id, text)
        if ended is not None:
            await self.pool.execute(
                "UPDATE goals SET state = 'abandoned', ended_at = $2 WHERE goal_id = $1", goal_id, _ago(ended)
            )
        return goal_id

    async def goal_change(self, age: timedelta, goal_id: UUID) -> int:
        change_id: int = await self.pool.fetchval(
            "INSERT INTO goal_changes (goal_id, tenant_id, employee_id, state, progress, reason, occurred_at) "
            "VALUES ($1, $2, $3, 'active', 0, 'said', $4) RETURNING change_id",
            goal_id,
            self.tenant_id,
            self.employee_id,
            _ago(age),
        )
        return change_id

    async def plan(self, age: timedelta, goal_id: UUID, *, step: str = "skipped") -> UUID:
        """One that ended so long ago, with a step."""
        plan = await add_intention(self.pool, self.tenant_id, self.employee_id, "One", goal_id=goal_id)
        ended = "UPDATE intentions SET state = 'abandoned', created_at = $2, ended_at = $2 WHERE intention_id = $1"
        await self.pool.execute(ended, plan, _ago(age))
        if step == "skipped":
            await self.pool.execute(
                "UPDATE intention_steps SET state = 'skipped', ended_at = now() WHERE intention_id = $1", plan
            )
        else:
            await self.pool.execute(
                "UPDATE intention_steps SET state = 'running', message_id = $2 WHERE intention_id = $1",
                plan,
                await self.message(live=True),
            )
        return plan

    async def left(self, table: str, column: str) -> set[Any]:
        return {row[column] for row in await self.pool.fetch(f"SELECT {column} FROM {table}")}

    async def tidy(self, days: int = DAYS) -> None:
        while await Retention(self.pool, days).round():
            pass


def _ago(age: timedelta) -> datetime:
    return datetime.now(UTC) - age


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id)
        yield Office(pool, tenant_id, employee_id, await add_channel(pool, tenant_id, employee_id))


async def test_old_cycles_go_with_the_events_that_they_dealt_with(office: Office):
    old, young, running = await office.cycle(OLD), await office.cycle(YOUNG), await office.cycle(OLD, "think")
    await office.event(OLD, old)
    kept = {await office.event(OLD, None), await office.event(OLD, young), await office.event(YOUNG, old)}
    await office.tidy()
    assert await office.left("cycles", "cycle_id") == {young, running}
    assert await office.left("employee_events", "event_id") == kept


async def test_of_a_deleted_employee_also_what_was_never_dealt_with_goes(office: Office):
    gone = await add_employee(office.pool, office.tenant_id, "gone")
    await office.pool.execute("UPDATE employees SET deleted_at = now() WHERE employee_id = $1", gone)
    await office.cycle(OLD, "think", gone)
    await office.event(OLD, None, gone)
    await office.tidy()
    assert await office.left("cycles", "cycle_id") == await office.left("employee_events", "event_id") == set()


async def test_changes_go_once_the_belief_is_held_no_more(office: Office):
    held, dropped = await office.belief(), new_id()
    kept = {await office.change(OLD, held), await office.change(YOUNG, dropped)}
    await office.change(OLD, dropped)
    await office.tidy()
    assert await office.left("belief_changes", "change_id") == kept


async def test_changes_stay_while_events_as_old_have_yet_to_be_dealt_with(office: Office):
    """They tell which of these have been read."""
    change_id = await office.change(OLD, new_id())
    event_id = await office.event(OLD, None)
    await office.tidy()
    assert await office.left("belief_changes", "change_id") == {change_id}
    await office.pool.execute("DELETE FROM employee_events WHERE event_id = $1", event_id)
    await office.tidy()
    assert await office.left("belief_changes", "change_id") == set()


async def test_old_runs_go_but_for_the_last_one_and_those_that_go_on(office: Office):
    schedule_id, message_id = await office.schedule(), await office.message(live=False)
    await office.run(OLD + 9 * DAY, schedule_id, message_id)
    await office.run(OLD + 8 * DAY, schedule_id)
    kept = {
        await office.run(OLD + 7 * DAY, schedule_id, await office.message(live=True)),
        await office.run(OLD + 6 * DAY, schedule_id, message_id),
    }
    await office.run(OLD, schedule_id)
    kept.add(await office.run(YOUNG, schedule_id))
    await office.tidy()
    assert await office.left("schedule_runs", "due_at") == kept
    assert await office.left("inbound_messages", "message_id") >= {message_id}


async def test_a_schedule_that_ended_goes_after_its_runs(office: Office):
    old, young, active = [await office.schedule() for _ in range(3)]
    for schedule_id in (old, young, active):
        await office.run(OLD, schedule_id, await office.message(live=False))
    ended = "UPDATE schedules SET state = 'ended' WHERE schedule_id = $1"
    await office.pool.execute(ended, old)
    await office.pool.execute(ended, young)
    await office.pool.execute("UPDATE schedules SET ended_at = $2 WHERE schedule_id = $1", old, _ago(OLD))
    await office.tidy()
    assert await office.left("schedules", "schedule_id") == {young, active}
    assert await office.left("schedule_runs", "schedule_id") == {active}


async def test_old_plans_go_with_their_steps_but_for_the_last_of_a_goal_that_is_worked_on(office: Office):
    active, ended = await office.goal("active"), await office.goal("ended", ended=YOUNG)
    plans = [await office.plan(OLD + n * DAY, active) for n in range(22)]
    await office.plan(OLD, ended)
    kept = {await office.plan(YOUNG, ended), await office.plan(OLD, ended, step="running"), *plans[:20]}
    kept.add(await add_intention(office.pool, office.tenant_id, office.employee_id, "One", goal_id=ended))
    await office.pool.execute("UPDATE intentions SET created_at = $1 WHERE ended_at IS NULL", _ago(OLD))
    await office.tidy()
    assert (
        await office.left("intentions", "intention_id") == await office.left("intention_steps", "intention_id") == kept
    )
    assert await office.left("goals", "goal_id") == {active, ended}


async def test_old_changes_of_a_goal_go_but_for_the_last_hundred(office: Office):
    goal_id, other = await office.goal("a"), await office.goal("b")
    for _ in range(2):
        await office.goal_change(OLD, goal_id)
    kept = {await office.goal_change(OLD, goal_id) for _ in range(60)} | {await office.goal_change(OLD, other)}
    kept |= {await office.goal_change(YOUNG, goal_id) for _ in range(40)}
    await office.tidy()
    assert await office.left("goal_changes", "change_id") == kept


async def test_a_goal_that_ended_goes_after_its_plans_and_changes(office: Office):
    young, old, going_on = (
        await office.goal("a", ended=YOUNG),
        await office.goal(ended=OLD),
        await office.goal(ended=OLD),
    )
    await office.goal_change(OLD, old)
    await office.plan(OLD, old)
    kept = {await office.plan(OLD, going_on, step="running")}
    change = await office.goal_change(OLD, young)
    await office.tidy()
    assert await office.left("goals", "goal_id") == {young, going_on}
    assert await office.left("intentions", "intention_id") == kept
    assert await office.left("goal_changes", "change_id") == {change}
    await office.pool.execute("UPDATE employees SET deleted_at = now()")
    await office.tidy()
    assert await office.left("goals", "goal_id") == {young}


async def test_a_goal_that_was_dropped_and_that_the_profile_still_names_does_not_come_back(office: Office):
    named, gone = await office.goal("named", ended=OLD), await office.goal("gone", ended=OLD)
    await office.pool.execute("UPDATE employees SET profile = $1", {"role": "Clerk", "goals": [" named "]})
    await office.tidy()
    assert await office.left("goals", "goal_id") == {named} != {gone}
    profile = pb.Profile(role="Clerk", goals=["named"])
    await Employees(office.pool).update(office.employee_id, profile, pb.AUTONOMY_UNSPECIFIED)
    assert await office.left("goals", "state") == {"abandoned"}


async def test_what_was_spent_on_old_days_goes(office: Office):
    days = [_ago(OLD).date(), _ago(YOUNG).date()]
    for day in days:
        await office.pool.execute(
            "INSERT INTO budget_days (owner_id, day, tenant_id, micros, tokens) VALUES ($1, $2, $1, 1, 1)",
            office.tenant_id,
            day,
        )
    await Retention(office.pool, DAYS).round()
    assert [row["day"] for row in await office.pool.fetch("SELECT day FROM budget_days")] == days[1:]


async def test_a_round_removes_a_bounded_number_of_rows(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention_module, "AT_ONCE", 3)
    for _ in range(4):
        await office.cycle(OLD)
    retention = Retention(office.pool, DAYS)
    assert await retention.round()
    assert len(await office.left("cycles", "cycle_id")) == 1
    assert not await retention.round()
    assert await office.left("cycles", "cycle_id") == set()


async def test_nothing_goes_when_everything_is_to_be_kept(office: Office):
    cycle_id = await office.cycle(timedelta(days=10_000))
    async with asyncio.timeout(10):
        await Retention(office.pool, 0).run()
    assert await office.left("cycles", "cycle_id") == {cycle_id}


async def test_it_goes_on_after_a_round_that_failed(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention_module, "REST_SECONDS", 0.05)
    await office.cycle(OLD)
    await office.pool.execute("ALTER TABLE schedules RENAME TO elsewhere")
    retention = Retention(office.pool, DAYS)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(retention.run())
        while await office.left("cycles", "cycle_id"):
            await asyncio.sleep(0.02)
        await office.pool.execute("ALTER TABLE elsewhere RENAME TO schedules")
        await office.event(OLD, new_id())
        while await office.left("employee_events", "event_id"):
            await asyncio.sleep(0.02)
        running.cancel()


async def test_a_table_of_which_nothing_can_be_removed_keeps_no_other_one(office: Office):
    await office.pool.execute("ALTER TABLE schedules RENAME TO elsewhere")
    await office.pool.execute(
        "INSERT INTO budget_days (owner_id, tenant_id, day, micros, tokens) VALUES ($1, $1, '2020-01-01', 1, 1)",
        office.tenant_id,
    )
    await Retention(office.pool, DAYS).round()
    assert await office.left("budget_days", "owner_id") == set()


def test_every_table_has_its_statement():
    assert set(retention_module.SQL) == set(TABLES)
