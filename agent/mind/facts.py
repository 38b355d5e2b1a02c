"""Facts that several episodes show together: semantic memories, each with what it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.mind.generalisation import MIN_EVIDENCE, Episode, Fact, Generalised, generalised, says_the_same
from agent.models.interface import Model, ModelError
from empla.store.connect import AnyConnection, Pool, load_queries, translated

SQL = load_queries("agent.mind", "facts.sql")
MIN_NEW = 10
"""So many new episodes are worth a look."""
MAX_READ = 40
"""Of more the latest are read, and the others are let be: a look costs the same, however much has happened."""
MAX_KNOWN = 40
MAX_LIKE = 5


class Remembers(Protocol):
    """What facts have of `Memories`."""

    async def remember(
        self, content: str, *, kind: str, source: str, importance: float, connection: AnyConnection
    ) -> UUID | None:
        """See `Memories.remember`."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """The episodes up to a time, and what was found in them; nothing of it is written yet."""

    until: datetime
    episodes: Sequence[Episode]
    found: Generalised


class Facts:
    """What an employee has found out from its episodes."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity
        self.away = False

    async def look(self, model: Model) -> Look | None:
        """Read the new episodes; None when there are too few, or while the model is `away`."""
        self.away = False
        with translated():
            rows = await self._pool.fetch(SQL.new_episodes, self._identity.employee_id, MAX_READ)
            if len(rows) < MIN_NEW:
                return None
            known = await self._pool.fetch(SQL.latest_facts, self._identity.employee_id, MAX_KNOWN)
        episodes = [Episode(row["memory_id"], row["content"], row["source"]) for row in reversed(rows)]
        try:
            found = await generalised(model, episodes, [row["content"] for row in known])
        except ModelError as error:
            if error.retryable:
                self.away = True
                return None
            found = Generalised(refused=(f"{type(error).__name__}: {error}"[:500],))
        return Look(rows[0]["created_at"], episodes, found)

    async def write(
        self, connection: AnyConnection, look: Look, source: str, memories: Remembers
    ) -> tuple[list[Fact], list[str]]:
        """Write what was found within the caller's transaction, but for what is known or was forgotten meanwhile.

        `source` names where the facts are from. Returns those that were written, and why others were not. Raises
        `Superseded`.
        """
        us = (self._identity.employee_id, self._identity.epoch)
        there = {row["source"] for row in await connection.fetch(SQL.hold_episodes, us[0], look.until)}
        kept, refused = list[Fact](), list(look.found.refused)
        for fact in look.found.facts:
            sources = [one for one in fact.sources if one in there]
            if len(sources) < MIN_EVIDENCE:
                refused.append("what it rests on was forgotten")
            elif says_the_same(fact.text, await self._like(connection, fact.text)):
                refused.append(f"{fact.text}: it is known already")
            else:
                memory_id = await memories.remember(
                    fact.text, kind="semantic", source=source, importance=fact.importance, connection=connection
                )
                await connection.execute(SQL.keep_evidence, *us, memory_id, sources)
                kept.append(fact)
        if await connection.fetchval(SQL.looked_through, *us, look.until) is None:
            raise Superseded("a newer launch owns this employee")
        return kept, refused

    async def _like(self, connection: AnyConnection, text: str) -> list[Any]:
        rows = await connection.fetch(SQL.facts_like, self._identity.employee_id, text, MAX_LIKE)
        return [row["content"] for row in rows]
