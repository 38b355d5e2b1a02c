"""What the employee remembers, and finds again by the words of a question and by what it means."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.meaning import Embedder, Meaning
from agent.mind.procedures import Procedures
from agent.working import Working
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("agent", "memory.sql")
MAX_CONTENT = 20_000
MAX_QUERY = 2_000
MAX_CHARACTERS = MAX_CONTENT
"""Of all that is recalled at once, which is about 5,000 tokens."""
REINFORCE_AT, REINFORCE_SECONDS = 64, 60.0
"""Recalled memories that are counted together, and how long they wait at most for the next cycle that does it."""
FUSION = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory; `kind` is episodic, semantic, procedural or working."""

    memory_id: UUID
    kind: str
    content: str
    source: str
    created_at: datetime


class Memories:
    """The memories of one employee: `procedures` is how it does things, `working` what it has in mind now."""

    def __init__(self, pool: Pool, identity: Identity, embedder: Embedder) -> None:
        self._pool, self._identity = pool, identity
        self.meaning = Meaning(pool, identity, embedder)
        self.procedures = Procedures(pool, identity)
        self.working = Working(pool, identity)
        self._recalled: Counter[UUID] = Counter()
        self._reinforced_at = time.monotonic()

    def reread(self) -> None:
        """Read what is kept warm anew before it is next used: somebody may have had some of it forgotten."""
        self.procedures.reread()
        self.working.reread()

    async def remember(
        self,
        content: str,
        *,
        kind: str,
        source: str,
        importance: float = 0.5,
        message_id: UUID | None = None,
        connection: AnyConnection | None = None,
    ) -> UUID | None:
        """Keep `content` (cut at 20,000 characters), learnt in a message; None when the source had told it already.

        With a `connection`, within the caller's transaction.
        It is found by its words at once, by its meaning after the next `tend`. Raises `Superseded` when a newer launch owns
        the employee: then nothing was kept.
        """
        content = content[:MAX_CONTENT]
        with translated():
            row = await (connection or self._pool).fetchrow(
                SQL.remember,
                new_id(),
                kind,
                content,
                source,
                importance,
                self._identity.employee_id,
                self._identity.epoch,
                message_id,
            )
        if row is None:
            raise Superseded("a newer launch owns this employee")
        kept: UUID | None = row["memory_id"]
        if kept is not None:
            self.meaning.add(kept, content)
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
            memory_id = new_id()
            await connection.execute(SQL.remember, memory_id, "semantic", content, source, importance, *us, None)
            self.meaning.add(memory_id, content)

    async def recall(self, query: str, limit: int = 8, *, deadline: float, meaning: bool = False) -> list[Memory]:
        """At most `limit` memories that fit `query`, the best first, and no more than fit into 20,000 characters.

        Its words are looked up; where they find too few, or `meaning` is asked for, so is its meaning, if that takes no
        longer than `deadline` seconds.
        """
        with translated():
            found = await self._pool.fetch(SQL.recall, self._identity.employee_id, query[:MAX_QUERY], limit)
        if (meaning or len(found) < limit) and (near := await self.meaning.near(query, limit, deadline)):
            found = _fused(found, near)[:limit]
        memories = list(_fitting(map(_memory, found)))
        if len(self._recalled) < REINFORCE_AT:
            self._recalled.update(memory.memory_id for memory in memories)
        return memories

    async def tend(self) -> bool:
        """Do what memories need and no reply waits for; whether there is more. Raises `Superseded`, `StoreUnavailable`."""
        waited = time.monotonic() - self._reinforced_at
        if len(self._recalled) >= REINFORCE_AT or (self._recalled and waited > REINFORCE_SECONDS):
            await self._reinforce()
        return await self.meaning.tend()

    async def _reinforce(self) -> None:
        """Count what was recalled; what is not counted yet when the process ends is forgotten."""
        recalled, self._recalled, self._reinforced_at = self._recalled, Counter(), time.monotonic()
        identity = self._identity
        with translated():
            owned = await self._pool.fetchval(
                SQL.reinforce, list(recalled), list(recalled.values()), identity.employee_id, identity.epoch
            )
        if owned is None:
            raise Superseded("a newer launch owns this employee")


def _memory(row: Any) -> Memory:
    return Memory(row["memory_id"], row["kind"], row["content"], row["source"], row["created_at"])


def _fused(*rankings: Sequence[Any]) -> list[Any]:
    """One ranking of several whose scores cannot be compared."""
    rows: dict[UUID, Any] = {}
    scores: defaultdict[UUID, float] = defaultdict(float)
    for ranking in rankings:
        for place, row in enumerate(ranking, 1):
            rows[row["memory_id"]] = row
            scores[row["memory_id"]] += 1 / (FUSION + place)
    return sorted(rows.values(), key=lambda row: -scores[row["memory_id"]])


def _fitting(memories: Iterable[Memory]) -> Iterable[Memory]:
    """Those that fit into the budget together; one that does not makes room for the next."""
    room = MAX_CHARACTERS
    for memory in memories:
        if len(memory.content) <= room:
            room -= len(memory.content)
            yield memory
