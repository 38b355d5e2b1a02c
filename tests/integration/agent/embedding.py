"""The local model as an employee in this process has it, and notes of what it was asked."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from agent.errors import EmbeddingUnavailable, NoEmbeddingModel
from controlplane.embedding import LocalModel
from empla.v1 import gateway_pb2 as pb


class RealEmbedder:
    """An `Embedder` over the model itself; `questions` and `kept` are what it made vectors of."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self.name = model.name
        self.questions: list[str] = []
        self.kept: list[str] = []
        self.broken, self.stuck, self.gone, self.unheard_of = False, False, False, False

    async def embed(self, texts: Sequence[str], *, query: bool, deadline: float) -> pb.EmbedResponse:
        if self.gone:
            raise NoEmbeddingModel("there is no model")
        if self.broken:
            raise EmbeddingUnavailable("the model is broken")
        if self.unheard_of:
            raise ValueError("nobody has thought of this")
        if self.stuck:
            await asyncio.Event().wait()
        (self.questions if query else self.kept).extend(texts)
        vectors = [pb.Vector(values=vector) for vector in await self._model.embed(texts, query=query)]
        return pb.EmbedResponse(model=self.name, unrelated=self._model.unrelated, vectors=vectors)


@contextmanager
def real_embedder() -> Iterator[RealEmbedder]:
    with LocalModel() as model:
        yield RealEmbedder(model)
