"""Runs of schedules: each one is a message once, whatever happens to the control planes that fire them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from controlplane import firing as firing_module
from controlplane.firing import MOST_AT_ONCE, MOST_CAUGHT_UP, Firing, event_id
from controlplane.receiver import Arrival, Receiver
from empla.schedules import RUN
from empla.store.connect import Pool
from empla.store.errors import StoreUnavailable
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_schedule, add_tenant

NOON = datetime(2027, 5, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PATIENCE = 60.0


@dataclass
class Office:
    """An employee with schedules, and a control plane's firing by a clock that the test sets."""

    pool: Pool
    ids: tuple[UUID, UUID, UUID]
    now: datetime = NOON
    told: list[UUID] = field(default_factory=list)

    def firing(self, pool: Pool | None = None) -> Firing:
        receiver = Receiver(pool or self.pool, on_stored=lambda _, message_id: self.told.append(message_id))
        return Firing(pool or self.pool, receiver, lambda: self.now)

    async def schedule(self, next_at: datetime = NOON, **fields: Any) -> UUID:
        return await add_schedule(self.pool, *self.ids, next_at=next_at, **fields)

    async def runs(self, schedule_id: UUID) -> dict[str, list[datetime]]:
        runs: dict[str, list[datetime]] = {"fired": [], "missed": []}
        for row in await self.pool.fetch(
            "SELECT state, due_at FROM schedule_runs WHERE schedule_id = $1 ORDER BY due_at", schedule_id
        ):
            runs[row["state"]].append(row["due_at"])
        return runs

    async def reasons(self, schedule_id: UUID) -> list[str]:
        rows = await self.pool.fetch(
            "SELECT reason FROM schedule_runs WHERE schedule_id = $1 AND state = 'missed' ORDER BY due_at", schedule_id
        )
        return [row["reason"] for row in rows]

    async def end_messages(self) -> None:
        await self.pool.execute(
            "UPDATE inbound_messages SET processing_state = 'withheld', step = '', ended_at = now() WHERE ended_at IS NULL"
        )

    async def row(self, schedule_id: UUID) -> Any:
        return await self.pool.fetchrow("SELECT * FROM schedules WHERE schedule_id = $1", schedule_id)

    async def messages(self) -> list[Any]:
        return await self.pool.fetch(
            "SELECT m.*, b.body, b.metadata, c.external_id FROM inbound_messages m JOIN message_bodies b USING (message_id) "
            "JOIN conversations c USING (conversation_id) ORDER BY m.sequence"
        )

    async def until_messages(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(await self.messages()) < count:
                await asyncio.sleep(0.05)


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id)
        yield Office(pool, (tenant_id, employee_id, await add_channel(pool, tenant_id, employee_id)))


async def test_a_run_is_a_message_of_who_asked_for_it(office: Office):
    schedule_id = await office.schedule(conversation="thread-1")
    await office.firing().fire_due()
    [message] = await office.messages()
    assert message["event_id"] == f"schedule:{schedule_id}:2027-05-03T12:00:00Z" == event_id(schedule_id, NOON)
    assert (message["external_id"], message["sender"], message["body"]) == ("thread-1", "ada", "what is 1 + 1?")
    assert message["metadata"][RUN]["due_at"] == NOON.isoformat()
    assert office.told == [message["message_id"]]
    assert await office.runs(schedule_id) == {"fired": [NOON], "missed": []}
    assert (await office.row(schedule_id))["next_at"] == NOON + HOUR


async def test_nothing_is_fired_before_its_time_or_again(office: Office):
    await office.schedule()
    office.now = NOON - timedelta(microseconds=1)
    assert await office.firing().fire_due() > 0
    assert await office.messages() == []
    office.now = NOON
    for _ in range(3):
        await office.firing().fire_due()
    assert len(await office.messages()) == 1


async def test_at_ends_with_its_run(office: Office):
    schedule_id = await office.schedule(kind="at", expression=NOON.isoformat())
    await office.firing().fire_due()
    row = await office.row(schedule_id)
    assert (row["state"], row["reason"], row["next_at"]) == ("ended", "it has run for the last time", None)
    assert len(await office.messages()) == 1


