"""Steps of intentions: each one is a message once, whatever happens to the control planes that begin them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from controlplane import stepping as stepping_module
from controlplane.receiver import Arrival, Receiver
from controlplane.rounds import RETRY_SECONDS
from controlplane.stepping import Stepping
from controlplane.stopping import Stopping
from empla.goals import STEP, step_event
from empla.store.connect import Pool, connect
from empla.store.errors import StoreUnavailable
from empla.store.roles import create_employee_role, employee_dsn
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_goal, add_intention, add_tenant
from tests.integration.controlplane.conftest import Plane

PATIENCE = 60.0


@dataclass
class Office:
    """An employee that intends something, and the control planes that begin it."""

    pool: Pool
    ids: tuple[UUID, UUID]
    told: list[UUID] = field(default_factory=list)
    woken: list[UUID] = field(default_factory=list)

    def stepping(self, pool: Pool | None = None) -> Stepping:
        receiver = Receiver(pool or self.pool, on_stored=lambda _, message_id: self.told.append(message_id))
        return Stepping(pool or self.pool, receiver, Stopping(pool or self.pool), self.woken.append)

    async def intend(self, *instructions: str, **fields: Any) -> UUID:
        return await add_intention(self.pool, *self.ids, *instructions, **fields)

    async def steps(self, intention_id: UUID) -> list[Any]:
        return await self.pool.fetch(
            "SELECT * FROM intention_steps WHERE intention_id = $1 ORDER BY step", intention_id
        )

    async def states(self, intention_id: UUID) -> list[str]:
        return [row["state"] for row in await self.steps(intention_id)]

    async def messages(self) -> list[Any]:
        return await self.pool.fetch(
            "SELECT m.*, b.body, b.metadata, v.external_id, c.kind, c.name FROM inbound_messages m "
            "JOIN message_bodies b USING (message_id) JOIN conversations v USING (conversation_id) "
            "JOIN channels c ON c.channel_id = m.channel_id ORDER BY m.sequence"
        )

    async def until_messages(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(await self.messages()) < count:
                await asyncio.sleep(0.05)


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        yield Office(pool, (tenant_id, await add_employee(pool, tenant_id)))


async def test_a_step_is_a_message_of_the_employee_to_itself(office: Office):
    goal_id = await add_goal(office.pool, *office.ids, "Know every deal.")
    intention_id = await office.intend("Read deals.csv", "Write a summary", goal_id=goal_id)
    await office.stepping().begin_ready()
    first, second = await office.messages()
    assert (first["event_id"], first["body"], first["sender"]) == (
        step_event(intention_id, 1),
        "Read deals.csv",
        "sales-ae",
    )
    assert first["external_id"] == second["external_id"] == f"intention:{intention_id}"
    assert (first["kind"], first["name"]) == ("own", "own")
    assert second["metadata"][STEP] == {
        "intention_id": str(intention_id),
        "step": 2,
        "of": 2,
        "name": "step 2",
        "title": "Look at the deals",
        "goal": "Know every deal.",
    }
    assert [(row["state"], row["message_id"]) for row in await office.steps(intention_id)] == [
        ("running", first["message_id"]),
        ("running", second["message_id"]),
    ]
    assert office.told == [first["message_id"], second["message_id"]]
    assert office.woken == []


async def test_only_what_is_ready_begins_and_only_once(office: Office):
    await office.intend("Not yet", state="planned")
    ready = await office.intend("One")
    for _ in range(3):
        await office.stepping().begin_ready()
    assert [m["body"] for m in await office.messages()] == ["One"]
    assert await office.states(ready) == ["running"]


async def test_several_control_planes_begin_each_step_once(
    office: Office, database: Database, caplog: pytest.LogCaptureFixture
):
    """Even the channel that nobody has needed before is made once."""
    plans = [await office.intend("One", "Two", "Three") for _ in range(10)]
    async with database.connect(max_size=3) as second, database.connect(max_size=3) as third:
        planes = [office.stepping(), office.stepping(second), office.stepping(third)]
        await asyncio.gather(*(plane.begin_ready() for plane in planes for _ in range(2)))
        await planes[0].begin_ready()
    expected = sorted(step_event(plan, step) for plan in plans for step in (1, 2, 3))
    assert sorted(m["event_id"] for m in await office.messages()) == expected
    assert len(office.told) == len(set(office.told)) == len(expected)
    assert await office.pool.fetchval("SELECT count(*) FROM channels") == 1
    assert caplog.records == []


async def test_what_another_control_plane_has_in_hand_is_left_to_it(office: Office):
    held, free = await office.intend("Held"), await office.intend("Free")
    async with office.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM intention_steps WHERE intention_id = $1 FOR UPDATE", held)
        async with asyncio.timeout(10):
            assert await office.stepping().begin_ready() == RETRY_SECONDS
        assert await office.states(free) == ["running"]
    assert await office.stepping().begin_ready() == stepping_module.LOOK_SECONDS
    assert [m["body"] for m in await office.messages()] == ["Free", "Held"]


@pytest.mark.parametrize(
    "moment",
    [
        "AFTER INSERT ON channels",
        "AFTER INSERT ON conversations",
        "AFTER INSERT ON inbound_messages",
        "BEFORE UPDATE ON intention_steps",
        "AFTER UPDATE ON intention_steps",
        "at the commit",
    ],
)
async def test_a_death_on_the_way_neither_loses_nor_doubles_a_step(office: Office, moment: str):
    """The connection dies in the middle of the transaction, as it does with its process."""
    intention_id = await office.intend("One", "Two")
    when = "CONSTRAINT TRIGGER death AFTER UPDATE ON intention_steps DEFERRABLE INITIALLY DEFERRED"
    await office.pool.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NEW; END $$"
    )
    await office.pool.execute(
        f"CREATE {when if moment == 'at the commit' else f'TRIGGER death {moment}'} FOR EACH ROW EXECUTE FUNCTION die()"
    )
    with pytest.raises(StoreUnavailable):
        await office.stepping().begin_ready()
    assert await office.messages() == []
    assert await office.states(intention_id) == ["ready", "ready"]
    assert office.told == []
    await office.pool.execute("DROP FUNCTION die() CASCADE")
    await office.stepping().begin_ready()
    assert [m["body"] for m in await office.messages()] == ["One", "Two"]
    assert await office.states(intention_id) == ["running", "running"]


async def test_a_message_that_is_there_already_is_the_step(office: Office):
    """Even if what was noted of a step is lost, its name makes it one message."""
    intention_id = await office.intend("One")
    await office.stepping().begin_ready()
    async with office.pool.acquire() as connection, connection.transaction():
        await connection.execute("ALTER TABLE intention_steps DISABLE TRIGGER legal_edge")
        await connection.execute("UPDATE intention_steps SET state = 'ready', message_id = NULL")
        await connection.execute("ALTER TABLE intention_steps ENABLE TRIGGER legal_edge")
    await office.stepping().begin_ready()
    [message] = await office.messages()
    assert office.told == [message["message_id"]]
    assert [row["message_id"] for row in await office.steps(intention_id)] == [message["message_id"]]


async def test_a_step_whose_name_is_taken_fails_and_its_employee_is_woken(office: Office):
    intention_id = await office.intend("One", "Two")
    tenant_id, employee_id = office.ids
    taken = Arrival(
        tenant_id=tenant_id,
        channel_id=await add_channel(office.pool, tenant_id, kind="own", name="own", secret=None),
        employee_id=employee_id,
        event_id=step_event(intention_id, 1),
        sender="mallory",
        text="something else",
    )
    await Receiver(office.pool, lambda *_: None).store(taken)
    await office.stepping().begin_ready()
    failed, running = await office.steps(intention_id)
    assert (failed["state"], running["state"]) == ("failed", "running")
    assert "used before" in failed["outcome"]
    assert failed["ended_at"]
    assert office.woken == [employee_id]


async def test_what_no_table_takes_fails_as_well(office: Office):
    await office.pool.execute("ALTER TABLE message_bodies ADD CHECK (body <> 'poison')")
    intention_id = await office.intend("poison", "whole")
    await office.stepping().begin_ready()
    assert await office.states(intention_id) == ["failed", "running"]
    assert [m["body"] for m in await office.messages()] == ["whole"]


async def test_one_that_cannot_be_begun_now_stops_no_other_and_is_begun_later(office: Office):
    await office.pool.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.body = 'poison' THEN RAISE 'poison'; END IF; RETURN NEW; END $$"
    )
    await office.pool.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON message_bodies FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    intention_id = await office.intend("poison", "whole")
    await office.stepping().begin_ready()
    assert await office.states(intention_id) == ["ready", "running"]
    await office.pool.execute("DROP FUNCTION refuse() CASCADE")
    await office.stepping().begin_ready()
    assert await office.states(intention_id) == ["running", "running"]


async def test_steps_of_a_deleted_employee_or_an_ended_plan_are_left_out(office: Office):
    ended = await office.intend("One")
    await office.pool.execute("UPDATE intentions SET state = 'abandoned', ended_at = now()")
    other = Office(office.pool, (office.ids[0], await add_employee(office.pool, office.ids[0], "gone")))
    deleted = await other.intend("Two")
    await office.pool.execute("UPDATE employees SET deleted_at = now() WHERE name = 'gone'")
    await office.stepping().begin_ready()
    assert [(row["state"], row["outcome"]) for row in await office.steps(ended)] == [("skipped", "its plan had ended")]
    assert [(row["state"], row["outcome"]) for row in await office.steps(deleted)] == [
        ("skipped", "the employee was deleted")
    ]
    assert await office.messages() == []


async def test_what_goes_on_for_a_plan_that_has_ended_is_stopped(office: Office):
    """As when one of two steps that run side by side fails, or its deadline passes."""
    ended, kept = await office.intend("One", "Two"), await office.intend("Three")
    await office.stepping().begin_ready()
    done = "UPDATE intention_steps SET state = 'done', ended_at = now() WHERE intention_id = $1 AND step = 1"
    for table in ("intentions", "intention_steps"):  # what their employee does
        await office.pool.execute(f"ALTER TABLE {table} DISABLE TRIGGER legal_edge")
    await office.pool.execute(done, ended)
    await office.pool.execute("UPDATE intentions SET state = 'failed', ended_at = now() WHERE intention_id = $1", ended)
    for _ in range(2):
        await office.stepping().begin_ready()
    assert [(m["body"], m["processing_state"], m["cancelled_by"]) for m in await office.messages()] == [
        ("One", "received", None),
        ("Two", "withheld", "empla"),
        ("Three", "received", None),
    ]
    assert await office.states(kept) == ["running"]
    assert await office.pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'message.cancel'") == 1


async def test_of_a_plan_that_has_ended_what_is_in_work_or_waits_is_stopped_as_well(office: Office):
    """A message that was answered may have a part that goes on, and one that nobody can stop now hinders no other."""
    ended = await office.intend("One", "Two", "Three")
    await office.stepping().begin_ready()
    one, two, _ = [m["message_id"] for m in await office.messages()]
    await office.pool.execute("ALTER TABLE inbound_messages DISABLE TRIGGER legal_edge")
    await office.pool.execute(
        "UPDATE inbound_messages SET processing_state = 'working', epoch = 1 WHERE message_id = $1", one
    )
    await office.pool.execute(
        "UPDATE inbound_messages SET processing_state = 'answered', step = '', ended_at = now() WHERE message_id = $1",
        two,
    )
    await office.pool.execute(
        "INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent) "
        "SELECT message_id, message_id, tenant_id, employee_id, 0, '{}' FROM inbound_messages "
        "WHERE message_id = $1",
        two,
    )
    await office.pool.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'poison'; END $$"
    )
    await office.pool.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON inbound_messages FOR EACH ROW "
        f"WHEN (OLD.message_id = '{one}') EXECUTE FUNCTION refuse()"
    )
    await office.pool.execute(
        "UPDATE intentions SET state = 'abandoned', ended_at = now() WHERE intention_id = $1", ended
    )
    await office.stepping().begin_ready()
    assert [m["cancelled_by"] for m in await office.messages()] == [None, "empla", "empla"]
    assert await office.pool.fetchval("SELECT cancelled_by FROM message_workers") == "empla"
    await office.pool.execute("DROP FUNCTION refuse() CASCADE")
    await office.stepping().begin_ready()
    assert [(m["processing_state"], m["cancelled_by"]) for m in await office.messages()] == [
        ("working", "empla"),  # which its employee reads, and ends
        ("answered", "empla"),
        ("withheld", "empla"),
    ]


async def test_a_step_that_reads_stop_stops_nothing(office: Office):
    await office.intend("Count to a million", "/stop")
    await office.stepping().begin_ready()
    assert [(m["body"], m["processing_state"], m["cancelled_by"]) for m in await office.messages()] == [
        ("Count to a million", "received", None),
        ("/stop", "received", None),
    ]


async def test_a_webhook_that_was_called_own_before_stays_one(office: Office):
    tenant_id, employee_id = office.ids
    webhook = await add_channel(office.pool, tenant_id, employee_id, "own")
    await office.intend("One")
    await office.stepping().begin_ready()
    await office.intend("Two")
    await office.stepping().begin_ready()
    first, second = await office.messages()
    assert first["channel_id"] == second["channel_id"] != webhook
    assert first["kind"] == "own"
    assert first["name"].startswith("own-")


async def test_a_step_of_which_nobody_was_told_is_done_all_the_same(plane: Plane):
    """Its control plane has died between the transaction and the telling; another one has the employee's stream."""
    await plane.attached()
    row = await plane.pool.fetchrow("SELECT tenant_id, employee_id FROM employees")
    assert row is not None
    intention_id = await add_intention(plane.pool, row["tenant_id"], row["employee_id"], "What is 17 * 23?")
    await Stepping(plane.pool, Receiver(plane.pool, lambda *_: None), Stopping(plane.pool)).begin_ready()
    query = "SELECT message_id FROM intention_steps WHERE intention_id = $1"
    request = pb.GetMessageRequest(message_id=str(await plane.pool.fetchval(query, intention_id)))
    async with asyncio.timeout(PATIENCE):
        while (message := await plane.stub.GetMessage(request, timeout=60)).state != "answered":
            await asyncio.sleep(0.05)
    assert "391" in message.replies[0].text
    assert await plane.pool.fetchval("SELECT count(*) FROM inbound_messages") == 1


