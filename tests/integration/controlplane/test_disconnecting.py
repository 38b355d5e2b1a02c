"""A channel that is deleted takes no more, frees its name, and leaves nothing of its messages without an end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from controlplane.auth import Operator
from controlplane.channels import Channels
from controlplane.disconnecting import Disconnecting
from controlplane.errors import Invalid, NotNow, Unknown
from controlplane.receiver import Arrival, Receiver
from controlplane.routing import Routing
from controlplane.stopping import Stopping
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.v1 import control_pb2
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_schedule, add_tenant
from tests.integration.controlplane.waiting import WAIT_FOR_LOCKS

ADA = Operator("ada", control_pb2.SCOPE_ADMIN, None)


@dataclass
class Door:
    """A channel of an employee's."""

    pool: Pool
    tenant_id: UUID
    employee_id: UUID
    channel_id: UUID

    def arrival(self) -> Arrival:
        return Arrival(
            tenant_id=self.tenant_id,
            channel_id=self.channel_id,
            employee_id=self.employee_id,
            event_id=new_id().hex,
            sender="bo",
            text="hello",
        )

    async def message(self, state: str = "received", step: str = "security_filter", *, claimed: bool = False) -> UUID:
        message_id = (await Receiver(self.pool, lambda *_: None).store(self.arrival())).message_id
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("ALTER TABLE inbound_messages DISABLE TRIGGER legal_edge")
            await connection.execute(
                "UPDATE inbound_messages SET processing_state = $2, step = $3, epoch = CASE WHEN $4 THEN 1 END, "
                "ended_at = CASE WHEN $2 = 'answered' THEN now() END WHERE message_id = $1",
                message_id, state, step, claimed,
            )  # fmt: skip
            await connection.execute("ALTER TABLE inbound_messages ENABLE TRIGGER legal_edge")
        return message_id

    async def reply(self, message_id: UUID, state: str = "queued") -> None:
        await self.pool.execute(
            "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, state, epoch) "
            "VALUES ($1, $2, $3, $4, 'reply', 'hi', $5, 1)",
            new_id(), self.tenant_id, self.employee_id, message_id, state,
        )  # fmt: skip

    async def delete(self, *, force: bool = False, by: Operator = ADA) -> None:
        await Disconnecting(self.pool, Stopping(self.pool)).delete(self.channel_id, by, force=force)

    async def row(self, message_id: UUID) -> Any:
        return await self.pool.fetchrow("SELECT * FROM inbound_messages WHERE message_id = $1", message_id)


@pytest.fixture
async def door(database: Database) -> AsyncIterator[Door]:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id)
        yield Door(pool, tenant_id, employee_id, await add_channel(pool, tenant_id, employee_id))


async def test_it_takes_no_more_and_its_name_is_free(door: Door):
    channels, answered = Channels(door.pool), await door.message("answered", "")
    await Routing(door.pool).create(None, door.channel_id, door.employee_id, door.tenant_id, condition={}, position=0)
    await door.delete()
    with pytest.raises(Unknown):
        await channels.webhook("default", "inbox")
    with pytest.raises(Unknown):
        await Receiver(door.pool, lambda *_: None).store(door.arrival())
    assert [channel.name for channel in await channels.list_of(door.tenant_id)] == []
    with pytest.raises(Unknown):
        await door.delete()
    made = await channels.create_webhook(
        tenant_id=door.tenant_id, name="inbox", employee_id=door.employee_id, callback_url=""
    )
    found = await channels.webhook("default", "inbox")
    assert (found.channel_id, found.rules) == (made.channel_id, ())
    assert (await door.row(answered))["channel_id"] == door.channel_id
    assert await door.pool.fetchval("SELECT secret FROM channels WHERE channel_id = $1", door.channel_id) is None


