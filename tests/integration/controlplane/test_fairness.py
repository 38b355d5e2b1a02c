"""Where many stand in one line: what one tenant or employee brings in heaps delays nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from controlplane import receiver as receiver_module
from controlplane import sender as sender_module
from controlplane.callbacks import Receipt
from controlplane.receiver import Arrival, Receiver
from controlplane.sender import Sender
from controlplane.server import MAX_CONNECTIONS
from empla.store.connect import Pool
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_tenant

FLOOD = 2_000
_FLOOD_OF_REPLIES = """
WITH conversation AS (
  INSERT INTO conversations (conversation_id, tenant_id, employee_id, channel_id, external_id)
  SELECT gen_random_uuid(), $1, $2, $3, $5 || n FROM generate_series(1, $4::int) n RETURNING conversation_id, external_id
), message AS (
  INSERT INTO inbound_messages
    (message_id, tenant_id, employee_id, channel_id, conversation_id, event_id, sender, processing_state, step, epoch)
  SELECT gen_random_uuid(), $1, $2, $3, conversation_id, external_id, 'ada', 'sending', 'send', 1 FROM conversation
  RETURNING message_id
)
INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, epoch)
SELECT gen_random_uuid(), $1, $2, message_id, 'reply', 'two', 1 FROM message
"""


@dataclass
class Desk:
    """An employee, and the channel in front of it."""

    pool: Pool
    tenant_id: UUID
    employee_id: UUID
    channel_id: UUID

    @property
    def name(self) -> str:
        return str(self.employee_id)

    def arrival(self) -> Arrival:
        return Arrival(
            tenant_id=self.tenant_id,
            channel_id=self.channel_id,
            employee_id=self.employee_id,
            event_id=new_id().hex,
            sender="ada",
            text="how many?",
        )

    async def leave_replies(self, count: int) -> None:
        """So many replies in the outbox, each of another conversation."""
        owner = (self.tenant_id, self.employee_id, self.channel_id)
        await self.pool.execute(_FLOOD_OF_REPLIES, *owner, count, new_id().hex)


@dataclass
class Door:
    """A transport that answers nobody of `hanging`, and keeps the names of those it was called for."""

    hanging: set[str] = field(default_factory=set)
    called: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, url: str, secret: bytes, outbox_id: UUID, payload: dict[str, Any]) -> Receipt:
        name = payload["employee"]
        self.called.append(name)
        self.news.set()
        if name in self.hanging:
            await self.released.wait()
        self.answered.append(name)
        self.news.set()
        return Receipt(status=200, headers={}, attempted_at=datetime.now(UTC), elapsed_ms=1.0)

    async def until(self, names: list[str], name: str, count: int = 1) -> None:
        async with asyncio.timeout(30):
            while names.count(name) < count:
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with database.connect(max_size=MAX_CONNECTIONS) as pool:
        yield pool


async def open_desk(pool: Pool, tenant_id: UUID | None = None) -> Desk:
    tenant_id = tenant_id or await add_tenant(pool, f"t{new_id().hex}")
    employee_id = await add_employee(pool, tenant_id, f"e{new_id().hex}")
    await pool.execute("UPDATE employees SET name = employee_id::text WHERE employee_id = $1", employee_id)
    channel_id = await add_channel(pool, tenant_id, employee_id, name=f"c{new_id().hex}", callback_url="http://there/x")
    return Desk(pool, tenant_id, employee_id, channel_id)


@asynccontextmanager
async def sending(pool: Pool, door: Door) -> AsyncIterator[Sender]:
    sender = Sender(pool, door, lambda _: None, instance="this")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(sender.run())
        try:
            yield sender
        finally:
            running.cancel()
            door.released.set()


async def test_replies_leave_in_turns_and_those_whose_callback_hangs_keep_no_place_from_others(pool: Pool) -> None:
    loud = await open_desk(pool)
    colleague, stranger = await open_desk(pool, loud.tenant_id), await open_desk(pool)
    await loud.leave_replies(FLOOD)
    await colleague.leave_replies(2)
    await stranger.leave_replies(2)
    door = Door(hanging={loud.name})
    async with sending(pool, door) as sender:
        await door.until(door.answered, colleague.name, 2)
        await door.until(door.answered, stranger.name, 2)
        assert door.called.index(stranger.name) <= 2  # behind one of the flood at most, and one of the colleague's
        assert door.called.index(colleague.name) <= 2
        await door.until(door.called, loud.name, sender_module.OF_ONE_EMPLOYEE)
        for _ in range(3):  # also while the flood has taken all that it may
            await stranger.leave_replies(1)
            sender.look()
        await door.until(door.answered, stranger.name, 5)
        assert door.called.count(loud.name) == sender_module.OF_ONE_EMPLOYEE
        assert loud.name not in door.answered


async def test_a_tenant_with_many_employees_leaves_places_to_others(pool: Pool) -> None:
    first = await open_desk(pool)
    crowd = [first, *[await open_desk(pool, first.tenant_id) for _ in range(4)]]
    stranger = await open_desk(pool)
    for desk in crowd:
        await desk.leave_replies(sender_module.OF_ONE_EMPLOYEE + 1)
    await stranger.leave_replies(1)
    names = {desk.name for desk in crowd}
    door = Door(hanging=names)
    async with sending(pool, door) as sender:
        await door.until(door.answered, stranger.name)
        async with asyncio.timeout(30):
            while len(door.called) - door.called.count(stranger.name) < sender_module.OF_ONE_TENANT:
                door.news.clear()
                await door.news.wait()
        await stranger.leave_replies(1)
        sender.look()
        await door.until(door.answered, stranger.name, 2)
        assert len(door.called) == sender_module.OF_ONE_TENANT + 2
        assert {door.called.count(name) for name in names} == {sender_module.OF_ONE_TENANT // len(crowd)}


async def test_messages_that_come_in_heaps_wait_behind_themselves(pool: Pool) -> None:
    loud = await open_desk(pool)
    colleague, stranger = await open_desk(pool, loud.tenant_id), await open_desk(pool)
    stored: list[UUID] = []
    receiver = Receiver(pool, lambda employee_id, _: stored.append(employee_id))
    async with asyncio.TaskGroup() as group:
        for _ in range(FLOOD):
            group.create_task(receiver.store(loud.arrival()))
        await asyncio.sleep(0)  # the flood stands in line
        for desk in (colleague, stranger):
            group.create_task(receiver.store(desk.arrival()))
    before = [stored.index(desk.employee_id) for desk in (colleague, stranger)]
    assert max(before) < FLOOD // 10, before
    assert stored.count(loud.employee_id) == FLOOD


async def test_statements_that_hang_hold_no_connection_that_others_need(pool: Pool) -> None:
    loud = await open_desk(pool)
    colleague, stranger = await open_desk(pool, loud.tenant_id), await open_desk(pool)
    receiver = Receiver(pool, lambda *_: None)
    async with asyncio.TaskGroup() as group, pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM employees WHERE employee_id = $1 FOR UPDATE", loud.employee_id)
        held = [group.create_task(receiver.store(loud.arrival())) for _ in range(MAX_CONNECTIONS * 2)]
        async with asyncio.timeout(20):
            while await _waiting_for_locks(pool) < receiver_module.OF_ONE_EMPLOYEE:
                await asyncio.sleep(0.02)
            await receiver.store(colleague.arrival())
            await receiver.store(stranger.arrival())
        assert await _waiting_for_locks(pool) == receiver_module.OF_ONE_EMPLOYEE
        assert not any(task.done() for task in held)


async def _waiting_for_locks(pool: Pool) -> int:
    count: int = await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return count


async def test_whoever_waits_for_a_place_is_told_in_the_end_to_deliver_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "STORE_SECONDS", 0.5)
    desk, receiver = await open_desk(pool), Receiver(pool, lambda *_: None)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM employees WHERE employee_id = $1 FOR UPDATE", desk.employee_id)
        storing = [receiver.store(desk.arrival()) for _ in range(receiver_module.OF_ONE_EMPLOYEE + 1)]
        ended = await asyncio.wait_for(asyncio.gather(*storing, return_exceptions=True), 20)
    assert [type(error) for error in ended] == [StoreUnavailable] * len(storing)
    monkeypatch.undo()
    assert not (await receiver.store(desk.arrival())).duplicate
