"""What messages asked for that procedures are for, by its meaning: vectors made in the background, and held in memory."""

from collections.abc import Sequence
from itertools import batched
from math import sumprod
from typing import Any
from uuid import UUID

from agent.errors import EmbeddingUnavailable
from agent.identity import Identity
from agent.meaning import BATCH, BATCH_SECONDS, Asked, Embedder
from empla.store.connect import Pool, load_queries, translated

SQL = load_queries("agent.mind", "procedures.sql")
OF_EACH = 3
"""The last requests for a procedure, which differ in names."""
NEAR = 0.5
"""From here on a message asks for the same as a request, where 0 is as near as any two texts are and 1 the same text.

Of 13 messages in other words or another language the local model puts 7 from 0.5 to 0.8 and the others below; of 11 that
ask for something else, and name the same customer at times, it puts none above 0.47.
"""


class Requests:
    """The last requests for the procedures of one employee that are told."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity
        self._vectors: dict[UUID, list[tuple[float, ...]]] = {}
        self._model, self._stale = "", True

    @property
    def known(self) -> bool:
        """Whether there is anything to compare a message with."""
        return bool(self._vectors)

    def reread(self) -> None:
        """Others may be told now, or some may have been forgotten."""
        self._vectors, self._stale = {}, True

    async def tend(self, embedder: Embedder) -> None:
        """Make the vectors anew, if requests may be others; without a model that is tried again with the next call."""
        if not self._stale:
            return
        self._stale, made = False, False
        try:
            with translated():
                rows = await self._pool.fetch(SQL.requests, self._identity.employee_id, OF_EACH)
            for some in batched(rows, BATCH):
                await self._make(some, embedder)
            made = True
        except EmbeddingUnavailable:
            return  # the vectors of memories, which are made next, say so
        finally:
            self._stale = self._stale or not made

    async def _make(self, rows: Sequence[Any], embedder: Embedder) -> None:
        answer = await embedder.embed([row["request"] for row in rows], query=True, deadline=BATCH_SECONDS)
        if answer.model != self._model:
            self._vectors, self._model = {}, answer.model
        for row, vector in zip(rows, answer.vectors, strict=True):
            self._vectors.setdefault(row["procedure_id"], []).append(tuple(vector.values))

    def like(self, asked: Asked) -> dict[UUID, float]:
        """How near a message is to the nearest request for each procedure, where that is near enough."""
        if asked.model != self._model:
            return {}
        near = {
            procedure_id: max((sumprod(one, asked.values) - asked.unrelated) / (1 - asked.unrelated) for one in vectors)
            for procedure_id, vectors in self._vectors.items()
        }
        return {procedure_id: nearness for procedure_id, nearness in near.items() if nearness >= NEAR}
