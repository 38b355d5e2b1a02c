"""A conversation that is kept in mind: its next message reads nothing twice, and what somebody else changed is read anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from agent.memory import SQL as MEMORY_SQL
from agent.models.interface import ModelRequest
from agent.models.scripted import ScriptedModel, Step, echo
from agent.pipeline.transitions import SQL, TRANSITION_WITH_SELDOM_ROWS
from agent.pipeline.warm import MAX_CONVERSATIONS
from tests.factories import said_in
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Desk, Parts, asking, result_in
from tests.integration.agent.test_pipeline import answered

READS = {"conversation", "open_questions"}


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the pipeline's statements that are executed in the block, by whichever connection."""
    names = {text: name for queries in (SQL, MEMORY_SQL) for name, text in queries.items()}
    names[TRANSITION_WITH_SELDOM_ROWS] = "transition"
    executed: list[str] = []
    execute = vars(asyncpg.Connection)["_execute"]

    async def noting(connection: Any, query: str, *arguments: Any, **options: Any) -> Any:
        if query in names:
            executed.append(names[query])
        return await execute(connection, query, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "_execute", noting)
        yield executed


def last_said(model: ScriptedModel) -> list[str]:
    """What the model was last told of the conversation, without the message itself."""
    return [turn.text for turn in model.requests[-1].messages[:-1]]


async def test_the_second_message_reads_nothing_that_the_first_loaded(office: Office, monkeypatch: pytest.MonkeyPatch):
    model = ScriptedModel()
    async with office.employee(model) as gateway:
        with statements(monkeypatch) as first:
            await answered(office, gateway, "one", conversation="thread")
        with statements(monkeypatch) as second:
            await answered(office, gateway, "two", conversation="thread")
    assert set(first) >= READS
    # Whether somebody wants it stopped can only be read anew.
    assert set(second) <= {"claim", "transition", "newest", "responses", "remember", "cancelled"}
    assert [second.count(name) for name in ("claim", "newest", "responses")] == [1, 1, 1]
    assert "one" in last_said(model)[0]
    assert last_said(model)[1] == "You said: one"


async def test_what_is_kept_is_what_would_be_read(office: Office):
    """Over more turns than are kept, in a conversation of which each launch reads what the last one kept."""
    contexts = []
    for _ in range(2):
        async with office.employee(ScriptedModel()) as gateway:
            for number in range(7):
                await answered(office, gateway, f"number {number}", conversation="thread")
        rows = await office.pool.fetch(
            "SELECT output -> 'turns' AS turns FROM step_attempts WHERE step = 'context_retrieval' ORDER BY finished_at"
        )
        contexts = [row["turns"] for row in rows]
    said = [f"number {number}" for number in range(7)] * 2
    expected = [said[max(0, index - 10) : index] for index in range(14)]
    assert [[turn["text"] for turn in context] for context in contexts] == expected
    assert [turn["reply"] for turn in contexts[-1]] == [f"You said: {text}" for text in said[3:13]]


@pytest.mark.parametrize(
    ("change", "reads"),
    [
        ("UPDATE outbox SET state = 'held'", ""),
        ("UPDATE outbox SET body = 'Edited.'", "Edited."),
    ],
)
async def test_a_reply_that_somebody_else_changed_is_read_anew(
    office: Office, monkeypatch: pytest.MonkeyPatch, change: str, reads: str
):
    async with office.employee(model := ScriptedModel()) as gateway:
        await answered(office, gateway, "one", conversation="thread")
        await office.pool.execute(change)
        with statements(monkeypatch) as executed:
            await answered(office, gateway, "two", conversation="thread")
    assert set(executed) >= READS
    assert last_said(model)[1:] == ([reads] if reads else [])


async def test_a_message_that_is_held_back_is_no_turn(office: Office):
    async with office.employee(model := ScriptedModel()) as gateway:
        await answered(office, gateway, "one", conversation="thread")
        await office.pool.execute("UPDATE inbound_messages SET processing_state = 'waiting' WHERE step = 'send'")
        await answered(office, gateway, "two", conversation="thread")
    assert last_said(model) == []


async def test_what_is_sent_as_it_was_written_changes_nothing(office: Office, monkeypatch: pytest.MonkeyPatch):
    async with office.employee(ScriptedModel()) as gateway:
        message_id, _ = await answered(office, gateway, "one", conversation="thread")
        await Desk(office).sent(message_id)
        with statements(monkeypatch) as executed:
            await answered(office, gateway, "two", conversation="thread")
    assert not READS & set(executed)


async def test_a_conversation_in_which_a_question_is_open_is_read(office: Office):
    """The answer to it must be known as one, from whichever launch it was asked."""
    desk, text = Desk(office), "book the room"
    async with office.employee(Parts(text, {"": asking("Which day?")})) as gateway:
        await answered(office, gateway, "Hello", conversation="thread")
        message_id, _ = await answered(office, gateway, text, conversation="thread")
        await answered(office, gateway, "Hello again", conversation="thread")
        await desk.sent(message_id)
        _, state = await answered(office, gateway, "Friday", conversation="thread")
        told = await desk.told_more(message_id, 2)
    assert state == "collected"
    assert "Friday" in told[1][2]


async def test_a_part_that_follows_is_a_part_of_its_turn(office: Office):
    desk, text = Desk(office), "book the room"
    ask = asking("Which day?", "Booked: {}".format)

    def script(request: ModelRequest) -> Step:
        return ask(request) if result_in(request) or text in said_in(request) else echo(request)

    async with office.employee(model := Parts(text, {"": script})) as gateway:
        message_id, _ = await answered(office, gateway, text, conversation="thread")
        await answered(office, gateway, "Hello", conversation="thread")
        await desk.decide("question", "answer", gateway, text="Friday")
        await desk.told_more(message_id, 2)
        await answered(office, gateway, "And?", conversation="thread")
    assert "Which day?\n\nBooked:" in last_said(model)[1]


async def test_a_bounded_number_of_conversations_is_kept(office: Office, monkeypatch: pytest.MonkeyPatch):
    async with office.employee(ScriptedModel()) as gateway:
        for number in range(MAX_CONVERSATIONS + 1):
            await answered(office, gateway, "one", conversation=f"thread {number}")
        with statements(monkeypatch) as oldest:
            await answered(office, gateway, "two", conversation="thread 0")
        with statements(monkeypatch) as newest:
            await answered(office, gateway, "two", conversation=f"thread {MAX_CONVERSATIONS}")
    assert set(oldest) >= READS
    assert not READS & set(newest)