async def test_it_wakes_for_a_step_and_not_for_what_it_does_itself(
    office: Office, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """Without the news of it a step would wait for longer than the test."""
    monkeypatch.setattr(stepping_module, "LOOK_SECONDS", 10 * PATIENCE)
    stepping, looks = office.stepping(), list[int]()
    begin_ready = stepping.begin_ready

    async def counted() -> float:
        looks.append(len(looks))
        return await begin_ready()

    monkeypatch.setattr(Stepping, "begin_ready", lambda _: counted())
    intention_id = await office.intend("One", "Two", state="planned")
    async with office.pool.acquire() as connection:
        await create_employee_role(connection, office.ids[1], "password")
    own = employee_dsn(database.dsn, office.ids[1], "password")
    ready = "UPDATE intention_steps SET state = 'ready', ready_at = now() WHERE intention_id = $1 AND step = $2"
    async with connect(own, application_name="tests") as employee, asyncio.TaskGroup() as group:
        running = group.create_task(stepping.run(database.dsn))
        async with asyncio.timeout(PATIENCE):
            while not looks:
                await asyncio.sleep(0.02)
        await employee.execute(ready, intention_id, 1)
        await office.until_messages(1)
        await office.pool.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'empla steps' "
            "AND datname = current_database()"
        )
        await employee.execute(ready, intention_id, 2)
        await office.until_messages(2)
        running.cancel()
    # At its start, for the first step, as its connection broke, once it was there again, and for the second step.
    assert len(looks) <= 5
