"""Development without a control plane: what a program needs that lets employees live in its own process.

The rows, the rules and the Sender are those of production; what is missing is the control plane's process with its ports,
its launchers and its sweeps. Such a program and `empla up` take turns with a home.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from controlplane.auth import hashed, new_secret
from controlplane.callbacks import Callbacks
from controlplane.channels import Channels
from controlplane.employees import DEFAULT_TENANT, EmployeeRecord, Employees
from controlplane.employees import SQL as EMPLOYEES_SQL
from controlplane.errors import NotNow, Unknown
from controlplane.followers import Followers
from controlplane.gateway import SQL as GATEWAY_SQL
from controlplane.gateway import as_deliver, configuration
from controlplane.messages import Messages
from controlplane.profiles import shipped_profile
from controlplane.receiver import Arrival, Receiver
from controlplane.sender import Sender
from controlplane.settings import LOOPBACK
from controlplane.stepping import Stepping
from controlplane.stopping import Stopping
from controlplane.telling import Telling
from empla.store.connect import Pool, connect, translated
from empla.store.embedded import EmbeddedPostgres
from empla.store.ids import new_id
from empla.store.migrate import migrate
from empla.store.roles import create_employee_role, employee_dsn
from empla.v1 import control_pb2, gateway_pb2

LAUNCHER = "development"
WINDOW = 100
"""Messages that are delivered at once."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of an employee, with its own login to the database and its files."""

    record: EmployeeRecord
    epoch: int
    database_url: str
    workspace: Path

    @property
    def configuration(self) -> gateway_pb2.EmployeeConfiguration:
        """What the employee is told of itself."""
        return configuration(self.record)


@asynccontextmanager
async def office(home: Path) -> AsyncIterator["Office"]:
    """The database below `home`, started and brought up to date, and who sends replies and begins steps of plans at work.

    All end with the block. `home` is an absolute path. Raises `StoreError` when the database cannot be used:
    `EmbeddedUnavailable` also while `empla up` has this home.
    """
    async with EmbeddedPostgres(home) as server:
        await migrate(server.dsn)
        async with (
            connect(server.dsn, application_name="empla development") as pool,
            Callbacks(LOOPBACK) as callbacks,
            asyncio.TaskGroup() as work,
        ):
            followers = Followers()
            instance = f"{LAUNCHER}:{os.getpid()}:{new_id()}"
            sender = Sender(pool, callbacks, followers.changed, instance=instance)
            here = Office(home, server.dsn, pool, sender, followers)
            tasks = [
                work.create_task(sender.run(), name="sender"),
                work.create_task(here.begin_steps(), name="steps"),
            ]
            try:
                yield here
            finally:
                for task in tasks:
                    task.cancel()


class Office:
    """Employees on record, and the way of messages to them and of replies from them."""

    def __init__(self, home: Path, dsn: str, pool: Pool, sender: Sender, followers: Followers) -> None:
        self._home, self._dsn, self._pool, self._sender, self._followers = home, dsn, pool, sender, followers
        self._employees, self._messages = Employees(pool), Messages(pool)
        self._news: defaultdict[UUID, asyncio.Event] = defaultdict(asyncio.Event)
        self._receiver = Receiver(pool, lambda employee_id, _: self._news[employee_id].set())
        self._telling = Telling(self._messages, followers)

    async def launch(self, name: str, profile: str) -> Launch:
        """The next epoch of the employee `name`; with a shipped `profile` it is put on record when it is not there.

        Raises `NotNow` for one that a control plane is to run, and what `Employees.create` and `shipped_profile` raise.
        """
        record = await self._on_record(name, profile)
        if record.desired_state == "running":
            raise NotNow(f"{name} is run by a control plane: `empla employee stop {name}` first, or take another name")
        workspace, password = self._home / "workspaces" / str(record.employee_id), new_secret()
        await asyncio.to_thread(workspace.mkdir, mode=0o700, parents=True, exist_ok=True)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                credential = hashed(new_secret())  # that nobody knows: such an employee attaches nowhere
                epoch = await connection.fetchval(EMPLOYEES_SQL.launch, record.employee_id, credential, LAUNCHER)
                await create_employee_role(connection, record.employee_id, password)
        return Launch(record, epoch, employee_dsn(self._dsn, record.employee_id, password), workspace)

    async def _on_record(self, name: str, profile: str) -> EmployeeRecord:
        tenant_id = await self._employees.ensure_tenant(DEFAULT_TENANT)
        try:
            return await self._employees.find(tenant_id, name)
        except Unknown:
            brought = await asyncio.to_thread(shipped_profile, profile)
            return await self._employees.create(tenant_id, name, brought, running=False)

    async def store(self, to: EmployeeRecord, text: str, *, sender: str = "developer", conversation: str = "") -> UUID:
        """Make a message durable; '' begins a conversation. Raises what `Receiver.store` does."""
        arrival = Arrival(
            tenant_id=to.tenant_id,
            channel_id=await Channels(self._pool).api(to.tenant_id),
            employee_id=to.employee_id,
            event_id=new_id().hex,
            sender=sender,
            text=text,
            conversation=conversation,
        )
        return (await self._receiver.store(arrival)).message_id

    async def begin_steps(self) -> None:
        """Make messages of the steps that employees have ready, and stop those of ended plans, until cancelled."""
        stopping = Stopping(self._pool, changed=self._followers.changed, look=self._sender.look)
        await Stepping(self._pool, self._receiver, stopping).run(self._dsn)

    async def deliver(self, to: EmployeeRecord, deliver: Callable[[gateway_pb2.Deliver], None]) -> None:
        """Hand over what is stored for an employee, be it by itself, until cancelled. One does so for each employee."""
        news, known = self._news[to.employee_id], list[UUID]()
        while True:
            news.clear()  # before the table is read, so that what is stored meanwhile is looked for again
            while messages := await self.undelivered(to, known):
                for message in messages:
                    deliver(message)
                known += [UUID(message.message_id) for message in messages]
            with translated():
                known = [row["message_id"] for row in await self._pool.fetch(GATEWAY_SQL.unclaimed, known)]
            await news.wait()

    async def undelivered(self, to: EmployeeRecord, known: Sequence[UUID] = ()) -> list[gateway_pb2.Deliver]:
        """The next message of each conversation that the employee has not taken, but for the known ones."""
        with translated():
            rows = await self._pool.fetch(GATEWAY_SQL.undelivered, to.employee_id, [], known, WINDOW)
        return [as_deliver(row) for row in rows]

    async def settled(self, to: EmployeeRecord, message_id: UUID) -> control_pb2.Message:
        """The message with its replies, once it has ended or waits for a person."""
        self._sender.look()
        with self._followers.follow(message_id, to.employee_id) as follower:
            async for _ in self._telling.until_settled(message_id, follower):
                pass
        return await self._messages.get(message_id, to.tenant_id)
