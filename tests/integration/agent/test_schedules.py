"""Schedules that people ask for in a message: made for them, where they asked, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from agent.capabilities.base import EffectKey
from agent.capabilities.policy import Decision, Policy, Risk
from agent.capabilities.schedules import SchedulesCapability
from agent.errors import ActionFailed, ApprovalNeeded, ArgumentsInvalid, Superseded
from agent.identity import Identity
from agent.pipeline.effects import StoredEffects
from agent.pipeline.step import Unrecorded
from agent.schedules import Schedules
from controlplane.firing import Firing
from controlplane.receiver import Receiver
from empla.store.connect import Pool, connect
from empla.store.ids import new_id
from empla.store.roles import employee_dsn
from tests.factories import add_schedule
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Desk as Deciding
from tests.integration.agent.deciding import Parts, asking
from tests.integration.agent.test_pipeline import answered

MONDAYS: dict[str, Any] = {
    "name": "weekly report",
    "instruction": "Write the report.",
    "cron": "0 9 * * 1",
    "time_zone": "Europe/Berlin",
}
ASK = Policy({Risk.SCHEDULE: Decision.ASK})


@dataclass
class Desk:
    """The capability of an employee that has a message in hand, as its own database role."""

    office: Office
    pool: Pool
    identity: Identity
    message_id: UUID

    async def do(
        self, action: str, key: EffectKey | None = None, policy: Policy | None = None, **arguments: Any
    ) -> Any:
        capability = SchedulesCapability(Schedules(self.pool, self.identity))
        known = next(one for one in capability.actions if one.name == action)
        key = key or EffectKey(new_id(), self.message_id, 0, 0)
        effects = StoredEffects(self.pool, self.identity, Unrecorded())
        return await capability.execute(known, arguments, key, effects, policy or Policy())

    async def rows(self) -> list[Any]:
        return await self.office.pool.fetch("SELECT * FROM schedules ORDER BY created_at")

    async def elsewhere(self, conversation: str = "another", **metadata: Any) -> "Desk":
        return replace(self, message_id=await self.office.store("hello", conversation=conversation, **metadata))


@pytest.fixture
async def desk(office: Office) -> AsyncIterator[Desk]:
    identity = await office.launch()
    message_id = await office.store("Every Monday at nine, write the report.", conversation="thread-1")
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        yield Desk(office, pool, identity, message_id)


async def test_it_is_made_for_who_asked_and_runs_where_it_was_asked_for(desk: Desk):
    made = await desk.do("create_schedule", **MONDAYS)
    first = datetime.fromisoformat(made["next_run_at"])
    assert (first.weekday(), first.hour, made["time_zone"]) == (0, 9, "Europe/Berlin")
    [row] = await desk.rows()
    assert (row["sender"], row["asked_in"], row["state"]) == ("ada@example.com", desk.message_id, "active")
    await Firing(desk.office.pool, Receiver(desk.office.pool, lambda *_: None), lambda: first).fire_due()
    [asked, run] = await desk.office.pool.fetch("SELECT * FROM inbound_messages ORDER BY sequence")
    assert (run["conversation_id"], run["sender"]) == (asked["conversation_id"], asked["sender"])


async def test_what_was_done_and_not_said_is_not_done_again(desk: Desk):
    """The process died between the schedule and the record of it, and the call is replayed."""
    key = EffectKey(new_id(), desk.message_id, 2, 1)
    first = await desk.do("create_schedule", key, **MONDAYS)
    await desk.office.pool.execute("UPDATE effects SET state = 'intended', result = NULL, finished_at = NULL")
    assert await desk.do("create_schedule", key, **MONDAYS) == first
    assert len(await desk.rows()) == 1
    end = EffectKey(new_id(), desk.message_id, 3, 0)
    await desk.do("cancel_schedule", end, name="weekly report")
    await desk.office.pool.execute("UPDATE effects SET state = 'intended', result = NULL, finished_at = NULL")
    assert await desk.do("cancel_schedule", end, name="weekly report") == {"name": "weekly report"}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"cron": "0 9 30 2 *"}, "IMPOSSIBLE_SCHEDULE: cron"),
        ({"cron": None, "every_seconds": 5}, "IMPOSSIBLE_SCHEDULE: every"),
        ({"cron": None, "at": "2001-01-01T09:00"}, "IMPOSSIBLE_SCHEDULE: at"),
        ({"time_zone": "Mars"}, "IMPOSSIBLE_SCHEDULE: time_zone"),
        ({"instruction": "/stop"}, "IMPOSSIBLE_SCHEDULE: instruction"),
    ],
)
async def test_what_cannot_be_is_told_to_the_model(desk: Desk, fields: dict[str, Any], why: str):
    with pytest.raises(ActionFailed, match=why):
        await desk.do("create_schedule", **(MONDAYS | fields))
    assert await desk.rows() == []


@pytest.mark.parametrize("fields", [{"cron": None}, {"at": "2027-01-01T09:00"}, {"every_seconds": 60}])
async def test_one_time_must_be_given(desk: Desk, fields: dict[str, Any]):
    with pytest.raises(ArgumentsInvalid, match="one of at"):
        await desk.do("create_schedule", **(MONDAYS | fields))


async def test_a_conversation_has_its_own_schedules(desk: Desk):
    await desk.do("create_schedule", **MONDAYS)
    other = await desk.elsewhere()
    assert (await other.do("list_schedules"))["schedules"] == []
    with pytest.raises(ActionFailed, match="NO_SUCH_SCHEDULE"):
        await other.do("cancel_schedule", name="weekly report")
    with pytest.raises(ActionFailed, match="NAME_IN_USE"):
        await other.do("create_schedule", **MONDAYS)
    listed = await desk.do("list_schedules")
    assert [(one["name"], one["instruction"]) for one in listed["schedules"]] == [
        ("weekly report", "Write the report.")
    ]
    assert abs(datetime.fromisoformat(listed["now"]) - datetime.now(UTC)) < timedelta(minutes=5)
    await desk.do("cancel_schedule", name="weekly report")
    assert (await desk.do("list_schedules"))["schedules"] == []
    [row] = await desk.rows()
    assert (row["state"], row["reason"], row["next_at"]) == ("ended", "cancelled by ada@example.com", None)
    await other.do("create_schedule", **MONDAYS)  # the name is free


@pytest.mark.parametrize("event_id", ["schedule:x:2027-01-01T00:00:00Z", "intention:x:1"])
async def test_a_run_or_a_step_makes_no_schedules(desk: Desk, event_id: str):
    run = replace(desk, message_id=await desk.office.store("Write the report.", event_id=event_id))
    with pytest.raises(ActionFailed, match="IN_A_RUN"):
        await run.do("create_schedule", **MONDAYS)


async def test_a_run_answers_no_question(office: Office):
    """It comes in the sender's name, to where the sender has been asked something."""
    desk, model = Deciding(office), Parts("book the room", {"": asking("Which day?")})
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, "book the room", conversation="thread")
        await desk.sent(message_id)
        ids = office.record.tenant_id, office.record.employee_id, office.channel_id
        await add_schedule(office.pool, *ids, next_at=datetime.now(UTC), conversation="thread", instruction="report")
        await office.pool.execute("UPDATE schedules SET sender = 'ada@example.com'")
        await Firing(office.pool, Receiver(office.pool, lambda *_: None)).fire_due()
        await office.deliver_all(gateway)
        run = await office.pool.fetchval("SELECT message_id FROM schedule_runs")
        async with asyncio.timeout(60):
            state = await gateway.handed_over(run)
    assert state == "sending"
    assert await office.pool.fetchval("SELECT state FROM reviews WHERE message_id = $1", message_id) == "open"


