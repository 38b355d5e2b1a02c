"""Recall: facts of an office found again among up to 100,000 memories, beside plain vector and plain full-text search.

The same questions go to each in turn, at each number of memories, in one server and one run. What is timed is the search;
the vector of a question, which all but full-text search need, is a row of its own.
"""

import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.identity import Identity
from agent.memory import Memories
from controlplane.embedding import DIMENSIONS, LocalModel
from empla.store.connect import Pool, connect, connect_once, load_queries
from empla.store.embedded import EmbeddedPostgres
from empla.store.ids import new_id
from empla.store.migrate import migrate
from empla.v1 import gateway_pb2 as pb
from loadtests.database import hire, temporary_home
from loadtests.remembered import FACTS, QUESTIONS, WORDINGS, Question, talk
from loadtests.report import Figure, percentile

SQL = load_queries("loadtests", "recall.sql")
FIRST = 5
"""Among how many of what is found the fact has to be."""
RECALLED = 8
WARM_UP = 20
AT_ONCE = 10_000
DAYS = 365.0

_US = ("memory_id", "tenant_id", "employee_id")
_MEMORY, _VECTOR = ("kind", "importance", "content", "created_at"), ("model", "embedding")

type Vectors = NDArray[np.float32]
type Search = Callable[[Question], Awaitable[Sequence[str]]]
"""Finds the contents of memories, the best first."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Memories of each employee, texts of which vectors are really made, and how often all questions are asked."""

    sizes: tuple[int, ...]
    texts: int
    rounds: int


FULL = Lengths(sizes=(100, 1_000, 10_000, 100_000), texts=1_000, rounds=1)
QUICK = Lengths(sizes=(100, 1_000), texts=40, rounds=1)


@dataclass
class Made:
    """Vectors that were made before, as the gateway would give them."""

    vectors: dict[str, list[float]]

    async def embed(self, texts: Sequence[str], *, query: bool, deadline: float) -> pb.EmbedResponse:
        """See `Gateway.embed`."""
        vectors = [pb.Vector(values=self.vectors[text]) for text in texts]
        return pb.EmbedResponse(model=LocalModel.name, unrelated=LocalModel.unrelated, vectors=vectors)


@dataclass
class Asked:
    """What became of all questions: which found their fact, and milliseconds."""

    hits: list[tuple[Question, bool]] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)

    async def ask(self, search: Search, questions: Sequence[Question] = QUESTIONS) -> None:
        for question in questions:
            before = time.perf_counter()
            found = await search(question)
            self.taken.append((time.perf_counter() - before) * 1000)
            self.hits.append((question, question.fact in found[:FIRST]))

    def hit(self, wording: str = "") -> float:
        """Percent of the questions, or of those with one wording."""
        counted = [hit for question, hit in self.hits if wording in ("", question.wording)]
        return 100 * sum(counted) / len(counted)


async def measure(lengths: Lengths) -> list[Figure]:
    async with AsyncExitStack() as stack:
        model = stack.enter_context(LocalModel())
        facts, texts = (
            await _vectors(model, FACTS),
            await _vectors(model, list(itertools.islice(talk(), lengths.texts))),
        )
        questions, embedding = {}, list[float]()
        for question in QUESTIONS:
            before = time.perf_counter()
            [questions[question.text]] = await model.embed([question.text], query=True)
            embedding.append((time.perf_counter() - before) * 1000)
        server = await stack.enter_async_context(EmbeddedPostgres(stack.enter_context(temporary_home())))
        await migrate(server.dsn)
        owner = await stack.enter_async_context(connect(server.dsn, application_name="bench", command_timeout=1200))
        asked = {}
        for size in lengths.sizes:
            identity, dsn = await hire(owner, server.dsn, f"ada-{size}")
            await _fill(owner, identity, size, facts, texts)
            await _settle(server)
            own = await stack.enter_async_context(connect(dsn, application_name="bench employee"))
            memories = Memories(own, identity, Made(questions))
            await memories.tend()
            asked[size] = await _take_turns(_searches(owner, identity, memories, questions), lengths.rounds)
        return _figures(asked, embedding)


async def _vectors(model: LocalModel, texts: Sequence[str]) -> Vectors:
    return np.array(await model.embed(texts, query=False), dtype=np.float32)