async def test_what_is_open_keeps_it_unless_it_is_forced_and_then_has_an_end(door: Door):
    queued = await door.message()
    in_work = await door.message("working", "", claimed=True)
    unsent = await door.message("sending", "send", claimed=True)
    leaving = await door.message("sending", "send", claimed=True)
    await door.reply(unsent)
    await door.reply(leaving, "sending")
    at = datetime.now(UTC) + timedelta(hours=1)
    schedule_id = await add_schedule(door.pool, door.tenant_id, door.employee_id, door.channel_id, next_at=at)
    other = await add_channel(door.pool, door.tenant_id, door.employee_id, "other")
    elsewhere = await Door(door.pool, door.tenant_id, door.employee_id, other).message()
    with pytest.raises(NotNow, match="4 messages of the channel are open and 1 schedules") as refused:
        await door.delete()
    assert refused.value.reason == "CHANNEL_IN_USE"
    assert (await Channels(door.pool).webhook("default", "inbox")).channel_id == door.channel_id

    await door.delete(force=True)
    ends = {name: await door.row(message_id) for name, message_id in (("queued", queued), ("unsent", unsent))}
    for row in ends.values():
        assert (row["processing_state"], row["reason"]) == ("withheld", "cancelled by ada: its channel was deleted")
    # The employee reads of it and ends its work; what is on its way the Sender ends.
    assert ((await door.row(in_work))["processing_state"], (await door.row(in_work))["cancelled_by"]) == (
        "working",
        "ada",
    )
    assert (await door.row(leaving))["processing_state"] == "sending"
    schedule: Any = await door.pool.fetchrow("SELECT * FROM schedules WHERE schedule_id = $1", schedule_id)
    assert (schedule["state"], schedule["reason"]) == ("ended", "its channel was deleted")
    assert (await door.row(elsewhere))["cancelled_by"] is None


async def test_parts_of_ended_messages_and_schedules_alone_keep_it_too(door: Door):
    answered = await door.message("answered", "")
    await door.pool.execute(
        "INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent) "
        "VALUES ($1, $2, $3, $4, 0, '{}')",
        new_id(), answered, door.tenant_id, door.employee_id,
    )  # fmt: skip
    with pytest.raises(NotNow, match="1 messages"):
        await door.delete()
    await door.pool.execute("DELETE FROM message_workers")
    at = datetime.now(UTC) + timedelta(hours=1)
    await add_schedule(door.pool, door.tenant_id, door.employee_id, door.channel_id, next_at=at)
    with pytest.raises(NotNow, match="1 schedules"):
        await door.delete()


async def test_a_message_that_is_being_stored_is_seen_and_none_slips_in_after(door: Door):
    async with door.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        receiver = Receiver(door.pool, lambda *_: None)
        await receiver.write(connection, door.arrival())
        deleting = asyncio.create_task(door.delete())
        async with asyncio.timeout(20):
            while not await door.pool.fetchval(WAIT_FOR_LOCKS):
                await asyncio.sleep(0.02)
        await transaction.commit()
    with pytest.raises(NotNow):
        await deleting

    await door.pool.execute("UPDATE inbound_messages SET processing_state = 'failed', ended_at = now()")
    async with door.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT FROM channels WHERE channel_id = $1 FOR UPDATE", door.channel_id)
        storing = asyncio.create_task(receiver.store(door.arrival()))
        async with asyncio.timeout(20):
            while not await door.pool.fetchval(WAIT_FOR_LOCKS):
                await asyncio.sleep(0.02)
        await connection.execute("UPDATE channels SET disabled_at = now() WHERE channel_id = $1", door.channel_id)
        await transaction.commit()
    with pytest.raises(Unknown):
        await storing


async def test_the_api_stays_and_what_is_anothers_is_unknown(door: Door):
    api = Door(door.pool, door.tenant_id, door.employee_id, await Channels(door.pool).api(door.tenant_id))
    with pytest.raises(Invalid):
        await api.delete(force=True)
    theirs = Operator("cy", control_pb2.SCOPE_ADMIN, uuid4())
    with pytest.raises(Unknown):
        await door.delete(by=theirs)
    own = await add_channel(door.pool, door.tenant_id, None, "own", kind="own")
    with pytest.raises(Unknown):
        await Door(door.pool, door.tenant_id, door.employee_id, own).delete()
