"""Deleting a channel: it takes no more messages, and what came by it comes to an end that is on record.

First the channel ends, and then what is open of it. Should this control plane die in between, that goes on as before, and
the Sender withholds what comes of it.
"""

from contextlib import suppress
from uuid import UUID

from controlplane import audit
from controlplane.auth import Operator
from controlplane.channels import DELETED
from controlplane.errors import Invalid, NotNow, Unknown
from controlplane.stopping import Stopping, Wish
from empla.store.connect import AnyConnection, Pool, load_queries, translated

SQL = load_queries("controlplane", "disconnecting.sql")


class Disconnecting:
    """Deletes channels."""

    def __init__(self, pool: Pool, stopping: Stopping) -> None:
        self._pool, self._stopping = pool, stopping

    async def delete(self, channel_id: UUID, operator: Operator, *, force: bool) -> None:
        """Delete a channel of the operator's tenant; raises `Unknown`, and `NotNow` while it is in use, unless `force`.

        With `force` its open messages are cancelled and its schedules end.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                held = await connection.fetchrow(SQL.hold_channel, channel_id, operator.tenant_id)
                if held is None:
                    raise Unknown(f"there is no channel {channel_id}", reason="CHANNEL_UNKNOWN")
                if held["kind"] == "api":
                    raise Invalid("every tenant has the API's channel", fields={"channel_id": "of another kind"})
                messages = await _open(connection, channel_id, force=force)
                await connection.execute(SQL.delete, channel_id)
                await connection.execute(SQL.delete_rules, channel_id)
                detail = {"name": held["name"], "force": force, "messages": len(messages)}
                await audit.record(connection, held["tenant_id"], "channel.delete", channel_id, detail)
        await self._end(channel_id, messages, Wish(operator.name, DELETED))

    async def _end(self, channel_id: UUID, messages: list[UUID], wish: Wish) -> None:
        with translated():
            await self._pool.execute(SQL.end_schedules, channel_id, DELETED)
        for message_id in messages:
            with suppress(NotNow):  # it has come to its end meanwhile
                await self._stopping.stop(message_id, wish)


async def _open(connection: AnyConnection, channel_id: UUID, *, force: bool) -> list[UUID]:
    """The messages of which something is open; raises `NotNow` for those, and for schedules, unless `force`."""
    messages = [row["message_id"] for row in await connection.fetch(SQL.open, channel_id)]
    schedules = await connection.fetchval(SQL.schedules, channel_id)
    if (messages or schedules) and not force:
        raise NotNow(
            f"{len(messages)} messages of the channel are open and {schedules} schedules run there; use force to end them",
            reason="CHANNEL_IN_USE",
        )
    return messages