async def _fill(owner: Pool, identity: Identity, size: int, facts: Vectors, texts: Vectors) -> None:
    """A year of `size` memories, the facts hidden among them.

    What else is remembered gets a vector between two of those that were made, with some noise.
    """
    chance, noise = random.Random(5), np.random.default_rng(5)
    places = dict(zip(chance.sample(range(size), len(FACTS)), range(len(FACTS)), strict=True))
    said, now = talk(), datetime.now(UTC)
    for start in range(0, size, AT_ONCE):
        numbers = range(start, min(size, start + AT_ONCE))
        one, other = noise.integers(0, len(texts), (2, len(numbers)))
        between = (
            0.8 * texts[one] + 0.2 * texts[other] + noise.normal(0, 0.1 / DIMENSIONS**0.5, (len(numbers), DIMENSIONS))
        )
        memories, vectors = [], []
        for number, vector in zip(numbers, between, strict=True):
            fact = places.get(number)
            text = next(said) if fact is None else FACTS[fact]
            kind, memory_id, at = (
                ("episodic", 0.5) if "I answered" in text else ("semantic", 0.8),
                new_id(),
                timedelta(DAYS),
            )
            us = (memory_id, identity.tenant_id, identity.employee_id)
            memories.append((*us, *kind, text, now - at * (1 - number / size)))
            vectors.append((*us, LocalModel.name, vector / np.linalg.norm(vector) if fact is None else facts[fact]))
        await _store(owner, memories, vectors)
    await owner.execute(SQL.graph.format(table=f"nearest_{identity.employee_id.hex}", employee=identity.employee_id))


async def _settle(server: EmbeddedPostgres) -> None:
    """Have nothing that is measured pay for what was written before."""
    async with connect_once(server.superuser_dsn, application_name="bench", command_timeout=None) as connection:
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")


async def _store(owner: Pool, memories: list[tuple[Any, ...]], vectors: list[tuple[Any, ...]]) -> None:
    async with owner.acquire() as connection:
        await connection.set_type_codec("vector", schema="public", format="binary", encoder=_binary, decoder=bytes)
        await connection.copy_records_to_table("memories", records=memories, columns=[*_US, *_MEMORY])
        await connection.copy_records_to_table("memory_vectors", records=vectors, columns=[*_US, *_VECTOR])
        await connection.reset_type_codec("vector", schema="public")


def _binary(vector: Vectors) -> bytes:
    return len(vector).to_bytes(2) + bytes(2) + vector.astype(">f4").tobytes()


def _searches(
    owner: Pool, identity: Identity, memories: Memories, vectors: dict[str, list[float]]
) -> dict[str, Search]:
    """What is compared, by name: empla's recall as an employee has it, the others as the owner of the tables."""
    us, table = identity.employee_id, f"nearest_{identity.employee_id.hex}"

    async def recall(question: Question) -> Sequence[str]:
        return [memory.content for memory in await memories.recall(question.text, RECALLED, deadline=10)]

    async def by_words(question: Question) -> Sequence[str]:
        return [memory.content for memory in (await memories.recall_by_words(question.text, RECALLED)).memories]

    def plain(statement: str, vector: bool) -> Search:
        async def search(question: Question) -> Sequence[str]:
            wanted = f"[{','.join(f'{value:.6g}' for value in vectors[question.text])}]" if vector else question.text
            return [row["content"] for row in await owner.fetch(statement, us, wanted, FIRST)]

        return search

    return {
        "recall": recall,
        "its words alone": by_words,
        "pgvector, every vector": plain(SQL.nearest, vector=True),
        "pgvector, HNSW": plain(SQL.nearest_in_graph.format(table=table), vector=True),
        "full-text search": plain(SQL.with_all_words, vector=False),
        "full-text search, any word": plain(SQL.with_any_word, vector=False),
    }


async def _take_turns(searches: dict[str, Search], rounds: int) -> dict[str, Asked]:
    asked = {name: Asked() for name in searches}
    for search in searches.values():  # plans, caches and connections warm up
        await Asked().ask(search, QUESTIONS[:WARM_UP])
    for _ in range(rounds):
        for name, search in searches.items():
            await asked[name].ask(search)
    return asked


def _figures(asked: dict[int, dict[str, Asked]], embedding: list[float]) -> list[Figure]:
    vector = percentile(embedding, 50)
    figures = [Figure("a question's vector, p50", vector, "ms")]
    for size, found in asked.items():
        own, others = found.pop("recall"), found
        figures += _compared(f"recall among {size:,} memories", own, others)
        found["recall"] = own
    few, many = asked[min(asked)], asked[max(asked)]
    flat = f"p50 with {max(asked):,} memories over that with {min(asked):,}"
    words = [percentile(one["its words alone"].taken, 50) for one in (few, many)]
    whole = [percentile(one["recall"].taken, 50) + vector for one in (few, many)]
    figures.append(Figure(f"recall by words alone, {flat}", words[1] / words[0], "x", 1.2))
    figures.append(Figure(f"recall with the question's vector made, {flat}", whole[1] / whole[0], "x", 1.2))
    return figures


def _compared(name: str, own: Asked, others: dict[str, Asked]) -> Iterator[Figure]:
    for peer, found in others.items():
        for wording in ("", *WORDINGS):
            of = f", {wording.replace('_', ' ')}" if wording else ""
            hits = own.hit(wording), found.hit(wording)
            yield Figure(f"{name}{of}, hit@{FIRST}", hits[0], "%", better="high", peer=peer, peer_value=hits[1])
        for percent in (50, 99):
            took = percentile(own.taken, percent), percentile(found.taken, percent)
            yield Figure(f"{name}, p{percent}", took[0], "ms", peer=peer, peer_value=took[1])
