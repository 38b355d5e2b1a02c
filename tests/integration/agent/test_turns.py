"""Whose turn it is: conversations wait for none but themselves, and what has not begun is nobody's failure."""

import asyncio

from agent.models.interface import ModelRequest, ModelResponse, TextSink
from agent.models.scripted import ScriptedModel
from controlplane.gateway import configuration
from tests.factories import said_in
from tests.integration.agent.conftest import Office


class HeldModel(ScriptedModel):
    """Keeps whoever says `word` until it is released."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self._word = word
        self.asked, self.released = asyncio.Event(), asyncio.Event()

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        if self._word in said_in(request):
            self.asked.set()
            await self.released.wait()
        return await super().generate(request, on_text)


async def claimed(office: Office) -> int:
    count: int = await office.pool.fetchval("SELECT count(*) FROM inbound_messages WHERE epoch IS NOT NULL")
    return count


async def test_a_long_conversation_keeps_no_other_waiting(office: Office):
    model = HeldModel("number 0 ")
    for number in range(300):
        await office.store(f"number {number} of many", conversation="long")
    other = await office.store("Hello?")
    async with office.employee(model) as gateway:
        await office.deliver_all(gateway)
        async with asyncio.timeout(20):
            await model.asked.wait()
            assert await gateway.handed_over(other) == "sending"
        assert await claimed(office) == 2  # the first of the long conversation, and the other one
        gateway.drain(5_000)
        model.released.set()


async def test_a_profile_says_how_many_messages_are_in_work_at_once(office: Office):
    office.record.profile.max_in_work = 2
    model = HeldModel("Hello")
    ids = [await office.store("Hello?") for _ in range(5)]
    async with office.employee(model) as gateway:
        await office.deliver_all(gateway)
        async with asyncio.timeout(20):
            while await claimed(office) < 2:
                await asyncio.sleep(0.02)
            await model.asked.wait()
            assert await claimed(office) == 2
            office.record.profile.max_in_work = 3
            gateway.configure(configuration(office.record))
            later = [await office.store("Hello again?") for _ in range(5)]
            await office.deliver_all(gateway)
            while await claimed(office) < 5:
                await asyncio.sleep(0.02)
            assert await claimed(office) == 5  # three of the later ones beside the two that were here
            model.released.set()
            assert {await gateway.handed_over(message_id) for message_id in ids + later} == {"sending"}


async def test_what_waited_for_its_turn_at_a_drain_has_not_failed(office: Office):
    model = HeldModel("first")
    ids = [await office.store(text, conversation="thread") for text in ("first", "second", "third")]
    async with office.employee(model) as gateway:
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.asked.wait(), 20)
        gateway.drain(20_000)
        model.released.set()
        assert await asyncio.wait_for(gateway.handed_over(ids[0]), 20) == "sending"
    async with office.employee(ScriptedModel()) as gateway:
        await office.deliver_all(gateway)
        async with asyncio.timeout(20):
            assert [await gateway.handed_over(message_id) for message_id in ids[1:]] == ["sending"] * 2
    for message_id in ids:
        assert {outcome for _, outcome in await office.attempts(message_id)} == {"succeeded"}
        assert (await office.row(message_id))["retry_count"] == 0


async def test_what_a_drain_cuts_short_is_given_back_as_no_failure(office: Office):
    model = HeldModel("Hello")
    ids = [await office.store("Hello?", conversation=conversation) for conversation in ("one", "one", "other")]
    async with office.employee(model) as gateway:
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.asked.wait(), 20)
        gateway.drain(0)
    async with office.employee(ScriptedModel()) as gateway:
        await office.deliver_all(gateway)
        async with asyncio.timeout(20):
            assert [await gateway.handed_over(message_id) for message_id in ids] == ["sending"] * 3
    outcomes = [outcome for message_id in ids for _, outcome in await office.attempts(message_id)]
    assert set(outcomes) == {"succeeded", "drained"}
    assert [(await office.row(message_id))["retry_count"] for message_id in ids] == [0] * 3


class DeadlyModel(ScriptedModel):
    """Sets `died` when it is to answer to poison, and takes its time with all else."""

    def __init__(self) -> None:
        super().__init__(delay=0.3)
        self.died = asyncio.Event()

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        if request.output is None and "poison" in said_in(request):
            self.died.set()
            await asyncio.Event().wait()
        return await super().generate(request, on_text)


async def test_what_kills_its_process_takes_no_other_message_with_it(office: Office):
    ids = [await office.store(text) for text in ("one", "two", "poison", "three", "four")]
    poison = ids[2]
    for _ in range(4):  # one attempt and three retries
        model = DeadlyModel()
        async with asyncio.TaskGroup() as life:
            gateway, process = await office.begin(life, model)
            await office.deliver_all(gateway)
            await asyncio.wait_for(model.died.wait(), 20)
            process.cancel()
    async with office.employee(ScriptedModel()) as gateway, asyncio.timeout(20):
        assert await gateway.handed_over(poison) == "failed"
        while await office.pool.fetchval(
            "SELECT count(*) FROM inbound_messages WHERE processing_state NOT IN ('sending', 'failed')"
        ):
            await asyncio.sleep(0.02)
    states = [(await office.row(message_id))["processing_state"] for message_id in ids]
    assert states == ["sending", "sending", "failed", "sending", "sending"]
    assert await office.pool.fetchval("SELECT array_agg(message_id) FROM reviews") == [poison]
    lost = [(await office.attempts(message_id)).count(("action_planning", "lost")) for message_id in ids]
    assert (lost.pop(2), max(lost)) in [(4, 0), (4, 1)]
