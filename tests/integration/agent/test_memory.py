"""Memories found by their words, and by what they mean with the real local model."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from agent import meaning
from agent.errors import Superseded
from agent.memory import MAX_CHARACTERS, Memories
from agent.models.scripted import ScriptedModel
from agent.pipeline import analyze
from empla.store.connect import connect
from empla.store.roles import employee_dsn
from tests.integration.agent.conftest import Office
from tests.integration.agent.embedding import RealEmbedder, real_embedder
from tests.integration.agent.test_pipeline import answered

PATIENT = 60.0
PEANUTS, PARIS = "My colleague Bo is allergic to peanuts.", "The office in Paris closes early on Fridays."
SNACKS = "Which snacks are dangerous for him?"


@pytest.fixture
def embedder() -> Iterator[RealEmbedder]:
    with real_embedder() as embedder:
        yield embedder


@asynccontextmanager
async def memories_of(office: Office, embedder: RealEmbedder) -> AsyncIterator[Memories]:
    identity = await office.launch()
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        yield Memories(pool, identity, embedder)


@pytest.fixture
async def memories(office: Office, embedder: RealEmbedder) -> AsyncIterator[Memories]:
    async with memories_of(office, embedder) as memories:
        yield memories


async def told(memories: Memories, *facts: str) -> None:
    for fact in facts:
        await memories.remember(fact, kind="semantic", source="told")


async def texts(memories: Memories, query: str, **options) -> list[str]:
    return [memory.content for memory in await memories.recall(query, **{"deadline": PATIENT} | options)]


async def until_embedded(office: Office, count: int) -> None:
    async with asyncio.timeout(PATIENT):
        while await office.pool.fetchval("SELECT count(*) FROM memory_vectors") < count:
            await asyncio.sleep(0.02)


async def test_what_no_word_finds_its_meaning_does(memories: Memories):
    await told(memories, PARIS, PEANUTS)
    assert await memories.tend() is False
    assert await texts(memories, SNACKS, limit=1) == [PEANUTS]


async def test_few_memories_are_all_recalled_and_nothing_is_asked(memories: Memories, embedder: RealEmbedder):
    await told(memories, PARIS, PEANUTS)
    await memories.tend()
    assert set(await texts(memories, SNACKS)) == {PARIS, PEANUTS}
    assert embedder.questions == []


async def test_a_conversation_gets_a_fact_of_three_conversations_ago_in_other_words(
    office: Office, embedder: RealEmbedder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(analyze, "RECALL_SECONDS", PATIENT)
    monkeypatch.setattr(analyze, "MEANING_SECONDS", PATIENT)
    monkeypatch.setattr(analyze, "MAX_MEMORIES", 2)
    model = ScriptedModel()
    async with office.employee(model, embedder=embedder) as gateway:
        for number, text in enumerate((PEANUTS, PARIS, "What is 17 * 3?"), 1):
            await answered(office, gateway, text, conversation=f"thread {number}")
            await until_embedded(office, number)
        await answered(office, gateway, SNACKS, conversation="thread 4")
    assert "peanuts" in model.requests[-1].messages[-1].text


@pytest.mark.parametrize("trouble", ["stuck", "unheard_of"])
async def test_a_question_whose_meaning_cannot_be_had_is_answered_all_the_same(
    office: Office, embedder: RealEmbedder, monkeypatch: pytest.MonkeyPatch, trouble: str
):
    """From what its words find, which counts as recalled."""
    monkeypatch.setattr("agent.memory.REINFORCE_SECONDS", 0.0)
    monkeypatch.setattr(analyze, "RECALL_SECONDS", 0.01)
    monkeypatch.setattr(analyze, "MAX_MEMORIES", 1)
    model = ScriptedModel()
    async with office.employee(model, embedder=embedder) as gateway:
        for number, text in enumerate((PEANUTS, PARIS), 1):
            await answered(office, gateway, text, conversation=f"thread {number}")
            await until_embedded(office, number)
        before = await recalled(office, PEANUTS)
        setattr(embedder, trouble, True)
        await answered(office, gateway, "Any peanuts or snacks left?", conversation="thread 3")
        async with asyncio.timeout(60):
            while await recalled(office, PEANUTS) == before:
                await asyncio.sleep(0.02)
    assert "peanuts" in model.requests[-1].messages[-1].text
    attempts = await office.pool.fetch("SELECT outcome FROM step_attempts WHERE step = 'classification'")
    assert {row["outcome"] for row in attempts} == {"succeeded"}


async def recalled(office: Office, text: str) -> int:
    """How often the memory with this text was recalled."""
    count: int = await office.pool.fetchval(
        "SELECT recall_count FROM memories WHERE content LIKE '%' || $1 || '%'", text
    )
    return count


async def test_of_what_says_the_same_with_other_numbers_the_newest_comes_first(memories: Memories):
    limits = [f"Our discount limit is {limit} %." for limit in (55, 71, 12, 89, 30)]
    await told(memories, *limits, *(f"Room {number} is on the first floor." for number in range(6)))
    await memories.tend()
    found = await texts(memories, "What is our discount limit?", meaning=True)
    assert [text for text in found if text in limits] == limits[::-1]


@pytest.mark.parametrize("names", [("Pugoluzo", "Mamuvuvo"), ("Mamuvuvo", "Pugoluzo")])
async def test_of_two_answers_to_a_question_the_newest_comes_first(memories: Memories, names: tuple[str, str]):
    """Whichever name is nearer to the question."""
    owners = [f"The owner of Kozatodo is {name}." for name in names]
    await told(memories, *owners, *(f"The owner of Firm{number} is Bo." for number in range(8)))
    await memories.tend()
    found = await texts(memories, "Who is the owner of Kozatodo?", meaning=True)
    assert [text for text in found if text in owners] == owners[::-1]


async def test_words_that_find_enough_ask_for_no_meaning(memories: Memories, embedder: RealEmbedder):
    await told(memories, PEANUTS, "Peanuts are sold out.", PARIS)
    await memories.tend()
    assert len(await texts(memories, "peanuts 4711x", limit=2)) == 2
    assert embedder.questions == []
    await texts(memories, "peanuts", limit=2, meaning=True)
    assert embedder.questions == ["peanuts"]


async def test_some_of_the_words_are_not_enough(memories: Memories, embedder: RealEmbedder):
    await told(memories, "Bo likes tea.", "Bo sits upstairs.", "Bo plays chess.", PEANUTS)
    await memories.tend()
    assert (await texts(memories, "Which snacks are dangerous for Bo?", limit=3))[0] == PEANUTS


async def test_without_vectors_nothing_is_asked(memories: Memories, embedder: RealEmbedder):
    await memories.tend()
    assert await texts(memories, SNACKS) == []
    assert embedder.questions == []


async def test_a_question_right_after_the_start_waits_for_the_vectors_that_there_are(
    office: Office, embedder: RealEmbedder
):
    async with memories_of(office, embedder) as before:
        await told(before, PEANUTS, PARIS)
        await before.tend()
    async with memories_of(office, embedder) as memories:
        asked = asyncio.create_task(texts(memories, SNACKS, limit=1))
        await asyncio.sleep(0.05)
        await memories.tend()
        assert await asked == [PEANUTS]


@pytest.mark.parametrize("trouble", ["broken", "stuck"])
async def test_a_model_that_does_not_answer_leaves_what_the_words_find_and_says_so(
    memories: Memories, embedder: RealEmbedder, caplog: pytest.LogCaptureFixture, trouble: str
):
    await told(memories, PEANUTS, PARIS)
    await memories.tend()
    setattr(embedder, trouble, True)
    patience = 0.2 if trouble == "stuck" else PATIENT
    with caplog.at_level(logging.WARNING, "agent.meaning"):
        assert await texts(memories, "any peanuts left?", limit=1, deadline=patience) == [PEANUTS]
    assert "by its words only" in caplog.text


async def test_what_could_not_be_embedded_is_embedded_later(memories: Memories, embedder: RealEmbedder):
    await told(memories, PARIS)
    await memories.tend()
    embedder.broken = True
    await told(memories, PEANUTS)
    assert await memories.tend() is False
    assert await texts(memories, SNACKS, limit=1) == []
    embedder.broken = False
    await memories.tend()
    assert embedder.kept == [PARIS, PEANUTS]
    assert await texts(memories, SNACKS, limit=1) == [PEANUTS]


async def test_many_are_embedded_in_turns_each_once(
    memories: Memories, embedder: RealEmbedder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(meaning, "BATCH", 2)
    monkeypatch.setattr(meaning, "MAX_BATCHES", 4)
    monkeypatch.setattr(meaning, "MAX_FRESH", 3)
    facts = [f"fact number {number}" for number in range(11)]
    await memories.tend()
    await told(memories, *facts)
    turns = 1
    while await memories.tend():
        turns += 1
    assert turns == 2
    assert sorted(embedder.kept) == sorted(facts)
    await memories.tend()
    assert len(embedder.kept) == 11


async def test_another_model_makes_its_own_vectors(office: Office, memories: Memories, embedder: RealEmbedder):
    await told(memories, PEANUTS)
    await memories.tend()
    embedder.name = "another"
    memories.meaning.look_again()
    await memories.tend()
    rows = await office.pool.fetch("SELECT model FROM memory_vectors")
    assert [row["model"] for row in rows] == ["another"]
    assert embedder.kept == [PEANUTS] * 2


async def test_two_models_in_turn_do_not_keep_the_loop_busy(memories: Memories, embedder: RealEmbedder):
    await memories.tend()
    await told(memories, PEANUTS)
    embedder.name = "another"
    assert await memories.tend() is False
    await memories.tend()
    assert embedder.kept == [PEANUTS]


async def test_when_there_is_no_model_any_more_none_is_asked(
    memories: Memories, embedder: RealEmbedder, caplog: pytest.LogCaptureFixture
):
    await told(memories, PEANUTS, PARIS)
    await memories.tend()
    embedder.gone = True
    memories.meaning.look_again()
    with caplog.at_level(logging.INFO, "agent.meaning"):
        await memories.tend()
        assert await texts(memories, SNACKS, limit=1) == []
    assert [record.getMessage() for record in caplog.records if record.name == "agent.meaning"] == [
        "memories are found by their words only: there is no model"
    ]


async def test_what_is_gone_meanwhile_gets_no_vector(office: Office, memories: Memories):
    await memories.tend()
    await told(memories, PEANUTS, PARIS)
    await office.pool.execute("DELETE FROM memories WHERE content = $1", PEANUTS)
    await memories.tend()
    assert await office.pool.fetchval("SELECT count(*) FROM memory_vectors") == 1
    await office.pool.execute("DELETE FROM memories")
    assert await office.pool.fetchval("SELECT count(*) FROM memory_vectors") == 0


async def test_what_is_recalled_is_counted_later_and_together(
    office: Office, memories: Memories, monkeypatch: pytest.MonkeyPatch
):
    await told(memories, PEANUTS, PARIS)
    await memories.tend()
    for _ in range(3):
        await texts(memories, "peanuts", limit=1)
    counts = "SELECT recall_count, last_recalled_at IS NOT NULL AS recalled FROM memories ORDER BY created_at"
    assert [tuple(row) for row in await office.pool.fetch(counts)] == [(0, False)] * 2
    monkeypatch.setattr("agent.memory.REINFORCE_SECONDS", 0.0)
    await memories.tend()
    await memories.tend()
    assert [tuple(row) for row in await office.pool.fetch(counts)] == [(3, True), (0, False)]


async def test_what_only_words_could_find_is_counted_as_well(
    office: Office, embedder: RealEmbedder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agent.memory.REINFORCE_SECONDS", 0.0)
    async with memories_of(office, embedder) as memories:
        await told(memories, PEANUTS, PARIS)
        await memories.tend()
        embedder.broken = True
        await texts(memories, "any peanuts left?", limit=1)
        await memories.tend()
    recalled = await office.pool.fetch("SELECT content FROM memories WHERE recall_count = 1")
    assert [row["content"] for row in recalled] == [PEANUTS]


async def test_a_process_that_is_superseded_keeps_no_vectors(office: Office, memories: Memories):
    await memories.tend()
    await told(memories, PEANUTS)
    await office.launch()
    with pytest.raises(Superseded):
        await memories.tend()
    assert await office.pool.fetchval("SELECT count(*) FROM memory_vectors") == 0


async def test_facts_that_are_important_and_recent_come_first(office: Office, memories: Memories):
    same = "Bo must not eat nuts"
    for source, kind, importance in (("a", "semantic", 0.2), ("b", "semantic", 0.9), ("c", "episodic", 0.9)):
        await memories.remember(same, kind=kind, source=source, importance=importance)
    await memories.remember(same, kind="semantic", source="old", importance=0.9)
    await office.pool.execute("UPDATE memories SET created_at = now() - interval '2 years' WHERE source = 'old'")
    await memories.tend()
    for query in (SNACKS, "nuts"):
        found = await memories.recall(query, 3, deadline=PATIENT, meaning=True)
        assert [memory.source for memory in found] == ["b", "old", "a"]


async def test_what_is_recalled_fits_into_its_budget(memories: Memories):
    await memories.tend()
    long = "peanuts " * (MAX_CHARACTERS // 16)
    await told(memories, long + "one", long + "two", "peanuts three")
    found = await texts(memories, "peanuts")
    assert sum(len(one) + len("2027-01-31") for one in found) <= MAX_CHARACTERS
    assert "peanuts three" in found
    assert len(found) == 2
