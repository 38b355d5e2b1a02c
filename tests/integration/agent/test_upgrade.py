"""An upgrade: a database of an earlier version is migrated while others write, and what was in work is finished."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agent.models.offline.model import OfflineModel
from controlplane.employees import Employees
from controlplane.sender import Sender
from empla.store.connect import Pool, connect
from empla.store.ids import new_id
from empla.store.migrate import migrate
from empla.store.roles import create_employee_role
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_tenant
from tests.integration.agent.conftest import Office
from tests.integration.controlplane.test_sender import Door
from tests.integration.store.test_migrate import empty  # noqa: F401 - a fixture

# ruff: noqa: F811 - a fixture that another module has

EARLIER = 12
"""The version that is upgraded: before schedules, beliefs, goals, sub-agents and what is learnt."""
FILTERED = {"text": "What is 17 * 23?", "injection_score": 0, "reasons": []}


class Earlier:
    """The old installation's database, as its control plane and employee write to it."""

    def __init__(self, pool: Pool, tenant_id: UUID, employee_id: UUID, channel_id: UUID) -> None:
        self.pool, self.me, self.channel_id = pool, (tenant_id, employee_id), channel_id

    async def message(self, state: str = "received", step: str = "security_filter") -> UUID:
        """A message in some state of the pipeline; but for a new one, the process dies in the middle of this step."""
        message_id, conversation_id, claimed = new_id(), new_id(), state != "received"
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO conversations (conversation_id, tenant_id, employee_id, channel_id, external_id) "
                "VALUES ($1, $2, $3, $4, $5)",
                conversation_id, *self.me, self.channel_id, conversation_id.hex,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO inbound_messages (message_id, tenant_id, employee_id, channel_id, conversation_id, event_id, "
                "sender, processing_state, step, epoch, attempt, started_at) VALUES ($1, $2, $3, $4, $5, $6, 'ada', $7, $8, "
                "CASE WHEN $9 THEN 1 END, $9::int, CASE WHEN $9 THEN now() END)",
                message_id, *self.me, self.channel_id, conversation_id, message_id.hex, state, step, claimed,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO message_bodies (message_id, tenant_id, employee_id, body) VALUES ($1, $2, $3, $4)",
                message_id, *self.me, FILTERED["text"],
            )  # fmt: skip
            if claimed:
                await self._did(connection, message_id, "security_filter", FILTERED)
            if state == "sending":
                await connection.execute(
                    "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, epoch) "
                    "VALUES ($1, $2, $3, $4, 'reply', '391', 1)",
                    new_id(), *self.me, message_id,
                )  # fmt: skip
        return message_id

    async def _did(self, connection: Any, message_id: UUID, step: str, output: Any) -> None:
        await connection.execute(
            "INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, epoch, "
            "queued_at, started_at, duration_ms, outcome, output) "
            "VALUES ($1, $2, 1, $1, $3, $4, 'receive', 1, now(), now(), 1, 'succeeded', $5)",
            message_id, step, *self.me, output,
        )  # fmt: skip


@pytest.fixture
async def earlier(empty: Database) -> AsyncIterator[Earlier]:
    await migrate(empty.dsn, up_to=EARLIER)
    async with connect(empty.dsn, application_name="tests") as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id, desired_state="running")
        channel_id = await add_channel(pool, tenant_id, employee_id, callback_url="http://there/x")
        await pool.execute("UPDATE employee_epochs SET epoch = 1")
        yield Earlier(pool, tenant_id, employee_id, channel_id)


async def test_what_was_in_work_is_finished_and_nothing_is_lost_of_what_came_meanwhile(
    earlier: Earlier, empty: Database, tmp_path: Path
):
    new, begun = await earlier.message(), await earlier.message("analyzing", "context_retrieval")
    leaving = await earlier.message("sending", "send")
    upgraded, stored = asyncio.Event(), []

    async def write() -> None:
        while not upgraded.is_set():
            stored.append(await earlier.message())
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(write())
        names = await migrate(empty.dsn)
        upgraded.set()
    assert len(names) > 5
    assert stored

    async with connect(empty.dsn, application_name="tests") as pool:
        async with pool.acquire() as connection:
            await create_employee_role(connection, earlier.me[1], "password")
        record = await Employees(pool).by_id(earlier.me[1])
        workspace = tmp_path / "workspace"
        workspace.mkdir()
        office = Office(empty, pool, record, earlier.channel_id, workspace)
        async with office.employee(OfflineModel()) as gateway:
            await office.deliver_all(gateway)
            async with asyncio.timeout(90):
                while await pool.fetchval("SELECT count(*) FROM inbound_messages WHERE processing_state <> 'sending'"):
                    await office.deliver_all(gateway)
                    await asyncio.sleep(0.1)
        lost = await pool.fetch("SELECT message_id FROM step_attempts WHERE outcome = 'lost'")
        assert {row["message_id"] for row in lost} == {begun}
        door = Door()
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(Sender(pool, door, lambda _: None, instance="tests").run())
            async with asyncio.timeout(60):
                while await pool.fetchval("SELECT count(*) FROM inbound_messages WHERE ended_at IS NULL"):
                    await asyncio.sleep(0.05)
            sender.cancel()
    assert sorted(posted["message_id"] for posted in door.posted) == sorted(map(str, [new, begun, leaving, *stored]))
    assert all("391" in posted["text"] for posted in door.posted)
