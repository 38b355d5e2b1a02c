"""Working memory: what the employee has in mind of a conversation for now. Small, expiring, and it survives restarts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from agent.errors import ActionFailed, Superseded
from agent.identity import Identity
from agent.kept import Kept
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("agent", "working.sql")
MAX_NOTE = 500
"""Characters."""
MAX_OF_CONVERSATION, MAX_NOTES = 8, 64
"""Notes; with more, the oldest go."""
HOURS, MAX_HOURS = 24, 30 * 24


@dataclass(frozen=True, slots=True)
class Note:
    """One note, of a conversation."""

    note_id: UUID
    conversation_id: UUID
    content: str
    expires_at: datetime


class Working:
    """The notes of one employee: read once and kept warm."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity
        self._kept = Kept(self._read)

    def reread(self) -> None:
        """The table may have changed otherwise: read it anew before it is next used."""
        self._kept.reread()

    async def of(self, conversation_id: UUID) -> list[Note]:
        """The notes of a conversation that hold now, oldest first."""
        return [note for note in await self.all() if note.conversation_id == conversation_id]

    async def all(self) -> list[Note]:
        """The notes of all conversations that hold now, oldest first."""
        held, now = await self._kept.get(), datetime.now(UTC)
        return [note for note in held if note.expires_at > now]

    async def _read(self, connection: AnyConnection | None) -> Sequence[Note]:
        with translated():
            rows = await (connection or self._pool).fetch(SQL.notes, self._identity.employee_id)
        return [Note(**row) for row in rows]

    async def note(self, message_id: UUID, content: str, hours: int) -> UUID:
        """Note something for the conversation of a message, the same once. Raises `ActionFailed`, `Superseded`."""
        try:
            with translated():
                row = await self._pool.fetchrow(
                    SQL.note, *self._us, new_id(), message_id, content, hours, MAX_OF_CONVERSATION, MAX_NOTES
                )
        finally:
            self.reread()
        if row is None:
            raise Superseded("a newer launch owns this employee")
        noted: UUID | None = row["note_id"]
        if noted is None:
            raise ActionFailed("the message that this was noted for is no longer there")
        return noted

    async def clear(self, message_id: UUID, note_id: str) -> int:
        """Remove a note of the conversation of a message, '' all of them; how many. Raises `Superseded`."""
        try:
            with translated():
                gone: int | None = await self._pool.fetchval(SQL.clear, *self._us, message_id, note_id)
        finally:
            self.reread()
        if gone is None:
            raise Superseded("a newer launch owns this employee")
        return gone

    @property
    def _us(self) -> tuple[UUID, int]:
        return self._identity.employee_id, self._identity.epoch