@pytest.mark.parametrize(
    ("catch_up", "late", "fired"),
    [
        ("latest", timedelta(minutes=30), [4]),
        ("all", timedelta(minutes=30), [0, 1, 2, 3, 4]),
        ("none", timedelta(minutes=30), []),
        ("none", timedelta(seconds=60), [4]),
        ("none", timedelta(seconds=61), []),
    ],
)
async def test_missed_runs_follow_the_policy(office: Office, catch_up: str, late: timedelta, fired: list[int]):
    schedule_id = await office.schedule(catch_up=catch_up, kind="cron", expression="0 * * * *")
    office.now = NOON + 4 * HOUR + late
    await office.firing().fire_due()
    runs = await office.runs(schedule_id)
    assert runs["fired"] == [NOON + n * HOUR for n in fired]
    assert runs["missed"] == [NOON + n * HOUR for n in range(5) if n not in fired]
    assert [m["event_id"] for m in await office.messages()] == [event_id(schedule_id, NOON + n * HOUR) for n in fired]
    assert (await office.row(schedule_id))["next_at"] == NOON + 5 * HOUR


@pytest.mark.parametrize(("catch_up", "done"), [("all", MOST_CAUGHT_UP), ("latest", 1)])
async def test_of_very_many_missed_runs_the_last_are_done(office: Office, catch_up: str, done: int):
    schedule_id = await office.schedule(catch_up=catch_up, expression="60")
    minutes = 2 * MOST_AT_ONCE + 7
    office.now = NOON + timedelta(minutes=minutes)
    await office.firing().fire_due()
    runs = await office.runs(schedule_id)
    due = [NOON + timedelta(minutes=n) for n in range(minutes + 1)]
    assert runs == {"fired": due[-done:], "missed": due[:-done]}


async def test_several_control_planes_fire_each_run_once(
    office: Office, database: Database, caplog: pytest.LogCaptureFixture
):
    schedules = [await office.schedule(catch_up="all", conversation=f"c{n % 3}") for n in range(30)]
    office.now = NOON + 2 * HOUR
    async with database.connect(max_size=3) as second, database.connect(max_size=3) as third:
        planes = [office.firing(), office.firing(second), office.firing(third)]
        await asyncio.gather(*(plane.fire_due() for plane in planes for _ in range(2)))
        await planes[0].fire_due()
    expected = sorted(event_id(one, NOON + n * HOUR) for one in schedules for n in range(3))
    assert sorted(m["event_id"] for m in await office.messages()) == expected
    assert len(office.told) == len(set(office.told)) == len(expected)
    assert caplog.records == []


async def test_what_another_control_plane_has_in_hand_is_left_to_it(office: Office):
    held, free = await office.schedule(NOON - HOUR), await office.schedule()
    async with office.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM schedules WHERE schedule_id = $1 FOR UPDATE", held)
        async with asyncio.timeout(10):
            assert await office.firing().fire_due() > 0
        assert [m["event_id"] for m in await office.messages()] == [event_id(free, NOON)]
    await office.firing().fire_due()
    assert len(await office.messages()) == 2


@pytest.mark.parametrize(
    "moment",
    [
        "BEFORE UPDATE ON conversations",
        "AFTER INSERT ON inbound_messages",
        "AFTER INSERT ON schedule_runs",
        "BEFORE UPDATE ON schedules",
        "AFTER UPDATE ON schedules",
        "at the commit",
    ],
)
async def test_a_death_on_the_way_neither_loses_nor_doubles_a_run(office: Office, moment: str):
    """The connection dies in the middle of the transaction, as it does with its process."""
    schedule_id = await office.schedule(catch_up="all")
    office.now = NOON + HOUR
    when = "CONSTRAINT TRIGGER death AFTER UPDATE ON schedules DEFERRABLE INITIALLY DEFERRED"
    await office.pool.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NEW; END $$"
    )
    await office.pool.execute(
        f"CREATE {when if moment == 'at the commit' else f'TRIGGER death {moment}'} FOR EACH ROW EXECUTE FUNCTION die()"
    )
    with pytest.raises(StoreUnavailable):
        await office.firing().fire_due()
    assert await office.messages() == []
    assert office.told == []
    await office.pool.execute("DROP FUNCTION die() CASCADE")
    await office.firing().fire_due()
    assert await office.runs(schedule_id) == {"fired": [NOON, NOON + HOUR], "missed": []}
    assert len(await office.messages()) == 2


