"""What the tables say of employees' work: stuck, queued, failing."""

from typing import Any
from uuid import UUID

from controlplane.vitals import SQL
from empla.store.connect import Pool
from empla.store.ids import new_id
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_tenant


async def work(pool: Pool) -> dict[UUID, Any]:
    return {row["employee_id"]: dict(row) for row in await pool.fetch(SQL.work, 10, 70)}


async def message(pool: Pool, me: tuple[UUID, UUID], conversation: UUID, *, minutes: int, **columns: Any) -> UUID:
    """A message that came so long ago."""
    message_id, names = new_id(), "".join(f", {name}" for name in columns)
    values = "".join(f", ${number}" for number in range(7, 7 + len(columns)))
    await pool.execute(
        "INSERT INTO inbound_messages (message_id, tenant_id, employee_id, conversation_id, channel_id, event_id, sender, "
        f"received_at{names}) SELECT $1, $2, $3, $4, channel_id, $5, 'ada', now() - make_interval(mins => $6){values} "
        "FROM conversations WHERE conversation_id = $4",
        message_id, *me, conversation, message_id.hex, minutes, *columns.values(),
    )  # fmt: skip
    return message_id


async def conversation(pool: Pool, me: tuple[UUID, UUID], channel_id: UUID) -> UUID:
    made = new_id()
    await pool.execute("INSERT INTO conversations VALUES ($1, $2, $3, $4, $5)", made, *me, channel_id, made.hex)
    return made


async def begun(pool: Pool, message_id: UUID, minutes: int) -> None:
    await pool.execute(
        "UPDATE inbound_messages SET epoch = 1, attempt = 1, started_at = now() - make_interval(mins => $2) "
        "WHERE message_id = $1",
        message_id, minutes,
    )  # fmt: skip


async def test_only_what_nothing_is_waited_for_is_stuck(database: Database):
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id)
        me, channel_id = (tenant_id, employee_id), await add_channel(pool, tenant_id, employee_id)
        assert await work(pool) == {}
        talk = await conversation(pool, me, channel_id)
        first = await message(pool, me, talk, minutes=15)
        await message(pool, me, talk, minutes=14)  # it waits for the first one
        await message(pool, me, await conversation(pool, me, channel_id), minutes=2)
        waiting = {"processing_state": "waiting", "step": "work", "epoch": 1}
        waits = await message(pool, me, await conversation(pool, me, channel_id), minutes=900, **waiting)
        found = (await work(pool))[employee_id]
        assert (found["stuck"], found["queued"]) == (1, 3)
        assert 890 < found["stuck_seconds"] < 910
        await begun(pool, first, 9)
        assert (await work(pool))[employee_id]["stuck"] == 0
        await begun(pool, first, 11)
        assert (await work(pool))[employee_id]["stuck"] == 1
        for step, minutes, state in (
            ("action_planning", 11, "running"), ("action_planning", 900, "waiting_for_input"),
            ("background", 60, "running"), ("background", 71, "running"),
        ):  # fmt: skip
            await pool.execute(
                "INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent, step, "
                "started_at, state) SELECT gen_random_uuid(), $1, $2, $3, count(*), '{}', $4, "
                "now() - make_interval(mins => $5), $6 FROM message_workers",
                waits, *me, step, minutes, state,
            )  # fmt: skip
        assert (await work(pool))[employee_id]["stuck"] == 3


async def test_failures_count_while_they_are_new(database: Database):
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id)
        for stage, outcome, minutes in (
            ("work", "succeeded", 1), ("work", "failed", 9), ("analyze", "lost", 1), ("work", "failed", 11),
            ("work", "drained", 1), ("send", "failed", 1), ("send", "succeeded", 1), ("send", "failed", 12),
        ):  # fmt: skip
            await pool.execute(
                "INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, queued_at, "
                "started_at, finished_at, duration_ms, outcome) VALUES ($1, 'x', 1, $1, $2, $3, $4, now(), now(), "
                "now() - make_interval(mins => $6), 1, $5)",
                new_id(), tenant_id, employee_id, stage, outcome, minutes,
            )  # fmt: skip
        for state in ("open", "open", "resolved"):
            await pool.execute(
                "INSERT INTO reviews (review_id, tenant_id, employee_id, kind, state) VALUES ($1, $2, $3, 'quarantine', $4)",
                new_id(), tenant_id, employee_id, state,
            )  # fmt: skip
        [found] = await pool.fetch(SQL.tried, 10)
        assert (found["attempts"], found["failed"], found["unsent"]) == (4, 2, 1)
        assert (await work(pool))[employee_id]["reviews"] == 2
