"""Memories found by what they mean: their vectors, made in the background, and those of questions."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from agent.errors import EmbeddingUnavailable, NoEmbeddingModel, Superseded
from agent.identity import Identity
from empla import telemetry
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import gateway_pb2 as pb

log = logging.getLogger(__name__)

SQL = load_queries("agent", "meaning.sql")
BATCH = 8
MAX_BATCHES = 16
"""Of one cycle; what is left is for the next, which then follows at once."""
BATCH_SECONDS = 60.0
MAX_FRESH = 256
MAX_EMBEDDED = 2000
"""Characters of a memory: more than the local model reads, and never over what the gateway takes."""
MAX_ASKED = 500
"""Characters of a question: the time that a vector takes grows with its text."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's vector, the model that made it, and how near any two texts are for that model."""

    values: tuple[float, ...]
    model: str
    unrelated: float

    @property
    def vector(self) -> str:
        """As pgvector reads it."""
        return _text(self.values)


class Embedder(Protocol):
    """What `Gateway` has of embeddings."""

    async def embed(self, texts: Sequence[str], *, query: bool, deadline: float) -> pb.EmbedResponse:
        """See `Gateway.embed`."""
        ...


class Meaning:
    """The vectors of one employee's memories."""

    def __init__(self, pool: Pool, identity: Identity, embedder: Embedder) -> None:
        self._pool, self._identity, self._embedder = pool, identity, embedder
        self._fresh: dict[UUID, str] = {}
        self._model, self._any, self._said = "", False, ""
        self._known = asyncio.Event()
        self.look_again()

    def look_again(self) -> None:
        """The model may be another now, or there may be one at last."""
        self._scan = True

    def add(self, memory_id: UUID, content: str) -> None:
        """There is a new memory, which gets its vector when `tend` is next called."""
        if len(self._fresh) < MAX_FRESH:
            self._fresh[memory_id] = content
        else:
            self._scan = True

    async def tend(self) -> bool:
        """Make some of the vectors that are missing; whether more are left. Raises `Superseded` and `StoreUnavailable`.

        What cannot be had now is tried again at the next call, and said once.
        """
        if not (self._scan or self._fresh):
            return False
        done = False
        try:
            more = await self._make()
            done = True
        except EmbeddingUnavailable as error:
            self._any = self._any and not isinstance(error, NoEmbeddingModel)
            self._say(f"memories are found by their words only: {error}", error)
            return False
        finally:
            self._known.set()
            if not done:
                self._scan = True
        return more

    @property
    def may_help(self) -> bool:
        """Whether there are vectors to compare with, as far as is known."""
        return self._any or not self._known.is_set()

    async def asked(self, query: str, deadline: float) -> Asked | None:
        """What a question means; None when it cannot be had within `deadline` seconds: the log and the span then say why.

        None without a word when there is nothing to compare it with.
        """
        if not self.may_help:
            return None
        try:
            async with asyncio.timeout(deadline):
                await self._known.wait()
                return await self._asked(query, deadline) if self._any else None
        except TimeoutError:
            why = f"not within {deadline:g} s"
        except EmbeddingUnavailable as error:
            why = str(error)
        self.missed(why)
        return None

    def missed(self, why: str) -> None:
        """Say that a question is not looked up by its meaning, though it might be."""
        log.warning("a question is looked up by its words only: %s", why)
        telemetry.annotate(recall_by_words_only=why)

    async def _asked(self, query: str, deadline: float) -> Asked:
        answer = await self._embedder.embed([query[:MAX_ASKED]], query=True, deadline=deadline)
        if answer.model != self._model:
            self.look_again()
        return Asked(tuple(answer.vectors[0].values), answer.model, answer.unrelated)

    async def _make(self) -> bool:
        if self._scan:
            await self._look()
        for _ in range(MAX_BATCHES):
            batch = await self._batch()
            if not batch:
                return False
            texts = [content[:MAX_EMBEDDED] for content in batch.values()]
            answer = await self._embedder.embed(texts, query=False, deadline=BATCH_SECONDS)
            await self._keep(list(batch), answer)
            if answer.model != self._model:
                self.look_again()
                return False  # at the next cycle: two control planes with a model each would keep this one busy
        return self._scan or bool(self._fresh)

    async def _look(self) -> None:
        model = (await self._embedder.embed([], query=False, deadline=BATCH_SECONDS)).model
        with translated():
            self._any = await self._pool.fetchval(SQL.has_vectors, self._identity.employee_id, model)
        self._model = model
        self._known.set()
        self._say(f"memories are found by their meaning, with {model}")

    async def _batch(self) -> dict[UUID, str]:
        if self._scan:
            self._fresh.clear()  # the table has them
            with translated():
                rows = await self._pool.fetch(SQL.without_vector, self._identity.employee_id, self._model, BATCH)
            self._scan = len(rows) == BATCH
            return {row["memory_id"]: row["content"] for row in rows}
        chosen = list(self._fresh)[:BATCH]
        return {memory_id: self._fresh.pop(memory_id) for memory_id in chosen}

    async def _keep(self, memory_ids: list[UUID], answer: pb.EmbedResponse) -> None:
        vectors, identity = [_text(vector.values) for vector in answer.vectors], self._identity
        with translated():
            kept = await self._pool.fetchval(
                SQL.keep_vectors, memory_ids, vectors, answer.model, identity.employee_id, identity.epoch
            )
        if kept is None:
            raise Superseded("a newer launch owns this employee")
        self._any = self._any or kept > 0

    def _say(self, what: str, error: EmbeddingUnavailable | None = None) -> None:
        if what != self._said:
            log.log(logging.WARNING if error and not isinstance(error, NoEmbeddingModel) else logging.INFO, "%s", what)
        self._said = what


def _text(values: Iterable[float]) -> str:
    """As pgvector reads it."""
    return f"[{','.join(f'{value:.6g}' for value in values)}]"
