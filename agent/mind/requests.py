"""What messages asked for that procedures are for, by its meaning: vectors made in the background, and held in memory."""

from collections.abc import Sequence
from itertools import batched
from math import sumprod
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

type _Asked = tuple[UUID, str]
"""A procedure, and a request for it."""


class Requests:
    """The last requests for the procedures of one employee that are told."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity
        self._vectors: dict[_Asked, tuple[float, ...]] = {}
        self._model, self._stale = "", True

    @property
    def known(self) -> bool:
        """Whether there is anything to compare a message with."""
        return bool(self._vectors)

    def reread(self) -> None:
        """Others may be told from the next `tend` on."""
        self._stale = True

    async def tend(self, embedder: Embedder) -> None:
        """Make the vectors that are missing, if requests may be others; without a model the next call tries again."""
        if not self._stale:
            return
        self._stale, made = False, False
        try:
            with translated():
                rows = await self._pool.fetch(SQL.requests, self._identity.employee_id, OF_EACH)
            wanted = [(row["procedure_id"], row["request"]) for row in rows]
            self._vectors = {one: self._vectors[one] for one in wanted if one in self._vectors}
            for some in batched((one for one in wanted if one not in self._vectors), BATCH):
                await self._make(some, embedder)
            made = True
        except EmbeddingUnavailable:
            return  # the vectors of memories, which are made next, say so
        finally:
            self._stale = self._stale or not made

    async def _make(self, wanted: Sequence[_Asked], embedder: Embedder) -> None:
        answer = await embedder.embed([request for _, request in wanted], query=True, deadline=BATCH_SECONDS)
        if answer.model != self._model:
            self._stale = bool(self._vectors)  # those of the other model are made anew
            self._vectors, self._model = {}, answer.model
        self._vectors |= {one: tuple(made.values) for one, made in zip(wanted, answer.vectors, strict=True)}

    def like(self, asked: Asked) -> dict[UUID, float]:
        """How near a message is to the nearest request for each procedure, where that is near enough."""
        near: dict[UUID, float] = {}
        if asked.model != self._model:
            self._vectors, self._stale = {}, True
        for (procedure_id, _), vector in self._vectors.items():
            nearness = (sumprod(vector, asked.values) - asked.unrelated) / (1 - asked.unrelated)
            if nearness >= near.get(procedure_id, NEAR):
                near[procedure_id] = nearness
        return near
