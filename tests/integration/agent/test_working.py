"""What an employee has in mind of a conversation: told with its messages, over restarts, until it expires or is cleared."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from agent import working
from agent.capabilities.base import EffectKey
from agent.capabilities.memory import MemoryCapability
from agent.errors import ActionFailed, Superseded
from agent.local import LocalGateway
from agent.models.interface import ModelRequest
from agent.models.scripted import ScriptedModel, Step, echo
from controlplane.gateway import configuration
from empla.store.ids import new_id
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import call
from tests.integration.agent.learning import resting
from tests.integration.agent.test_beliefs import forget, thinking
from tests.integration.agent.test_pipeline import answered

OFFER = "I wait for Bo's numbers before I send the offer."


def noting(name: str, **arguments: Any) -> ScriptedModel:
    """It makes one call for each message, then answers."""

    def script(request: ModelRequest) -> Step:
        if request.output is not None:
            return echo(request)
        return "Done." if request.messages[-1].results else call(name, **arguments)

    return ScriptedModel(script)


async def told(office: Office, conversation: str, text: str = "And now?") -> str:
    """What the model is told with a message of a conversation, by an employee that has just been started."""
    model = ScriptedModel()
    async with office.employee(model) as gateway:
        await answered(office, gateway, text, conversation=conversation)
    return next(one.messages[-1].text for one in model.requests if one.output is None)


async def noted(office: Office, *texts: str, conversation: str = "one", hours: int = 24) -> None:
    for text in texts:
        async with office.employee(noting("note_down", text=text, hours=hours)) as gateway:
            await answered(office, gateway, "Please wait for Bo.", conversation=conversation)


async def test_what_was_noted_is_told_after_a_restart_in_its_conversation_until_it_expires(office: Office):
    await noted(office, OFFER)
    assert '<data kind="note"' in await told(office, "one")
    assert OFFER in await told(office, "one")
    assert OFFER not in await told(office, "two")
    await office.pool.execute("UPDATE working_notes SET expires_at = now()")
    assert '<data kind="note"' not in await told(office, "one")


async def test_it_is_told_with_the_next_message_of_the_same_launch_and_cleared_by_the_model(office: Office):
    told: list[str] = []

    def script(request: ModelRequest) -> Step:
        if request.output is not None:
            return echo(request)
        if request.messages[-1].results:
            return "Done."
        told.append(request.messages[-1].text)
        return call("note_down", text=OFFER) if len(told) == 1 else call("clear_notes")

    async with office.employee(ScriptedModel(script)) as gateway:
        for _ in range(3):
            await answered(office, gateway, "How is the offer?", conversation="one")
    assert ["numbers before I send" in text for text in told] == [False, True, False]
    assert await office.pool.fetchval("SELECT count(*) FROM working_notes") == 0


@asynccontextmanager
async def at_hand(office: Office) -> AsyncIterator[tuple[MemoryCapability, UUID, UUID, working.Working]]:
    """The capability, messages of two conversations, and the notes."""
    one, two = await office.store("Hi", conversation="one"), await office.store("Hi", conversation="two")
    async with resting(office) as (memories, _):
        yield MemoryCapability(memories, LocalGateway(configuration(office.record))), one, two, memories.working


async def does(capability: MemoryCapability, message_id: UUID, action: str, **arguments: Any) -> Any:
    found = next(one for one in capability.actions if one.name == action)
    key = EffectKey(new_id(), message_id, 0, 0)
    return await capability._execute_action_impl(action, found.takes.model_validate(arguments), key)


async def texts(notes: working.Working) -> list[str]:
    return [note.content for note in await notes.all()]


async def test_it_stays_small(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(working, "MAX_OF_CONVERSATION", 2)
    monkeypatch.setattr(working, "MAX_NOTES", 3)
    async with at_hand(office) as (capability, one, two, notes):
        for message_id, text in ((one, "a"), (one, "b"), (two, "c"), (one, "d"), (two, "e"), (two, "e")):
            await does(capability, message_id, "note_down", text=text)
        assert await texts(notes) == ["c", "d", "e"]
        await does(capability, one, "note_down", text="f")
        await does(capability, one, "note_down", text="g")
        assert await texts(notes) == ["e", "f", "g"]
    with pytest.raises(ValueError, match="at most 500"):
        await does(capability, one, "note_down", text="x" * 501)


async def test_what_has_expired_makes_room_and_the_same_again_holds_longer(office: Office):
    async with at_hand(office) as (capability, one, _, notes):
        await does(capability, one, "note_down", text="a", hours=1)
        [before] = await notes.all()
        again = await does(capability, one, "note_down", text="a", hours=48)
        [after] = await notes.all()
        assert (again.note_id, after.expires_at - before.expires_at > timedelta(hours=46)) == (
            str(before.note_id),
            True,
        )
        await office.pool.execute("UPDATE working_notes SET expires_at = now()")
        await does(capability, one, "note_down", text="b")
        assert await texts(notes) == ["b"]
    assert await office.pool.fetchval("SELECT count(*) FROM working_notes") == 1


async def test_the_same_noted_again_counts_from_now_whether_it_has_expired_or_not(office: Office):
    """It was first noted 30 days ago, and no note may hold for more than 31."""
    async with at_hand(office) as (capability, one, _, notes):
        for left in (timedelta(hours=1), -timedelta(hours=1)):
            await does(capability, one, "note_down", text="a", hours=720)
            await office.pool.execute(
                "UPDATE working_notes SET noted_at = now() - interval '30 days', expires_at = now() + $1", left
            )
            notes.reread()
            await does(capability, one, "note_down", text="a", hours=720)
            assert await texts(notes) == ["a"]


async def test_nothing_is_noted_for_a_message_that_is_gone(office: Office):
    async with at_hand(office) as (capability, _one, _two, notes):
        with pytest.raises(ActionFailed, match="no longer there"):
            await does(capability, new_id(), "note_down", text="a")
        assert await texts(notes) == []


async def test_one_note_is_cleared_of_its_own_conversation_only(office: Office):
    async with at_hand(office) as (capability, one, two, notes):
        first = await does(capability, one, "note_down", text="a")
        await does(capability, one, "note_down", text="b")
        assert (await does(capability, two, "clear_notes", note_id=first.note_id)).cleared == 0
        assert (await does(capability, one, "clear_notes", note_id=first.note_id)).cleared == 1
        assert await texts(notes) == ["b"]


async def test_an_older_launch_notes_nothing(office: Office):
    async with at_hand(office) as (capability, one, _, _notes):
        await does(capability, one, "note_down", text="a")
        await office.launch()
        for action, arguments in (("note_down", {"text": "b"}), ("clear_notes", {})):
            with pytest.raises(Superseded):
                await does(capability, one, action, **arguments)
    assert await office.pool.fetchval("SELECT array_agg(content) FROM working_notes") == ["a"]


async def test_the_loop_reads_what_happened_with_it_in_mind(office: Office):
    await noted(office, OFFER)
    async with thinking(office) as mind:
        await mind.perceives('{"beliefs": []}')
    assert '<data kind="note">' in mind.asked[0].messages[-1].text


@pytest.mark.parametrize(
    "what",
    [{"person": "ada@example.com"}, {"subject": "numbers offer"}, {"conversation": "one"}, {"memory_id": ""}],
    ids=lambda what: next(iter(what)),
)
async def test_it_is_forgotten_with_what_it_is_about(office: Office, what: dict[str, str]):
    async with at_hand(office) as (capability, one, _, notes):
        note = await does(capability, one, "note_down", text=OFFER)
        await forget(office, **{name: value or note.note_id for name, value in what.items()})
        notes.reread()
        assert await texts(notes) == []
