"""What the employee remembers, and finds again by the words of a question and by what it means."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.meaning import Asked, Embedder, Meaning
from agent.mind.procedures import Procedures
from agent.working import Working
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id

SQL = load_queries("agent", "memory.sql")
MAX_CONTENT = 20_000
MAX_QUERY = 2_000
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
MAX_CHARACTERS = MAX_CONTENT + len("2027-01-31")
"""Of all that is recalled at once, each with its day, which is about 5,000 tokens."""
REINFORCE_AT, REINFORCE_SECONDS = 64, 60.0
"""Recalled memories that are counted together, and how long they wait at most for the next cycle that does it."""
ALL_WORDS = 0.999
"""The share of a question's words that a memory has which has them all."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory; `kind` is episodic, semantic, procedural or working."""

    memory_id: UUID
    kind: str
    content: str
    source: str
    created_at: datetime

    @property
    def day(self) -> str:
        """When it was kept, as it is shown with it."""
        return f"{self.created_at:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Found:
    """What words find, and whether it is `enough`: whether what they mean could add nothing."""

    memories: tuple[Memory, ...]
    enough: bool


class Memories:
    """The memories of one employee: `procedures` is how it does things, `working` what it has in mind now."""

    def __init__(self, pool: Pool, identity: Identity, embedder: Embedder) -> None:
        self._pool, self._identity, self._embedder = pool, identity, embedder
        self.meaning = Meaning(pool, identity, embedder)
        self.procedures = Procedures(pool, identity)
        self.working = Working(pool, identity)
        self._many = False
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

        Its words are looked up; where these find too little, or `meaning` is asked for, so is what it means, if a
        vector of it can be had within `deadline` seconds.
        """
        found = await self.recall_by_words(query, limit)
        if found.enough and not meaning:
            return list(found.memories)
        better = await self.recall_by_meaning(query, limit, deadline=deadline)
        if better is None and not found.enough:
            self.count(memory.memory_id for memory in found.memories)
        return list(found.memories) if better is None else better

    async def recall_by_words(self, query: str, limit: int) -> Found:
        """What is found without a look at what the query means, which takes a few milliseconds.

        It is enough where all there is fits, where `limit` memories have all words of the query, or nothing has a vector.
        Only then it counts as recalled; else the caller counts what it uses in the end.
        """
        if found := await self._everything(limit):
            return found
        rows = await self._rows(query, limit, None)
        memories = tuple(_fitting(_newest_first(rows)))
        covered = sum(row["coverage"] > ALL_WORDS for row in rows)
        found = Found(memories, covered >= limit or not self.meaning.may_help)
        if found.enough:
            self.count(memory.memory_id for memory in memories)
        return found

    async def recall_by_meaning(self, query: str, limit: int, *, deadline: float) -> list[Memory] | None:
        """What words and meaning find together; None when it cannot be had: the log and the span then say why.

        The vector of the query is waited for `deadline` seconds at most.
        """
        asked = await self.meaning.asked(query, deadline)
        return None if asked is None else await self.recall_meant(query, limit, asked)

    async def recall_meant(self, query: str, limit: int, asked: Asked) -> list[Memory] | None:
        """The same, with the vector of the query at hand; None when the database is away."""
        try:
            memories = list(_fitting(_newest_first(await self._rows(query, limit, asked))))
        except StoreUnavailable as error:
            self.meaning.missed(str(error))
            return None
        self.count(memory.memory_id for memory in memories)
        return memories

    async def _everything(self, limit: int) -> Found | None:
        """All memories, where these are few: whatever is asked, none of them is missing."""
        if self._many:
            return None
        with translated():
            rows = await self._pool.fetch(SQL.newest, self._identity.employee_id, limit + 1)
        self._many = len(rows) > limit
        memories = tuple(_fitting(map(_memory, rows)))
        if self._many or len(memories) < len(rows):
            return None
        self.count(memory.memory_id for memory in memories)
        return Found(memories, enough=True)

    async def _rows(self, query: str, limit: int, asked: Asked | None) -> list[Any]:
        means = (asked.vector, asked.model, asked.unrelated) if asked else (None, "", 0.0)
        with translated():
            return await self._pool.fetch(SQL.recall, self._identity.employee_id, query[:MAX_QUERY], *means, limit)

    def count(self, memory_ids: Iterable[UUID]) -> None:
        """These were recalled: they fade later. It is written with the next `tend`."""
        if len(self._recalled) < REINFORCE_AT:
            self._recalled.update(memory_ids)

    async def tend(self) -> bool:
        """Do what memories need and no reply waits for; whether there is more. Raises `Superseded`, `StoreUnavailable`."""
        waited = time.monotonic() - self._reinforced_at
        if len(self._recalled) >= REINFORCE_AT or (self._recalled and waited > REINFORCE_SECONDS):
            await self._reinforce()
        await self.procedures.requests.tend(self._embedder)
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


def _newest_first(rows: Iterable[Any]) -> list[Memory]:
    """The memories in their order, but of those that say the same otherwise the newest first: it holds now.

    Those say the same that have as much of the question, and the same words but for numbers or for one word.
    """
    groups: list[list[int]] = []
    found = [(_memory(row), row["coverage"], _NUMBER.sub("#", row["content"]).split()) for row in rows]
    for place, (memory, coverage, words) in enumerate(found):
        for group in groups:
            other, its_coverage, its_words = found[group[0]]
            differs = memory.content != other.content  # of the same words what counts more comes first
            if differs and coverage == its_coverage and _say_the_same(words, its_words):
                group.append(place)
                break
        else:
            groups.append([place])
    ordered = [memory for memory, _, _ in found]
    for group in groups:
        newest = sorted((found[place][0] for place in group), key=lambda one: one.created_at, reverse=True)
        for place, memory in zip(group, newest, strict=True):
            ordered[place] = memory
    return ordered


def _say_the_same(one: Sequence[str], other: Sequence[str]) -> bool:
    return len(one) == len(other) and sum(word != its for word, its in zip(one, other, strict=True)) <= 1


def _fitting(memories: Iterable[Memory]) -> Iterable[Memory]:
    """Those that fit into the budget together; one that does not makes room for the next."""
    room = MAX_CHARACTERS
    for memory in memories:
        length = len(memory.content) + len(memory.day)
        if length <= room:
            room -= length
            yield memory
