"""A message that is answered together with another: whoever follows it learns what became of that one."""

from collections.abc import AsyncIterator

import pytest

from controlplane.messages import Messages
from empla.store.connect import Pool, connect
from empla.store.ids import new_id
from tests.conftest import Database
from tests.integration.controlplane.waiting import Rows, Sent


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with connect(database.superuser_dsn, application_name="tests", max_size=4) as pool:
        yield pool


async def put(pool: Pool, sent: Sent, state: str, reason: str = "", into: Sent | None = None) -> None:
    """Straight to where its employee leaves it."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE inbound_messages SET processing_state = $2, step = '', reason = $3, collected_into = $4, epoch = 1, "
            "ended_at = CASE WHEN $2 <> 'working' THEN now() END WHERE message_id = $1",
            sent.message_id, state, reason, into and into.message_id,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "kind", "reason", "told"),
    [
        ("answered", "reply", "", "taken along"),
        ("failed", "notice", "no model", "taken along, which is failed: no model"),
        ("withheld", None, "cancelled by ada", "taken along, which is withheld: cancelled by ada"),
    ],
)
async def test_what_became_of_the_leading_message_is_told_of_those_it_took_along(
    pool: Pool, state: str, kind: str | None, reason: str, told: str
):
    rows, messages = Rows(pool), Messages(pool)
    leading = await rows.message()
    middle, last = [await rows.another(leading.tenant_id, leading.employee_id, leading.channel_id) for _ in range(2)]
    await put(pool, leading, "working")
    await put(pool, middle, "collected", into=leading)
    await put(pool, last, "collected", "taken along", into=middle)  # through another one that gave way
    standing = await messages.standing(last.message_id)
    assert (standing.settled, standing.collected_into) == (False, leading.message_id)

    await put(pool, leading, state, reason)
    if kind is not None:
        await pool.execute(
            "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, state, epoch) "
            "VALUES ($1, $2, $3, $4, $5, 'words', 'sent', 1)",
            new_id(), leading.tenant_id, leading.employee_id, leading.message_id, kind,
        )  # fmt: skip
    assert (await messages.standing(last.message_id)).settled
    message = await messages.get(last.message_id, None)
    assert (message.state, message.reason) == ("collected", told)
    assert message.collected_into == str(leading.message_id)
    assert [(reply.kind, reply.text) for reply in message.replies] == ([(kind, "words")] if kind else [])

    await pool.execute("DELETE FROM inbound_messages WHERE message_id = $1", leading.message_id)
    assert (await messages.standing(middle.message_id)).settled  # with nothing left to follow
