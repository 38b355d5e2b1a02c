"""An employee on record, a way to store messages for it, and the employee itself over the local gateway."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agent.employee import DigitalEmployee
from agent.identity import Identity
from agent.local import LocalGateway
from agent.meaning import Embedder
from agent.models.interface import Model
from controlplane.auth import hashed
from controlplane.channels import Channels
from controlplane.employees import SQL as EMPLOYEES_SQL
from controlplane.employees import EmployeeRecord, Employees
from controlplane.gateway import SQL as GATEWAY_SQL
from controlplane.gateway import as_deliver, configuration
from controlplane.profiles import shipped_profile
from controlplane.receiver import Arrival, Receiver
from empla.schedules import RUN
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, employee_dsn
from tests.conftest import Database


@dataclass
class Office:
    """One employee on record, and the database it works with."""

    database: Database
    pool: Pool
    record: EmployeeRecord
    channel_id: UUID
    workspace: Path
    epoch: int = 0
    clock: Callable[[], float] = time.time

    async def store(self, text: str, *, conversation: str = "", event_id: str = "", **metadata: Any) -> UUID:
        """Store a message as the Receiver does."""
        arrival = self._arrival(text, conversation, event_id or new_id().hex, metadata)
        return (await Receiver(self.pool, lambda *_: None).store(arrival)).message_id

    async def store_run(self, text: str, *, conversation: str = "") -> UUID:
        """Store a run of a schedule as Firing does."""
        arrival = self._arrival(text, conversation, f"schedule:{new_id()}", {RUN: {"name": "daily"}})
        async with self.pool.acquire() as connection, connection.transaction():
            return (await Receiver(self.pool, lambda *_: None).write(connection, arrival)).stored.message_id

    def _arrival(self, text: str, conversation: str, event_id: str, metadata: dict[str, Any]) -> Arrival:
        return Arrival(
            tenant_id=self.record.tenant_id,
            channel_id=self.channel_id,
            employee_id=self.record.employee_id,
            event_id=event_id,
            sender="ada@example.com",
            text=text,
            conversation=conversation,
            metadata=metadata,
        )

    async def launch(self) -> Identity:
        """The next epoch."""
        self.epoch = await self.pool.fetchval(EMPLOYEES_SQL.launch, self.record.employee_id, hashed("secret"), "test")
        return Identity(self.record.employee_id, self.record.tenant_id, self.epoch)

    async def deliver_all(self, gateway: LocalGateway) -> None:
        """Deliver what nobody has claimed, all of it at once."""
        delivered: list[UUID] = []
        while rows := await self.undelivered(delivered):
            for row in rows:
                gateway.deliver(as_deliver(row))
            delivered += [row["message_id"] for row in rows]

    async def undelivered(self, known: Sequence[UUID] = ()) -> list[Any]:
        """The next message of each conversation that nobody has claimed, but for the known ones."""
        return await self.pool.fetch(GATEWAY_SQL.undelivered, self.record.employee_id, [], known, 1000)

    async def row(self, message_id: UUID) -> dict[str, Any]:
        """The message's row."""
        [row] = await self.pool.fetch("SELECT * FROM inbound_messages WHERE message_id = $1", message_id)
        return dict(row)

    async def replies(self, message_id: UUID) -> list[str]:
        """What is in the outbox for a message."""
        rows = await self.pool.fetch("SELECT body FROM outbox WHERE message_id = $1 ORDER BY queued_at", message_id)
        return [row["body"] for row in rows]

    async def attempts(self, message_id: UUID) -> list[tuple[str, str]]:
        """Step and outcome of each attempt, in order."""
        rows = await self.pool.fetch(
            "SELECT step, outcome FROM step_attempts WHERE message_id = $1 ORDER BY finished_at, started_at", message_id
        )
        return [(row["step"], row["outcome"]) for row in rows]

    @asynccontextmanager
    async def employee(self, model: Model, **fields: Any) -> AsyncIterator[LocalGateway]:
        """The employee, alive, as its own database role; drained at the end of the block."""
        async with asyncio.TaskGroup() as life:  # when the employee fails, so does the test, at once
            gateway, _ = await self.begin(life, model, **fields)
            yield gateway
            gateway.drain(5_000)

    async def begin(
        self,
        life: asyncio.TaskGroup,
        model: Model,
        embedder: Embedder | None = None,
        *,
        paused: bool = False,
        **fields: Any,
    ) -> tuple[LocalGateway, asyncio.Task[None]]:
        """The employee, alive; to cancel its task is as sudden for its rows as the death of a process."""
        identity = await self.launch()
        told = configuration(self.record)
        told.paused = paused or told.paused
        gateway = LocalGateway(told, embedder=embedder)
        dsn = employee_dsn(self.database.dsn, identity.employee_id, "password")
        employee = DigitalEmployee(identity, dsn, self.workspace, gateway, model, clock=self.clock, **fields)
        return gateway, life.create_task(employee.start())


@asynccontextmanager
async def opened(database: Database, workspace: Path, name: str = "sales-ae") -> AsyncIterator[Office]:
    """An employee of that name on record."""
    async with database.connect() as pool:
        employees = Employees(pool)
        tenant_id = await employees.ensure_tenant("default")
        profile = await asyncio.to_thread(shipped_profile, "sales-ae")
        profile.ClearField("schedules")  # a test has those that it makes
        record = await employees.create(tenant_id, name, profile, running=True)
        async with pool.acquire() as connection:
            await create_employee_role(connection, record.employee_id, "password")
        workspace.mkdir()
        yield Office(database, pool, record, await Channels(pool).api(tenant_id), workspace)


@pytest.fixture
async def office(database: Database, tmp_path: Path) -> AsyncIterator[Office]:
    async with opened(database, tmp_path / "workspace") as office:
        yield office
