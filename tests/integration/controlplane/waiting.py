"""What waits for a person, written straight into the tables."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from controlplane.receiver import Arrival, Receiver
from empla.store.connect import Pool
from empla.store.ids import new_id
from tests.factories import add_channel, add_employee, add_tenant

WAIT_FOR_LOCKS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
"""How many connections wait for another's."""


@dataclass(frozen=True)
class Sent:
    """A message of an employee, and whose it is."""

    tenant_id: UUID
    employee_id: UUID
    channel_id: UUID
    message_id: UUID


@dataclass(frozen=True)
class Waiting:
    """A review, and the rows it is about."""

    pool: Pool
    of: Sent
    review_id: UUID
    worker_id: UUID | None = None
    outbox_id: UUID | None = None

    @property
    def unit_id(self) -> UUID:
        return self.worker_id or self.of.message_id

    async def answer(self) -> Any:
        """The answer that the unit has got, and who gave it; None without one."""
        row = await self.pool.fetchrow("SELECT answer, answered_by FROM unit_answers WHERE unit_id = $1", self.unit_id)
        return row and (row["answer"], row["answered_by"])

    async def review(self) -> Any:
        return await self.pool.fetchrow("SELECT * FROM reviews WHERE review_id = $1", self.review_id)

    async def message(self) -> tuple[str, str, str]:
        row = await self.pool.fetchrow("SELECT * FROM inbound_messages WHERE message_id = $1", self.of.message_id)
        assert row is not None
        return row["processing_state"], row["step"], row["reason"]

    async def row(self) -> Any:
        return await self.pool.fetchrow("SELECT * FROM outbox WHERE outbox_id = $1", self.outbox_id)

    async def row_becomes(self, state: str) -> Any:
        async with asyncio.timeout(15):
            while (row := await self.row())["state"] != state:
                await asyncio.sleep(0.02)
        return row

    async def audited(self) -> list[tuple[str, str, UUID]]:
        rows = await self.pool.fetch("SELECT * FROM audit_log WHERE subject = $1", str(self.review_id))
        return [(row["actor"], row["action"], row["tenant_id"]) for row in rows]

    async def expires(self) -> None:
        """Its time is over."""
        await self.pool.execute(
            "UPDATE reviews SET expires_at = now() - interval '1 second' WHERE review_id = $1", self.review_id
        )


@dataclass(frozen=True)
class Rows:
    """Writes them; `superuser` puts units where only their employee could move them."""

    superuser: Pool

    async def message(self, *, autonomy: str = "supervised", tenant_id: UUID | None = None) -> Sent:
        """A message of a new employee, over the API."""
        pool = self.superuser
        tenant_id = tenant_id or await add_tenant(pool, f"t{new_id().hex}")
        employee_id = await add_employee(pool, tenant_id, f"e{new_id().hex}", autonomy=autonomy)
        channel_id = await add_channel(pool, tenant_id, employee_id, f"c{new_id().hex}", kind="api", secret=None)
        return await self.another(tenant_id, employee_id, channel_id)

    async def another(self, tenant_id: UUID, employee_id: UUID, channel_id: UUID) -> Sent:
        """One more message of the same conversation."""
        arrival = Arrival(
            tenant_id=tenant_id, channel_id=channel_id, employee_id=employee_id, event_id=new_id().hex,
            sender="ada", text="how many?", conversation="thread",
        )  # fmt: skip
        stored = await Receiver(self.superuser, lambda *_: None).store(arrival)
        return Sent(tenant_id, employee_id, channel_id, stored.message_id)

    async def draft(self, sent: Sent | None = None, body: str = "two") -> Waiting:
        """A reply that the Sender holds, or will: its review is opened by the Sender."""
        return await self._in_outbox(sent or await self.message(), "held", "draft", body)

    async def unknown(self) -> Waiting:
        """A reply of which nobody knows whether it arrived."""
        return await self._in_outbox(await self.message(autonomy="autonomous"), "unknown_after_send", None, "two")

    async def _in_outbox(
        self, sent: Sent, state: str, kind: str | None, body: str, held_for: str = "approval"
    ) -> Waiting:
        await self.put_message(sent, "waiting", "send")
        outbox_id, review_id = new_id(), new_id()
        await self.superuser.execute(
            "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, state, epoch, attempt, "
            "ended_at) VALUES ($1, $2, $3, $4, 'reply', $5, $6, 1, 1, now())",
            outbox_id, sent.tenant_id, sent.employee_id, sent.message_id, body, state,
        )  # fmt: skip
        payload = {"text": body, "kind": "reply"}
        return await self._review(sent, kind or state, review_id, payload=payload, outbox_id=outbox_id)

    async def unit(self, kind: str, worker_state: str = "waiting_for_input", sent: Sent | None = None) -> Waiting:
        """A worker that waits for a decision of this kind."""
        sent, worker_id = sent or await self.message(), new_id()
        await self.put_message(sent, "working", "")
        await self.superuser.execute(
            "INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent, state) "
            "VALUES ($1, $2, $3, $4, 0, '{}', $5)",
            worker_id, sent.message_id, sent.tenant_id, sent.employee_id, worker_state,
        )  # fmt: skip
        return await self._review(sent, kind, new_id(), worker_id=worker_id)

    async def classification(self) -> Waiting:
        """A message that nobody could classify."""
        sent = await self.message()
        await self.put_message(sent, "waiting", "classification")
        return await self._review(sent, "classification", new_id())

    async def closable(self, kind: str = "needs_manual_intervention") -> Waiting:
        """A review that nothing goes on from."""
        sent = await self.message()
        await self.put_message(sent, "failed", "merge")
        return await self._review(sent, kind, new_id())

    async def _review(self, sent: Sent, kind: str, review_id: UUID, **columns: Any) -> Waiting:
        values = {
            "review_id": review_id, "tenant_id": sent.tenant_id, "employee_id": sent.employee_id,
            "message_id": sent.message_id, "kind": kind, **columns,
        }  # fmt: skip
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        await self.superuser.execute(f"INSERT INTO reviews ({', '.join(values)}) VALUES ({places})", *values.values())
        return Waiting(self.superuser, sent, review_id, columns.get("worker_id"), columns.get("outbox_id"))

    async def put_message(self, sent: Sent, state: str, step: str) -> None:
        async with self.superuser.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(
                "UPDATE inbound_messages SET processing_state = $2, step = $3, epoch = 1, "
                "ended_at = CASE WHEN $2 IN ('answered', 'failed') THEN now() END WHERE message_id = $1",
                sent.message_id, state, step,
            )  # fmt: skip