async def test_after_reading_text_of_others_a_person_is_asked(desk: Desk):
    await desk.do("create_schedule", policy=ASK, **MONDAYS)
    await desk.office.pool.execute(
        "INSERT INTO effects (unit_id, response_index, call_index, message_id, tenant_id, employee_id, epoch, capability, "
        "action, arguments, repeatable) VALUES ($1, 0, 0, $2, $3, $4, 1, 'browser', 'open_page', '{}', true)",
        new_id(), desk.message_id, desk.identity.tenant_id, desk.identity.employee_id,
    )  # fmt: skip
    key, second = EffectKey(new_id(), desk.message_id, 1, 0), MONDAYS | {"name": "second"}
    with pytest.raises(ApprovalNeeded, match="Write the report"):
        await desk.do("create_schedule", key, ASK, **second)
    assert [row["name"] for row in await desk.rows()] == ["weekly report"]
    await desk.do("list_schedules", policy=ASK)
    approved = replace(key, approved=True, anew_since=datetime.now(UTC))
    await desk.do("create_schedule", approved, ASK, **second)
    assert [row["name"] for row in await desk.rows()] == ["weekly report", "second"]
    elsewhere = await desk.elsewhere()
    await elsewhere.do("create_schedule", policy=ASK, **(MONDAYS | {"name": "third"}))


async def test_a_superseded_launch_makes_and_ends_none(desk: Desk):
    await desk.do("create_schedule", **MONDAYS)
    schedules, key = Schedules(desk.pool, desk.identity), new_id()
    capability = SchedulesCapability(schedules)
    await desk.office.launch()
    arguments = capability.actions[0].takes.model_validate(MONDAYS | {"name": "late"})
    with pytest.raises(Superseded):
        await capability._execute_action_impl("create_schedule", arguments, EffectKey(key, desk.message_id, 0, 0))
    with pytest.raises(Superseded):
        await schedules.cancel(desk.message_id, "weekly report")
    assert [(row["name"], row["state"]) for row in await desk.rows()] == [("weekly report", "active")]


async def test_what_the_employee_may_write_of_a_schedule_is_that_it_ends(desk: Desk):
    """As an employee that is taken over would: in somebody's name, in a conversation of others, or for the past."""
    await desk.do("create_schedule", **MONDAYS)
    columns = (
        "schedule_id, tenant_id, employee_id, conversation_id, sender, asked_in, name, kind, expression, "
        "anchor, instruction"
    )
    other = await desk.elsewhere()
    values = {
        "sender": "'boss'",
        "asked_in": "NULL",
        "conversation_id": f"(SELECT conversation_id FROM inbound_messages WHERE message_id = '{other.message_id}')",
    }
    usual = {name: name for name in columns.split(", ")} | {"schedule_id": "gen_random_uuid()", "name": "'x'"}
    for name, value in values.items():
        selected = ", ".join((usual | {name: value}).values())
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await desk.pool.execute(
                f"INSERT INTO schedules ({columns}, next_at) SELECT {selected}, now() FROM schedules"
            )
    past = f"INSERT INTO schedules ({columns}, next_at) SELECT {', '.join(usual.values())}, '2001-01-01' FROM schedules"
    with pytest.raises(asyncpg.CheckViolationError):
        await desk.pool.execute(past)
    for change in ("next_at = now()", "sender = 'boss'", "instruction = 'x'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await desk.pool.execute(f"UPDATE schedules SET {change}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await desk.pool.fetch("SELECT * FROM schedule_runs")
    await desk.pool.execute("UPDATE schedules SET state = 'ended'")
    with pytest.raises(asyncpg.PostgresError) as refused:
        await desk.pool.execute("UPDATE schedules SET state = 'active'")
    assert refused.value.sqlstate == "EM001"