async def test_a_message_that_is_there_already_is_the_run(office: Office):
    """Even if everything that was noted of a run is lost, its name makes it one message."""
    schedule_id = await office.schedule()
    await office.firing().fire_due()
    await office.pool.execute("DELETE FROM schedule_runs")
    await office.pool.execute("UPDATE schedules SET next_at = $1", NOON)
    await office.firing().fire_due()
    assert len(await office.messages()) == len(office.told) == 1
    assert await office.runs(schedule_id) == {"fired": [NOON], "missed": []}


async def test_what_is_paused_or_ended_does_not_run(office: Office):
    paused, ended = await office.schedule(), await office.schedule()
    await office.pool.execute("UPDATE schedules SET state = 'paused', next_at = NULL WHERE schedule_id = $1", paused)
    await office.pool.execute("UPDATE schedules SET state = 'ended' WHERE schedule_id = $1", ended)
    await office.firing().fire_due()
    assert await office.messages() == []


async def test_the_schedules_of_a_deleted_employee_end(office: Office):
    schedule_id = await office.schedule()
    await office.pool.execute("UPDATE employees SET deleted_at = now()")
    await office.firing().fire_due()
    row = await office.row(schedule_id)
    assert (row["state"], row["reason"]) == ("ended", "the employee was deleted")
    assert await office.messages() == []


async def test_the_schedules_of_a_deleted_channel_end(office: Office):
    schedule_id = await office.schedule()
    await office.pool.execute("UPDATE channels SET disabled_at = now()")
    await office.firing().fire_due()
    row = await office.row(schedule_id)
    assert (row["state"], row["reason"]) == ("ended", "its channel was deleted")
    assert await office.messages() == []


async def test_one_that_cannot_run_ends_and_says_why(office: Office):
    """An employee writes its schedules itself: what it writes is checked again."""
    broken = await office.schedule(NOON - HOUR, kind="cron", expression="61 * * * *")
    quick = await office.schedule(NOON - HOUR, expression="1")
    whole = await office.schedule()
    await office.firing().fire_due()
    assert [m["event_id"] for m in await office.messages()] == [event_id(whole, NOON)]
    for schedule_id, why in ((broken, "minute"), (quick, "60 s")):
        row = await office.row(schedule_id)
        assert row["state"] == "ended"
        assert why in row["reason"]


async def test_one_that_fails_stops_no_other(office: Office):
    await office.pool.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.body = 'poison' THEN RAISE 'poison'; END IF; RETURN NEW; END $$"
    )
    await office.pool.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON message_bodies FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    poison = await office.schedule(NOON - HOUR, instruction="poison")
    whole = await office.schedule()
    assert await office.firing().fire_due() > 0
    assert await office.runs(whole) == {"fired": [NOON], "missed": []}
    await office.pool.execute("DROP FUNCTION refuse() CASCADE")
    await office.firing().fire_due()
    assert (await office.runs(poison))["fired"] == [NOON]


async def test_a_run_whose_name_is_taken_is_missed_and_says_why(office: Office):
    schedule_id = await office.schedule(conversation="thread-1")
    tenant_id, employee_id, channel_id = office.ids
    taken = Arrival(
        tenant_id=tenant_id,
        channel_id=channel_id,
        employee_id=employee_id,
        event_id=event_id(schedule_id, NOON),
        sender="mallory",
        text="something else",
    )
    await Receiver(office.pool, lambda *_: None).store(taken)
    await office.firing().fire_due()
    assert await office.runs(schedule_id) == {"fired": [], "missed": [NOON]}
    assert "used before" in await office.pool.fetchval("SELECT reason FROM schedule_runs")
    assert (await office.row(schedule_id))["next_at"] == NOON + HOUR


