"""What the employee remembers, and finds again by the words of a question."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("agent", "memory.sql")
MAX_CONTENT = 20_000
MAX_QUERY = 2_000


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory; `kind` is episodic, semantic, procedural or working."""

    memory_id: UUID
    kind: str
    content: str
    source: str
    created_at: datetime


class Memories:
    """The memories of one employee."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity

    async def remember(self, content: str, *, kind: str, source: str, importance: float = 0.5) -> UUID | None:
        """Keep `content` (cut at 20,000 characters); None when it was known from the same source already.

        Raises `Superseded` when a newer launch owns the employee: then nothing was kept.
        """
        with translated():
            row = await self._pool.fetchrow(
                SQL.remember,
                new_id(),
                kind,
                content[:MAX_CONTENT],
                source,
                importance,
                self._identity.employee_id,
                self._identity.epoch,
            )
        if row is None:
            raise Superseded("a newer launch owns this employee")
        kept: UUID | None = row["memory_id"]
        return kept

    async def relearn(self, connection: AnyConnection, source: str, content: str, importance: float) -> None:
        """Put a fact in place of what `source` taught before, '' nothing, within the caller's transaction.

        Raises `Superseded`.
        """
        us = (self._identity.employee_id, self._identity.epoch)
        known = await connection.fetchval(SQL.unlearn, source, *us)
        if known is None:
            raise Superseded("a newer launch owns this employee")
        if content:
            await connection.execute(SQL.remember, new_id(), "semantic", content, source, importance, *us)

    async def recall(self, query: str, limit: int = 8) -> list[Memory]:
        """At most `limit` memories that share words with `query`, the best first."""
        with translated():
            rows = await self._pool.fetch(SQL.recall, self._identity.employee_id, query[:MAX_QUERY], limit)
        return [Memory(r["memory_id"], r["kind"], r["content"], r["source"], r["created_at"]) for r in rows]
