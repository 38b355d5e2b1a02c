"""The beliefs of one employee: read once and kept warm, for nobody else changes them, save who has one forgotten."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.kept import Kept
from agent.mind.revision import (
    WORD,
    Belief,
    Change,
    Key,
    Observation,
    Revised,
    compared,
    revised,
    settled,
)
from agent.moments import BeliefUpdated, tell
from empla.beliefs import DROPPED_BELOW
from empla.store.connect import AnyConnection, Pool, load_queries, translated

SQL = load_queries("agent.mind", "beliefs.sql")


class Beliefs:
    """What is held, and what comes of what is seen."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity
        self._kept = Kept(self._read)

    async def about(self, text: str, limit: int) -> list[tuple[Belief, float]]:
        """At most `limit` beliefs whose subject `text` names, with what is left of their confidence.

        What is surest and matters most comes first.
        """
        held, now = await self._kept.get(), datetime.now(UTC)
        said = set(WORD.findall(compared(text, len(text))))
        named = [(one, one.confidence_at(now)) for one in held.values() if said.issuperset(WORD.findall(one.key[0]))]
        alive = [(one, confidence) for one, confidence in named if confidence >= DROPPED_BELOW]
        return sorted(alive, key=lambda found: found[1] * (0.5 + found[0].importance), reverse=True)[:limit]

    async def latest(self, limit: int) -> list[Belief]:
        """The `limit` beliefs that were supported last."""
        held = await self._kept.get()
        return sorted(held.values(), key=lambda one: one.supported_at, reverse=True)[:limit]

    async def unconsidered(self, sources: Sequence[str]) -> list[str]:
        """Those of these events that have changed no belief yet: an event counts once, however often it is looked at."""
        with translated():
            rows = await self._pool.fetch(SQL.considered, self._identity.employee_id, sources)
        known = {row["source"] for row in rows}
        return [source for source in sources if source not in known]

    async def revisions(self, connection: AnyConnection, seen: Iterable[Observation]) -> list[Revised]:
        """What these observations and the time make of what is held; nothing is changed yet."""
        held, now = dict(await self._kept.get(connection)), datetime.now(UTC)
        changes = []
        for one in seen:
            change = revised(held.get((compared(one.subject), compared(one.predicate))), one, now)
            held[change.belief.key] = change.belief
            changes.append(change)
        return [*changes, *settled(held, now)]

    async def write(self, connection: AnyConnection, cycle_id: UUID, changes: Iterable[Revised]) -> list[Revised]:
        """Write the changes within the caller's transaction, but for those of beliefs that were forgotten meanwhile.

        Returns those that were written; raises `Superseded`. `took` is to follow the commit, `reread` a failure.
        """
        identity, kept = self._identity, []
        for one in sorted(changes, key=lambda one: one.belief.belief_id):  # as whoever forgets some locks them
            belief, us = one.belief, (identity.employee_id, identity.epoch, one.belief.belief_id)
            told = (belief.subject, belief.predicate, belief.object, belief.confidence)
            if one.change is Change.DROPPED:
                written = await connection.fetchval(SQL.drop, *us, *told, one.change, one.why, cycle_id)
            else:
                standing = (belief.importance, belief.supported_at, one.change, one.why, cycle_id, one.source)
                written = await connection.fetchval(SQL.hold, *us, *belief.key, *told, *standing, belief.promoted)
            if written is None:
                raise Superseded("a newer launch owns this employee")
            if written:
                kept.append(one)
            else:
                self.reread()
        return kept

    async def after(self, connection: AnyConnection, changes: Iterable[Revised]) -> dict[Key, Belief]:
        """What is held once these changes are taken."""
        held = dict(await self._kept.get(connection))
        _take(held, changes)
        return held

    def took(self, changes: Collection[Revised]) -> None:
        """Hold what is on record now, and tell it."""
        for one in changes:
            _tell(one)
        if self._kept.held is not None:
            _take(self._kept.held, changes)

    def reread(self) -> None:
        """The table may have changed otherwise: read what is held anew before it is next used."""
        self._kept.reread()

    async def _read(self, connection: AnyConnection | None) -> dict[Key, Belief]:
        with translated():
            rows = await (connection or self._pool).fetch(SQL.beliefs, self._identity.employee_id)
        beliefs = [Belief(**row) for row in rows]
        return {belief.key: belief for belief in beliefs}


def _take(held: dict[Key, Belief], changes: Iterable[Revised]) -> None:
    for one in changes:
        if one.change is Change.DROPPED:
            held.pop(one.belief.key, None)
        else:
            held[one.belief.key] = one.belief


def _tell(changed: Revised) -> None:
    belief = changed.belief
    tell(
        BeliefUpdated,
        change=changed.change,
        subject=belief.subject,
        predicate=belief.predicate,
        object=belief.object,
        confidence=belief.confidence,
        why=changed.why,
    )