async def test_a_run_is_missed_while_an_earlier_one_has_not_ended(office: Office):
    schedule_id = await office.schedule()
    for hour in range(4):
        office.now = NOON + hour * HOUR
        await office.firing().fire_due()
    due = [NOON + n * HOUR for n in range(4)]
    assert await office.runs(schedule_id) == {"fired": due[:1], "missed": due[1:]}
    assert await office.reasons(schedule_id) == ["an earlier run has not ended"] * 3
    await office.end_messages()
    office.now = NOON + 4 * HOUR
    await office.firing().fire_due()
    assert (await office.runs(schedule_id))["fired"] == [NOON, NOON + 4 * HOUR]


async def test_a_run_whose_work_goes_on_in_the_background_has_not_ended(office: Office):
    schedule_id = await office.schedule()
    await office.firing().fire_due()
    [message] = await office.messages()
    await office.end_messages()
    await office.pool.execute(
        "INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent) "
        "VALUES (gen_random_uuid(), $1, $2, $3, 0, '{}')",
        message["message_id"],
        *office.ids[:2],
    )
    office.now = NOON + HOUR
    await office.firing().fire_due()
    await office.pool.execute("DELETE FROM message_workers")
    office.now = NOON + 2 * HOUR
    await office.firing().fire_due()
    assert await office.runs(schedule_id) == {"fired": [NOON, NOON + 2 * HOUR], "missed": [NOON + HOUR]}


async def test_other_messages_and_other_schedules_of_the_conversation_hold_up_no_run(office: Office):
    first, second = [await office.schedule(conversation="thread-1") for _ in range(2)]
    tenant_id, employee_id, channel_id = office.ids
    said = Arrival(
        tenant_id=tenant_id,
        channel_id=channel_id,
        employee_id=employee_id,
        event_id="1",
        sender="ada",
        text="hello",
        conversation="thread-1",
    )
    await Receiver(office.pool, lambda *_: None).store(said)
    await office.firing().fire_due()
    for schedule_id in (first, second):
        assert await office.runs(schedule_id) == {"fired": [NOON], "missed": []}


async def test_who_wants_all_missed_runs_has_as_many_going_on_as_are_caught_up(office: Office):
    schedule_id = await office.schedule(catch_up="all", expression="60")
    for minutes in (MOST_CAUGHT_UP - 3, MOST_CAUGHT_UP + 3, MOST_CAUGHT_UP + 4):
        office.now = NOON + timedelta(minutes=minutes)
        await office.firing().fire_due()
    due = [NOON + timedelta(minutes=n) for n in range(MOST_CAUGHT_UP + 5)]
    missed = due[MOST_CAUGHT_UP - 2 : MOST_CAUGHT_UP + 2] + due[-1:]
    assert await office.runs(schedule_id) == {"fired": [one for one in due if one not in missed], "missed": missed}
    assert set(await office.reasons(schedule_id)) == {
        f"{MOST_CAUGHT_UP - 2} earlier runs have not ended",
        f"{MOST_CAUGHT_UP} earlier runs have not ended",
    }


@asynccontextmanager
async def _running(firing: Firing, dsn: str) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(firing.run(dsn))
        try:
            yield
        finally:
            task.cancel()


async def test_it_sleeps_until_the_next_run_and_wakes_for_a_new_one(
    office: Office, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """By the database's clock; without the news of it a schedule would wait for longer than the test."""
    monkeypatch.setattr(firing_module, "LOOK_SECONDS", 10 * PATIENCE)
    receiver = Receiver(office.pool, lambda _, message_id: office.told.append(message_id))
    now = datetime.now(UTC)
    paused = await office.schedule(now + HOUR)
    await office.pool.execute("UPDATE schedules SET state = 'paused', next_at = NULL WHERE schedule_id = $1", paused)
    async with _running(Firing(office.pool, receiver), database.dsn):
        await office.schedule(now + timedelta(seconds=1))
        await office.until_messages(1)
        await office.pool.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'empla schedules' "
            "AND datname = current_database()"
        )
        await office.schedule(datetime.now(UTC))
        await office.until_messages(2)
        await asyncio.sleep(0.5)  # it sleeps again
        await office.pool.execute(
            "UPDATE schedules SET state = 'active', next_at = now() WHERE schedule_id = $1", paused
        )
        await office.until_messages(3)
    [first, *_] = await office.messages()
    assert first["received_at"] >= now + timedelta(seconds=1)
